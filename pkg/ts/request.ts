/** Asking a server for a file: whatever fails on the way is a typed error. */

import { abortable } from './abort.js'
import { lazily } from './chunk.js'
import { InputError, NetworkError } from './errors.js'
import { fetchAny } from './files.js'
import type { LoadOptions, ModelSource } from './types.js'

/** What a server is asked by. */
export type Address = string | URL | Request

/** How to ask. */
export interface AskOptions extends Pick<LoadOptions, 'request' | 'signal'> {
  /** Milliseconds without a byte until it fails; 0 for never. */
  readonly timeout: number
}

/** An answer that is known to be good. */
export interface Answer {
  readonly response: Response
  readonly url: string
  /** Gives each chunk of the body to `take`, until that says it has enough. */
  readonly each: (take: (chunk: Uint8Array) => void | Promise<boolean>) => Promise<void>
}

/** What is said of sources that give no model. */
export const refusals = () => lazily(import('./refusals.js'))

/** Names a source in messages. */
export function describeSource(source: ModelSource): string {
  if (typeof source === 'string') return `'${source}'`
  if (source instanceof URL) return `'${source.href}'`
  if ((source instanceof Request || source instanceof Response) && source.url !== '') return `'${source.url}'`
  if (typeof File !== 'undefined' && source instanceof File) return `The file '${source.name}'`
  return 'The given model'
}

/** Whether reading the source means asking a server. */
export function isRemote(source: ModelSource): source is Address {
  return typeof source === 'string' || source instanceof URL || source instanceof Request
}

/** The absolute address of what a server is asked for. */
export function addressOf(source: Address | Response): string {
  const url = source instanceof Request || source instanceof Response ? source.url : String(source)
  const base = globalThis.document?.baseURI ?? globalThis.location?.href
  return url === '' || base === undefined ? url : new URL(url, base).href
}

/** The address whose answer depends on nothing else, if the source is one: no other method, no credentials of its own. */
export function plainAddress(source: ModelSource, request: AskOptions['request']): string | undefined {
  if (!isRemote(source)) return undefined
  const { method, headers } = source instanceof Request ? source : { method: 'GET', headers: new Headers() }
  const personal = headers.has('authorization') || new Headers(request?.headers).has('authorization')
  return method === 'GET' && !personal ? addressOf(source) : undefined
}

/** Asks for the source and hands over the answer. */
export async function ask<T>(source: Address | Response, options: AskOptions, use: (answer: Answer) => Promise<T>): Promise<T> {
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
    await checkStatus(response, label, url)
    const each = (take: (chunk: Uint8Array) => void | Promise<boolean>): Promise<void> =>
      eachChunk(response, stop.signal, (chunk) => {
        timer.touch()
        return take(chunk)
      })
    return await use({ response, url, each })
  } catch (cause) {
    if (stop.signal.aborted) throw stop.signal.reason
    if (cause instanceof NetworkError || cause instanceof InputError) throw cause
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new NetworkError(
      `${label} could not be fetched (${text}); check the address, the connection, and CORS if it is another origin.`,
      { url, reason: 'unreachable', cause },
    )
  } finally {
    timer.stop()
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
}

async function checkStatus(response: Response, label: string, url: string): Promise<void> {
  if (response.type === 'opaque' || response.bodyUsed) (await refusals()).refuseAnswer(response, label, url)
  if (response.ok) return
  const page = response.headers.get('content-type')?.startsWith('text/html') ? ', with a web page' : ''
  const status = `${response.status} ${response.statusText}`.trim()
  const denied = response.status === 401 || response.status === 403
  throw new NetworkError(
    `${label}: the server answered ${status}${page} instead of the model; check the address${denied ? ' and the credentials' : ''}.`,
    { url, reason: 'status', status: response.status },
  )
}

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
