/** A part of a file. */

import { FileBuilder } from './file.js'
import { looksLikeHtml } from './magic.js'
import { eachPiece } from './pieces.js'
import { ask, type AskOptions, describeSource, isRemote, refusals } from './request.js'
import { readSource } from './source.js'
import type { ModelSource } from './types.js'

/** A part of a file: from `start` on, up to `end`. */
export interface FileRange {
  readonly start: number
  readonly end: number
}

/** Takes bytes of a file, from its byte `at` on. */
export type TakeBytes = (at: number, bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>

/** Pieces of ranges are gathered to this many bytes before they cross to the Worker. */
const FLUSH = 1 << 20

/**
 * Gives `take` the bytes of a range of a source, piece by piece, each after the last was taken. A server is asked for the range, and
 * may send the whole file from its beginning.
 */
export async function readRange(source: ModelSource, range: FileRange, options: AskOptions, take: TakeBytes): Promise<void> {
  if (!(source instanceof Response || isRemote(source))) {
    const read = await readSource(source, { ...options, onBytes: () => {} })
    let at = range.start
    await eachPiece(read?.bytes.slice(range.start, range.end) as Blob | Uint8Array<ArrayBuffer>, async (piece) => {
      const here = at
      at += piece.length
      await take(here, piece.slice())
    })
    return
  }
  const headers = new Headers(options.request?.headers)
  if (range.start > 0) headers.set('range', `bytes=${range.start}-${range.end - 1}`)
  await ask(source, { ...options, request: { ...options.request, headers } }, async ({ response, url, each }) => {
    let at = response.status === 206 ? range.start : 0
    let waiting = new FileBuilder()
    const flush = async (): Promise<void> => {
      const bytes = waiting.finish() as Uint8Array<ArrayBuffer>
      waiting = new FileBuilder()
      if (at === 0 && looksLikeHtml(bytes)) (await refusals()).refuseHtml(bytes.length, describeSource(source), url, response)
      await take(at, bytes)
      at += bytes.length
    }
    await each(async (chunk) => {
      waiting.push(chunk)
      if (waiting.size >= FLUSH) await flush()
      return at >= range.end
    })
    if (waiting.size > 0) await flush()
  })
}
