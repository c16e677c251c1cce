/** A whole file from a server, which goes on where a broken connection left off. */

import { NetworkError } from './errors.js'
import { FileBuilder, type FileBytes, headOf } from './file.js'
import { type Address, addressOf, type Answer, ask, type AskOptions, describeSource, isRemote } from './request.js'
import { looksLikeHtml } from './magic.js'

/** How to read a file to its end. */
export interface DownloadOptions extends AskOptions {
  /** Called as bytes arrive. */
  readonly onBytes: (loaded: number, total: number | undefined) => void
  /** Called with the answer's headers; `true` if the file need not be read. */
  readonly onAnswer?: ((response: Response) => boolean | Promise<boolean>) | undefined
}

/** Milliseconds to wait before a broken download goes on. */
const PAUSES = [200, 500, 1000]

/** The file's bytes; `undefined` if `onAnswer` did not want them. */
export async function download(source: Address | Response, options: DownloadOptions): Promise<FileBytes | undefined> {
  const transfer = new Transfer(source, options)
  for (const pause of PAUSES) {
    try {
      return await transfer.go()
    } catch (error) {
      if (!transfer.canGoOn(error)) throw error
      await sleep(pause, options.signal)
    }
  }
  return transfer.go()
}

class Transfer {
  readonly #source: Address | Response
  readonly #options: DownloadOptions
  #file: FileBuilder | undefined
  #total: number | undefined
  /** What the server calls this version of the file. */
  #version: string | undefined

  constructor(source: Address | Response, options: DownloadOptions) {
    this.#source = source
    this.#options = options
  }

  /** Whether another attempt may end better: the server had begun to send, and can be asked again. */
  canGoOn(error: unknown): boolean {
    const broken = error instanceof NetworkError && (error.reason === 'unreachable' || error.reason === 'protocol')
    return broken && this.#file !== undefined && isRemote(this.#source) && this.#options.signal?.aborted !== true
  }

  async go(): Promise<FileBytes | undefined> {
    const { request, ...options } = this.#options
    const headers = new Headers(request?.headers)
    const start = this.#version === undefined ? 0 : (this.#file?.size ?? 0)
    if (start > 0) {
      headers.set('range', `bytes=${start}-`)
      // Another origin would have to allow it, after being asked.
      const origin = globalThis.location?.origin
      if (origin === undefined || addressOf(this.#source).startsWith(`${origin}/`)) headers.set('if-range', this.#version ?? '')
    }
    return ask(this.#source, { ...options, request: start > 0 ? { ...request, headers } : request }, (answer) =>
      this.#take(answer, start),
    )
  }

  async #take({ response, url, each }: Answer, start: number): Promise<FileBytes | undefined> {
    const label = describeSource(this.#source)
    const goesOn = start > 0 && response.status === 206 && strongTagOf(response) === this.#version
    if (response.status === 206 && start > 0 && !goesOn) {
      this.#version = undefined
      throw new NetworkError(`${label} was changed on the server while it was downloaded; try again.`, {
        url,
        reason: 'protocol',
        status: response.status,
      })
    }
    if (!goesOn) {
      if (await this.#options.onAnswer?.(response)) {
        await response.body?.cancel()
        return undefined
      }
      this.#version = strongTagOf(response)
      this.#total = expectedLength(response)
      this.#file = new FileBuilder(this.#total)
    }
    const file = this.#file as FileBuilder
    await each((chunk) => {
      file.push(chunk)
      this.#options.onBytes(file.size, this.#total)
    })
    if (this.#total !== undefined && file.size !== this.#total) {
      const message = `${label} ended after ${file.size} of ${this.#total} bytes; try again.`
      throw new NetworkError(message, { url, reason: 'protocol', status: response.status })
    }
    const bytes = file.finish()
    refuseHtml(await headOf(bytes), file.size, label, url, response)
    return bytes
  }
}

/** Throws if the answer is a web page. */
export function refuseHtml(head: Uint8Array, size: number, label: string, url: string, response: Response): void {
  if (!looksLikeHtml(head)) return
  throw new NetworkError(
    `${label} is a web page (${size} bytes of HTML), not a model; check the address: many servers answer so when a file is missing.`,
    { url, reason: 'html', status: response.status },
  )
}

/** The tag that names this version of a file strongly enough to join parts of it (RFC 9110, 13.1.5); not for what travels compressed. */
function strongTagOf(response: Response): string | undefined {
  if (isCompressed(response)) return undefined
  const tag = response.headers.get('etag')
  return tag === null || tag.startsWith('W/') ? undefined : tag
}

function isCompressed(response: Response): boolean {
  return (response.headers.get('content-encoding') ?? 'identity') !== 'identity'
}

/** Bytes that will arrive, if the server says. Of a compressed answer it only says how many travel. */
function expectedLength(response: Response): number | undefined {
  if (isCompressed(response)) return undefined
  const length = Number.parseInt(response.headers.get('content-length') ?? '', 10)
  return Number.isSafeInteger(length) && length > 0 ? length : undefined
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}
