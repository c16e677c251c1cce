/** A file as the answer of a server. Imported only where there is no page: browsers never download it. */

import { InputError } from './errors.js'
import { nodeModule } from './node-modules.js'
import { cannotRead, notAFile } from './unreadable.js'

interface FileHandle {
  stat(): Promise<{ readonly size: number; isFile(): boolean }>
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
  close(): Promise<void>
}

/** As much of `node:fs/promises` as is needed. */
export interface FileSystem {
  readonly open: (path: string) => Promise<FileHandle>
}

/** Bytes that are read at once. */
const PIECE = 4 << 20

/** What is known of files. */
export interface NodeFiles {
  pathToFileURL(path: string): URL
  fetchFile(url: URL, init: RequestInit): Promise<Response>
}

export async function nodeFiles(): Promise<NodeFiles> {
  const [{ pathToFileURL, fileURLToPath }, { open }] = await Promise.all([nodeModule('node:url'), nodeModule('node:fs/promises')])
  return {
    pathToFileURL,
    async fetchFile(url, init) {
      const path = fileURLToPath(url)
      return answer(path, await open(path).catch(refuse(path)), init)
    },
  }
}

/** Answers a request for a file, or for the range of it that the headers name, piece by piece as they are taken. */
async function answer(path: string, file: FileHandle, init: RequestInit): Promise<Response> {
  const fail = async (cause: unknown): Promise<never> => {
    await file.close()
    return refuse(path)(cause)
  }
  const info = await file.stat().catch(fail)
  if (!info.isFile()) return fail(notAFile(path))
  const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init.headers).get('range') ?? '')
  let at = Math.min(Number(range?.[1] ?? 0), info.size)
  const end = Math.min(range === null ? info.size : Number(range[2]) + 1, info.size)
  const headers = { 'content-length': String(end - at) }
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const piece = new Uint8Array(Math.min(PIECE, end - at))
      const { bytesRead } = piece.length > 0 ? await file.read(piece, 0, piece.length, at).catch(fail) : { bytesRead: 0 }
      at += bytesRead
      if (bytesRead > 0) controller.enqueue(piece.subarray(0, bytesRead))
      if (bytesRead > 0 && at < end) return
      await file.close()
      controller.close()
    },
    cancel: () => file.close(),
  })
  return new Response(body, { status: range === null ? 200 : 206, headers })
}

/** Throws what is known of why a file cannot be read. */
const refuse =
  (path: string) =>
  (cause: unknown): never => {
    throw cause instanceof InputError ? cause : cannotRead(path, cause)
  }
