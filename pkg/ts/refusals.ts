/** What no model can be read from, in sentences: loaded with the first that needs it. */

import { InputError, NetworkError } from './errors.js'
import { describeValue } from './tensor.js'

/** Refuses a source that is none. */
export function refuseSource(source: unknown): never {
  throw new InputError(
    `A model cannot be loaded from ${describeValue(source)}; give a URL, Request, Response, ArrayBuffer, typed array, Blob or File.`,
  )
}

/** Refuses an answer that the page may not read, or has read. */
export function refuseAnswer(response: Response, label: string, url: string): never {
  if (response.bodyUsed) throw new InputError('The Response was read before; give a fresh one, or its clone().')
  throw new NetworkError(
    `${label} was answered without CORS, so the page may not read it; leave out mode: 'no-cors', and let the server send Access-Control-Allow-Origin.`,
    { url, reason: 'unreachable' },
  )
}

/** Refuses an answer that is a web page. */
export function refuseHtml(size: number, label: string, url: string, response: Response): never {
  throw new NetworkError(
    `${label} is a web page (${size} bytes of HTML), not a model; check the address: many servers answer so when a file is missing.`,
    { url, reason: 'html', status: response.status },
  )
}
