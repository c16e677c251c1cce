/** Bytes of a model from whatever the caller has: an address, an answer, a file or the bytes themselves. */

import { abortable } from './abort.js'
import { download, type DownloadOptions } from './download.js'
import { type FileBytes, LARGE } from './file.js'
import { isRemote, refusals } from './request.js'
import type { ModelSource } from './types.js'

/** A model's bytes. */
export interface SourceBytes {
  readonly bytes: FileBytes
  /** Whether the caller may still use the buffer, so that it must not be moved to another thread. */
  readonly shared: boolean
}

/** Reads the source to its end; `undefined` if `onAnswer` did not want what a server has. */
export async function readSource(source: ModelSource, options: DownloadOptions): Promise<SourceBytes | undefined> {
  options.signal?.throwIfAborted()
  const whole = (bytes: Uint8Array<ArrayBuffer>, shared: boolean): SourceBytes => {
    options.onBytes(bytes.length, bytes.length)
    return { bytes, shared }
  }
  // None are there, or the buffer was transferred.
  if ((source as Partial<ArrayBuffer> | null)?.byteLength === 0) return whole(new Uint8Array(), true)
  if (source instanceof ArrayBuffer) return whole(new Uint8Array(source), true)
  if (ArrayBuffer.isView(source)) {
    const view = new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength)
    // Sending a part of a buffer would send all of it, and shared memory may change under our hands.
    return source.buffer instanceof ArrayBuffer && view.length === source.buffer.byteLength
      ? whole(view, true)
      : whole(view.slice(), false)
  }
  if (source instanceof Blob) {
    if (source.size <= LARGE) return whole(new Uint8Array(await abortable(source.arrayBuffer(), options.signal)), false)
    options.onBytes(source.size, source.size)
    return { bytes: source, shared: true }
  }
  if (!(source instanceof Response || isRemote(source))) return (await refusals()).refuseSource(source)
  const bytes = await download(source, options)
  return bytes === undefined ? undefined : { bytes, shared: false }
}
