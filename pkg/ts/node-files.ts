/** A file as the answer of a server. Imported only where there is no page: browsers never download it. */

import { nodeModule } from './node-modules.js'

interface FileHandle {
  stat(): Promise<{ readonly size: number }>
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
  close(): Promise<void>
}

/** As much of `node:fs/promises` as is needed. */
export interface FileSystem {
  open(url: URL): Promise<FileHandle>
}

/** Bytes that are read at once. */
const PIECE = 4 << 20

/** What is known of files. */
export interface NodeFiles {
  pathToFileURL(path: string): URL
  fetchFile(url: URL, init: RequestInit): Promise<Response>
}

export async function nodeFiles(): Promise<NodeFiles> {
  const [addresses, system] = await Promise.all([nodeModule('node:url'), nodeModule('node:fs/promises')])
  return { pathToFileURL: (path) => addresses.pathToFileURL(path), fetchFile: (url, init) => fetchFile(system, url, init) }
}

/** Answers a request for a file, or for the range of it that the headers name, piece by piece as they are taken. */
async function fetchFile(system: FileSystem, url: URL, init: RequestInit): Promise<Response> {
  const file = await system.open(url)
  const { size } = await file.stat()
  const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init.headers).get('range') ?? '')
  let at = Math.min(Number(range?.[1] ?? 0), size)
  const end = Math.min(range === null ? size : Number(range[2]) + 1, size)
  const headers = { 'content-length': String(end - at) }
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const piece = new Uint8Array(Math.min(PIECE, end - at))
      const { bytesRead } = piece.length > 0 ? await file.read(piece, 0, piece.length, at) : { bytesRead: 0 }
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
