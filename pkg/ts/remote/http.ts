/** One HTTP exchange with an inference server: a deadline, and every failure as a typed error. */

import { InputError, LimitError, NetworkError } from '../errors.js'
import { parseJson } from './wire.js'

/** What an exchange is. */
export interface Exchange {
  readonly url: string
  readonly init: RequestInit
  /** Milliseconds until it fails; 0 for never. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

/** A successful answer, read to its end. */
export interface Answer {
  readonly headers: Headers
  readonly body: Uint8Array<ArrayBuffer>
}

/** Sends and receives. */
export async function exchange({ url, init, timeout, signal }: Exchange): Promise<Answer> {
  signal?.throwIfAborted()
  const stop = new AbortController()
  const onAbort = (): void => stop.abort(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const late = (): void =>
    stop.abort(
      new NetworkError(`The server at '${url}' did not answer within ${timeout} ms; check it, or raise the option timeout.`, {
        url,
        reason: 'timeout',
      }),
    )
  const timer = timeout > 0 ? setTimeout(late, timeout) : undefined
  try {
    const response = await fetch(url, { ...init, signal: stop.signal })
    const body = new Uint8Array(await response.arrayBuffer())
    if (!response.ok) throw failure(response, body, url)
    return { headers: response.headers, body }
  } catch (cause) {
    if (stop.signal.aborted) throw stop.signal.reason
    if (cause instanceof NetworkError || cause instanceof InputError || cause instanceof LimitError) throw cause
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new NetworkError(
      `The server at '${url}' could not be reached (${text}); check that it runs, the connection, and CORS if it is another origin.`,
      {
        url,
        reason: 'unreachable',
        cause,
      },
    )
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

function failure(response: Response, body: Uint8Array, url: string): Error {
  const { status } = response
  const said = serverMessage(body)
  const quote = said === undefined ? '' : `: ${said}`
  if (status === 400 || status === 422)
    return new InputError(`The server at '${url}' refused the inputs${quote || ' without saying why'}.`)
  if (status === 413)
    return new LimitError(
      `The inputs are larger than the server at '${url}' accepts${quote}; send less at once, or raise its limit.`,
    )
  const retryAfter = parseRetryAfter(response.headers.get('retry-after'))
  const about = { url, reason: 'status', status, retryAfter } as const
  if (status === 503 || status === 429) {
    const when = retryAfter === undefined ? 'later' : `after ${retryAfter} s`
    return new NetworkError(`The server at '${url}' is busy (${status}${quote}); try again ${when}.`, about)
  }
  return new NetworkError(
    `The server at '${url}' answered ${`${status} ${response.statusText}`.trim()}${quote}; check the address and the model's name.`,
    about,
  )
}

/** The protocol's errors are `{"error": "…"}`. */
function serverMessage(body: Uint8Array): string | undefined {
  try {
    const { error } = parseJson(body)
    return typeof error === 'string' ? error.replace(/[.\s]+$/, '') : undefined
  } catch {
    return undefined
  }
}

/** Seconds; the header holds seconds or a date. */
export function parseRetryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined
  if (/^\s*\d+\s*$/.test(header)) return Number(header)
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000))
}
