/** Bytes of a model from whatever the caller has: an address, an answer, a file or the bytes themselves. */

import { abortable } from './abort.js'
import { InputError, NetworkError } from './errors.js'
import { eachPiece, FileBuilder, type FileBytes, headOf, LARGE } from './file.js'
import { fetchAny } from './files.js'
import { looksLikeHtml } from './sniff.js'
import { describeValue } from './tensor.js'
import type { LoadOptions, ModelSource } from './types.js'

/** A model's bytes. */
export interface SourceBytes {
  readonly bytes: FileBytes
  /** Whether the caller may still use the buffer, so that it must not be moved to another thread. */
  readonly shared: boolean
}

/** How to read a source. */
export interface ReadOptions extends Pick<LoadOptions, 'request' | 'signal'> {
  /** Milliseconds without a byte until it fails; 0 for never. */
  readonly timeout: number
  /** Called as bytes arrive. */
  readonly onBytes: (loaded: number, total: number | undefined) => void
}

/** Names a source in messages. */
export function describeSource(source: ModelSource): string {
  if (typeof source === 'string') return `'${source}'`
  if (source instanceof URL) return `'${source.href}'`
  if ((source instanceof Request || source instanceof Response) && source.url !== '') return `'${source.url}'`
  if (typeof File !== 'undefined' && source instanceof File) return `The file '${source.name}'`
  return 'The given model'
}

/** Whether reading the source means asking a server. */
export function isRemote(source: ModelSource): source is string | URL | Request {
  return typeof source === 'string' || source instanceof URL || source instanceof Request
}

/** Reads the source to its end. */
export async function readSource(source: ModelSource, options: ReadOptions): Promise<SourceBytes> {
  options.signal?.throwIfAborted()
  const whole = (bytes: Uint8Array<ArrayBuffer>, shared: boolean): SourceBytes => {
    options.onBytes(bytes.length, bytes.length)
    return { bytes, shared }
  }
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
  if (source instanceof Response || isRemote(source)) return { bytes: await readRemote(source, options), shared: false }
  throw new InputError(
    `A model cannot be loaded from ${describeValue(source)}; give a URL, Request, Response, ArrayBuffer, typed array, Blob or File.`,
  )
}

async function readRemote(source: string | URL | Request | Response, options: ReadOptions): Promise<FileBytes> {
  const label = describeSource(source)
  return request(source, options, async (response, url, touch, signal) => {
    const total = expectedLength(response)
    const file = new FileBuilder(total)
    await eachChunk(response, signal, (chunk) => {
      touch()
      file.push(chunk)
      options.onBytes(file.size, total)
    })
    if (total !== undefined && file.size !== total) {
      const message = `${label} ended after ${file.size} of ${total} bytes; try again.`
      throw new NetworkError(message, { url, reason: 'protocol', status: response.status })
    }
    const bytes = file.finish()
    refuseHtml(await headOf(bytes), file.size, label, url, response)
    return bytes
  })
}

/** Throws if the answer is a web page. */
function refuseHtml(head: Uint8Array, size: number, label: string, url: string, response: Response): void {
  if (!looksLikeHtml(head)) return
  throw new NetworkError(
    `${label} is a web page (${size} bytes of HTML), not a model; check the address: many servers answer so when a file is missing.`,
    { url, reason: 'html', status: response.status },
  )
}

/** A part of a file: from `start` on, up to `end`. */
export interface FileRange {
  readonly start: number
  readonly end: number
}

/**
 * Gives `take` the bytes of a range of a source, piece by piece, each after the last was taken. A server is asked for the range, and
 * may send the whole file from its beginning.
 */
export async function readRange(
  source: ModelSource,
  range: FileRange,
  options: Omit<ReadOptions, 'onBytes'>,
  take: (at: number, bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>,
): Promise<void> {
  if (!(source instanceof Response || isRemote(source))) {
    const { bytes } = await readSource(source, { ...options, onBytes: () => {} })
    const part = bytes instanceof Blob ? bytes.slice(range.start, range.end) : bytes.slice(range.start, range.end)
    let at = range.start
    await eachPiece(part, async (piece) => {
      const here = at
      at += piece.length
      await take(here, piece)
    })
    return
  }
  const headers = new Headers(options.request?.headers)
  if (range.start > 0) headers.set('range', `bytes=${range.start}-${range.end - 1}`)
  await request(source, { ...options, request: { ...options.request, headers } }, async (response, url, touch, signal) => {
    let at = response.status === 206 ? range.start : 0
    let waiting = new FileBuilder()
    const flush = async (): Promise<void> => {
      const bytes = waiting.finish() as Uint8Array<ArrayBuffer>
      waiting = new FileBuilder()
      if (at === 0) refuseHtml(bytes.subarray(0, 256), bytes.length, describeSource(source), url, response)
      await take(at, bytes)
      at += bytes.length
    }
    await eachChunk(response, signal, async (chunk) => {
      touch()
      waiting.push(chunk)
      if (waiting.size >= FLUSH) await flush()
      return at >= range.end
    })
    if (waiting.size > 0) await flush()
  })
}

/** Pieces of ranges are gathered to this many bytes before they cross to the Worker. */
const FLUSH = 1 << 20

/** Asks for the source and hands over the answer, once it is known to be good; whatever fails on the way is a typed error. */
async function request<T>(
  source: string | URL | Request | Response,
  options: Omit<ReadOptions, 'onBytes'>,
  use: (response: Response, url: string, touch: () => void, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const label = describeSource(source)
  const url = typeof source === 'string' ? source : source instanceof URL ? source.href : source.url
  const stop = new AbortController()
  const signals = [options.signal, source instanceof Request ? source.signal : undefined].filter((s) => s !== undefined)
  const onAbort = (event: Event): void => stop.abort((event.target as AbortSignal).reason)
  for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
  const timer = new StallTimer(options.timeout, () =>
    stop.abort(
      new NetworkError(
        `${label} sent nothing for ${options.timeout} ms; check the server and the connection, or raise the option timeout.`,
        { url, reason: 'timeout' },
      ),
    ),
  )
  try {
    const response =
      source instanceof Response
        ? source
        : await abortable(fetchAny(source, { ...options.request, signal: stop.signal }), stop.signal)
    timer.touch()
    checkStatus(response, label, url)
    return await use(response, url, () => timer.touch(), stop.signal)
  } catch (cause) {
    if (stop.signal.aborted) throw stop.signal.reason
    if (cause instanceof NetworkError || cause instanceof InputError) throw cause
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new NetworkError(
      `${label} could not be fetched (${text}); check the address, the connection, and CORS if it is another origin.`,
      {
        url,
        reason: 'unreachable',
        cause,
      },
    )
  } finally {
    timer.stop()
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
}

function checkStatus(response: Response, label: string, url: string): void {
  if (response.type === 'opaque') {
    throw new NetworkError(
      `${label} was answered without CORS, so the page may not read it; leave out mode: 'no-cors', and let the server send Access-Control-Allow-Origin.`,
      {
        url,
        reason: 'unreachable',
      },
    )
  }
  if (response.bodyUsed) throw new InputError('The Response was read before; give a fresh one, or its clone().')
  if (response.ok) return
  const page = response.headers.get('content-type')?.startsWith('text/html') ? ', with a web page' : ''
  const status = `${response.status} ${response.statusText}`.trim()
  throw new NetworkError(
    `${label}: the server answered ${status}${page} instead of the model; check the address${response.status === 401 || response.status === 403 ? ' and the credentials' : ''}.`,
    {
      url,
      reason: 'status',
      status: response.status,
    },
  )
}

/** Gives each chunk of the body to `take`, until that says it has enough. */
async function eachChunk(
  response: Response,
  signal: AbortSignal,
  take: (chunk: Uint8Array) => void | Promise<boolean>,
): Promise<void> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  try {
    for (;;) {
      const { done, value } = await abortable(reader.read(), signal)
      if (done) return
      if (await take(value)) break
    }
  } catch (error) {
    reader.cancel(error).catch(() => {})
    throw error
  }
  reader.cancel().catch(() => {})
}

/** Bytes that will arrive, if the server says. Of a compressed answer it only says how many travel. */
function expectedLength(response: Response): number | undefined {
  const encoding = response.headers.get('content-encoding')
  if (encoding !== null && encoding !== 'identity') return undefined
  const length = Number.parseInt(response.headers.get('content-length') ?? '', 10)
  return Number.isSafeInteger(length) && length > 0 ? length : undefined
}

class StallTimer {
  readonly #ms: number
  readonly #expired: () => void
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(ms: number, expired: () => void) {
    this.#ms = ms
    this.#expired = expired
    this.touch()
  }

  touch(): void {
    this.stop()
    if (this.#ms > 0) this.#timer = setTimeout(this.#expired, this.#ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
