/** A whole file from a server, which goes on where a broken connection left off. */

import { NetworkError } from './errors.js'
import { FileBuilder, type FileBytes, headOf } from './file.js'
import { type Address, addressOf, type Answer, ask, type AskOptions, describeSource, isRemote, refusals } from './request.js'
import { looksLikeHtml } from './magic.js'

/** How to read a file to its end. */
export interface DownloadOptions extends AskOptions {
  /** Called as bytes arrive, with all that there is of a server's file. */
  readonly onBytes: (loaded: number, total: number | undefined, arriving?: Arriving) => void
  /** Called with the answer's headers; `true` if the file need not be read. */
  readonly onAnswer?: ((response: Response) => boolean | Promise<boolean>) | undefined
  /** What an earlier download left of a large file, if it is of this version and size. */
  readonly begun?: ((version: string, total: number) => Promise<Arriving | undefined>) | undefined
}

/** A file of which some is there. */
export interface Arriving {
  readonly file: FileBuilder
  /** Bytes of the whole, if they are known. */
  readonly total: number | undefined
  /** What the server calls this version of the file. */
  readonly version: string | undefined
}

/** Smaller files are not worth keeping in pieces. */
export const LEAST = 4 << 20

/** What is there is to be completed by another answer. */
const AGAIN = Symbol()

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
  #arriving: Arriving | undefined
  /** Whether what there is may be no good: an earlier download left it, or the file was changed. */
  #doubtful = false
  /** Whether an earlier download may have left something. */
  #first = true

  constructor(source: Address | Response, options: DownloadOptions) {
    this.#source = source
    this.#options = options
  }

  /** Whether another attempt may end better: the server had begun to send, and can be asked again. */
  canGoOn(error: unknown): boolean {
    if (!(error instanceof NetworkError) || this.#arriving === undefined || this.#options.signal?.aborted === true) return false
    // The server has no such range, so the file is another one.
    if (error.status === 416 || (this.#doubtful && error.reason !== 'timeout')) {
      this.#doubtful = false
      this.#arriving = undefined
      return true
    }
    return (error.reason === 'unreachable' || error.reason === 'protocol') && isRemote(this.#source)
  }

  async go(): Promise<FileBytes | undefined> {
    const { request, ...options } = this.#options
    const { file, version } = this.#arriving ?? {}
    const start = version === undefined ? 0 : (file?.size ?? 0)
    const headers = new Headers(request?.headers ?? (this.#source as Partial<Request>).headers)
    if (start > 0) {
      headers.set('range', `bytes=${start}-`)
      // Another origin would have to allow it, after being asked.
      const origin = globalThis.location?.origin
      if (origin === undefined || addressOf(this.#source).startsWith(`${origin}/`)) headers.set('if-range', version ?? '')
    }
    const taken = await ask(this.#source, { ...options, request: start > 0 ? { ...request, headers } : request }, (answer) =>
      this.#take(answer, start),
    )
    return taken === AGAIN ? this.go() : taken
  }

  async #take({ response, url, each }: Answer, start: number): Promise<FileBytes | typeof AGAIN | undefined> {
    const label = describeSource(this.#source)
    const version = strongTagOf(response)
    const goesOn = start > 0 && response.status === 206 && version === this.#arriving?.version
    if (response.status === 206 && start > 0 && !goesOn) {
      this.#doubtful = true
      throw new NetworkError(`${label} was changed on the server while it was downloaded; try again.`, {
        url,
        reason: 'protocol',
        status: response.status,
      })
    }
    if ((!goesOn || this.#doubtful) && (await this.#options.onAnswer?.(response))) {
      await response.body?.cancel()
      return undefined
    }
    this.#doubtful = false
    if (!goesOn) {
      const total = expectedLength(response)
      // Looked for only now: most files are small, and their load does not wait for that.
      if (this.#first && version !== undefined && total !== undefined && total >= LEAST && isRemote(this.#source)) {
        this.#first = false
        const begun = await this.#options.begun?.(version, total).catch(() => undefined)
        if (begun !== undefined) {
          await response.body?.cancel()
          this.#arriving = begun
          this.#doubtful = true
          return AGAIN
        }
      }
      this.#arriving = { file: new FileBuilder(total), total, version }
    }
    const arriving = this.#arriving as Arriving
    const { file, total } = arriving
    const report = (): void => this.#options.onBytes(file.size, file.size > (total ?? 0) ? undefined : total, arriving)
    if (goesOn) report()
    await each((chunk) => {
      file.push(chunk)
      report()
    })
    // Another origin may hide that the answer was compressed; its length then is that of what travelled.
    const unpacked = response.type === 'cors' && file.size > (total ?? 0)
    if (total !== undefined && file.size !== total && !unpacked) {
      const message = `${label} ended after ${file.size} of ${total} bytes; try again.`
      throw new NetworkError(message, { url, reason: 'protocol', status: response.status })
    }
    const bytes = file.finish()
    if (looksLikeHtml(await headOf(bytes))) (await refusals()).refuseHtml(file.size, label, url, response)
    return bytes
  }
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
