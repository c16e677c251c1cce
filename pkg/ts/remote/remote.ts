/** `Model.connect`: a model on a server that speaks the Open Inference Protocol (KServe v2), with the interface of a local one. */

import { checkCall, rethrow } from '../chunk.js'
import { DisposedError, InputError, NetworkError } from '../errors.js'
import { resolveFeeds } from '../feeds.js'
import { type AnyTensor, describeValue } from '../tensor.js'
import type { Feeds, Outputs, Port, RemoteModel, RemoteOptions, RunOptions, RunTiming } from '../types.js'
import { type Answer, exchange } from './http.js'
import { parseMetrics, parseServerTiming } from './server-timing.js'
import { decodeResponse, encodeRequest, HEADER_LENGTH, parseJson, ProtocolViolation, typeFromWire } from './wire.js'

const DEFAULT_TIMEOUT = 10_000

/** Connects to a model. */
export async function connect(server: string | URL, name: string, options: RemoteOptions): Promise<RemoteModel> {
  return open(server, name, options).catch((error: unknown) => rethrow(error, options))
}

/** Asks the server for the model's inputs and outputs. */
async function open(server: string | URL, name: string, options: RemoteOptions): Promise<RemoteModel> {
  if ((typeof server !== 'string' && !(server instanceof URL)) || typeof name !== 'string' || Object(options) !== options) {
    const given = [server, name, options].map(describeValue).join(', ')
    throw new InputError(`Model.connect takes the address of a server, the name of a model and options; ${given} were given.`)
  }
  // What is no function fails here, and not amid a run.
  options.onWarning?.bind(undefined)
  const timeout = options.timeout ?? DEFAULT_TIMEOUT
  if (!(typeof timeout === 'number' && timeout >= 0))
    throw new InputError(`The option timeout is ${describeValue(timeout)}; give milliseconds, or 0 for no limit.`)
  const url = String(server).replace(/\/+$/, '').replace(/\/v2$/, '')
  const version = options.version === undefined ? '' : `/versions/${encodeURIComponent(options.version)}`
  const modelUrl = `${url}/v2/models/${encodeURIComponent(name)}${version}`
  const get = (address: string): Promise<Answer> =>
    exchange({ url: address, init: { ...options.request }, timeout, signal: options.signal })
  const [metadata, binary] = await Promise.all([get(modelUrl), options.binary ?? hasBinaryExtension(get, `${url}/v2`)])
  const { inputs, outputs } = checked(modelUrl, () => {
    const json = parseJson(metadata.body)
    return { inputs: ports(json['inputs'], 'inputs'), outputs: ports(json['outputs'], 'outputs') }
  })
  return new Remote(url, name, modelUrl, inputs, outputs, { ...options, timeout, binary })
}

/** Servers say what they can at `/v2`; one that says nothing is taken to have the extension, as nearly all do. */
async function hasBinaryExtension(get: (url: string) => Promise<Answer>, url: string): Promise<boolean> {
  try {
    const { extensions } = parseJson((await get(url)).body)
    return !Array.isArray(extensions) || extensions.includes('binary_tensor_data')
  } catch {
    return true
  }
}

class Remote implements RemoteModel {
  readonly url: string
  readonly name: string
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly #modelUrl: string
  readonly #options: RemoteOptions & { readonly timeout: number; readonly binary: boolean }
  readonly #ended = new AbortController()
  #lastTiming: RunTiming | undefined
  #noted = false

  constructor(
    url: string,
    name: string,
    modelUrl: string,
    inputs: readonly Port[],
    outputs: readonly Port[],
    options: RemoteOptions & { timeout: number; binary: boolean },
  ) {
    this.url = url
    this.name = name
    this.inputs = inputs
    this.outputs = outputs
    this.#modelUrl = modelUrl
    this.#options = options
  }

  get lastTiming(): RunTiming | undefined {
    return this.#lastTiming
  }

  async run(feeds: Feeds, options: RunOptions = {}): Promise<Outputs> {
    return this.#run(feeds, options).catch((error: unknown) => rethrow(error, options))
  }

  async #run(feeds: Feeds, options: RunOptions): Promise<Outputs> {
    this.#ended.signal.throwIfAborted()
    checkCall(options)
    const start = performance.now()
    const tensors = resolveFeeds(this.inputs, feeds, (message) => this.#note(message))
    const { body, headers } = encodeRequest(this.inputs, tensors, this.outputs, this.#options.binary)
    const url = `${this.#modelUrl}/infer`
    const all = new Headers(this.#options.request?.headers)
    for (const [key, value] of Object.entries(headers)) all.set(key, value)
    const init = { ...this.#options.request, method: 'POST', headers: all, body }
    const answer = await this.#whileAlive(options.signal, (signal) =>
      exchange({ url, init, timeout: this.#options.timeout, signal }),
    )
    const outputs = checked(url, () => this.#decode(answer))
    const reported = answer.headers.get('server-timing')
    const timing = {
      ...parseServerTiming(reported),
      server: parseMetrics(reported),
      bytesSent: body.length,
      bytesReceived: answer.body.length,
    }
    this.#lastTiming = { total: performance.now() - start, ...timing }
    options.onTiming?.(this.#lastTiming)
    return outputs
  }

  dispose(): void {
    this.#ended.abort(new DisposedError('The connection was disposed; connect again to use it.'))
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #decode({ headers, body }: Answer): { [name: string]: AnyTensor } {
    const length = headers.get(HEADER_LENGTH)
    const outputs = decodeResponse(body, length === null ? undefined : Number(length))
    const missing = this.outputs.find((port) => outputs[port.name] === undefined)
    if (missing !== undefined) throw new ProtocolViolation(`it lacks the output '${missing.name}'`)
    return outputs
  }

  /** Runs an exchange that ends with the caller's signal or with this connection, whichever is first. */
  async #whileAlive<T>(caller: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController()
    const signals = caller === undefined ? [this.#ended.signal] : [this.#ended.signal, caller]
    const onAbort = (event: Event): void => stop.abort((event.target as AbortSignal).reason)
    for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await work(stop.signal)
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', onAbort)
    }
  }

  #note(message: string): void {
    if (this.#noted) return
    this.#noted = true
    if (this.#options.onWarning) this.#options.onWarning(message)
    else console.warn(`nearside: ${message}`)
  }
}

function ports(value: unknown, what: string): Port[] {
  if (!Array.isArray(value)) throw new ProtocolViolation(`it has no list of ${what}`)
  return value.map((entry: { name?: unknown; datatype?: unknown; shape?: unknown }) => {
    if (typeof entry?.name !== 'string' || !Array.isArray(entry.shape))
      throw new ProtocolViolation(`one of its ${what} lacks a name or shape`)
    const dims = entry.shape.map((d) => (Number(d) < 0 ? '?' : Number(d)))
    return { name: entry.name, type: typeFromWire(entry.datatype), dims }
  })
}

/** Runs a decoder; what it finds wrong is the server's doing. */
function checked<T>(url: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof ProtocolViolation)) throw error
    throw new NetworkError(
      `The answer of '${url}' does not follow the Open Inference Protocol: ${error.message}; check that the address is an inference server.`,
      {
        url,
        reason: 'protocol',
        cause: error,
      },
    )
  }
}
