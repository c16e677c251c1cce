/** Reading a file of any size piece by piece. */

import { type FileBytes, PIECE } from './file.js'

/** Gives the file to `take` in pieces, in order, each after the last was taken. A piece is lent: its memory then holds the next one. */
export async function eachPiece(file: FileBytes, take: (piece: Uint8Array<ArrayBuffer>) => unknown): Promise<void> {
  if (!(file instanceof Blob)) return void (await take(file))
  const reader = lendingReader(file)
  if (reader === undefined) {
    for (let at = 0; at < file.size; at += PIECE) await take(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()))
    return
  }
  let room = new ArrayBuffer(Math.min(PIECE, file.size))
  try {
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(room))
      if (done) return
      await take(value)
      room = value.buffer
    }
  } catch (error) {
    reader.cancel(error).catch(() => {})
    throw error
  }
}

/** A reader into memory that is given to it, so that a large file leaves no garbage of its size; `undefined` where Blobs have none. */
function lendingReader(file: Blob): ReadableStreamBYOBReader | undefined {
  try {
    return file.stream().getReader({ mode: 'byob' })
  } catch {
    return undefined
  }
}
