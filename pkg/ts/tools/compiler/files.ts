/** Models and their weights as files of this machine, read piece by piece. */

import { type FileHandle, open, realpath } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'

import { InputError } from '../../errors.js'
import { cannotRead, notAFile } from '../../unreadable.js'

/** Bytes that are read at once. */
const PIECE = 4 << 20

/** Opens a file, or says in a sentence why that does not go. */
export async function openFile(path: string): Promise<{ file: FileHandle; size: number }> {
  const file = await open(path).catch((cause: unknown) => {
    throw cannotRead(path, cause)
  })
  const info = await file.stat()
  if (info.isFile()) return { file, size: info.size }
  await file.close()
  throw notAFile(path)
}

/** Gives `take` the bytes of a range of an open file, each piece after the last was taken. */
export async function eachPiece(
  file: FileHandle,
  { start, end }: { readonly start: number; readonly end: number },
  take: (piece: Uint8Array, at: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(PIECE, Math.max(1, end - start)))
  for (let at = start; at < end;) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at)
    // The compiler says what is missing.
    if (bytesRead === 0) return
    take(buffer.subarray(0, bytesRead), at)
    at += bytesRead
  }
}

/** The real path of a file that a model names: in the folder of its weights, not elsewhere through `..` or a link. */
export async function pathOfWeights(folder: string, name: string): Promise<string> {
  const path = join(folder, name)
  const real = await realpath(path).catch((cause: unknown) => {
    throw cannotRead(path, cause, 'where the model keeps weights')
  })
  const within = relative(await realpath(folder), real)
  if (within === '..' || within.startsWith(`..${sep}`))
    throw new InputError(
      `The file ${path}, where the model keeps weights, leads out of the folder ${folder}; copy the file there.`,
    )
  return real
}
