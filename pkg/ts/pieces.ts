/** Reading a file of any size piece by piece. */

import type { FileBytes } from './file.js'

/** The most that is read of a Blob at once: each piece is garbage afterwards, which should not amount to the file. */
const SLICE = 4 << 20

/**
 * Gives the file to `take` in pieces, in order, each after the last was taken. Blobs are read by slices: in Chromium 156 a stream of a large one
 * sometimes stops giving bytes, and never ends.
 */
export async function eachPiece(file: FileBytes, take: (piece: Uint8Array<ArrayBuffer>) => unknown): Promise<void> {
  if (!(file instanceof Blob)) return void (await take(file))
  for (let at = 0; at < file.size; at += SLICE) await take(new Uint8Array(await file.slice(at, at + SLICE).arrayBuffer()))
}
