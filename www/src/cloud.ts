/** The cloud: the same call to a server, over the network as it is or with conditions added by the server. */

import { Model, NetworkError, type RemoteModel, type RunTiming } from 'nearside'
import { type Answer, feeds, logitsOf, type Part } from './edge'
import { sentenceOf } from './format'
import { type Experiment, serverPath } from './network'

/** Milliseconds after which a call is given up. */
const TIMEOUT = 8000

/** How the cloud is. */
export type CloudState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'ready'; readonly connectMs: number }
  /** `sentence` says what is wrong, for the page to show. */
  | { readonly kind: 'failed'; readonly sentence: string; readonly retryAt: number }

/** A connection under one experiment. Failures are kept as state: the page goes on without the cloud. */
export class Cloud {
  readonly experiment: Experiment
  readonly #onState: (state: CloudState) => void
  readonly #server: URL
  #model: RemoteModel | undefined
  #connecting: Promise<RemoteModel> | undefined
  #connectMs = 0
  readonly #closing = new AbortController()
  /** Failures in a row. */
  #failures = 0
  #state: CloudState = { kind: 'connecting' }
  #bytesSent = 0

  constructor(page: string, experiment: Experiment, onState: (state: CloudState) => void) {
    this.experiment = experiment
    this.#onState = onState
    this.#server = new URL(serverPath(experiment.conditions), page)
  }

  get state(): CloudState {
    return this.#state
  }

  /** Bytes in the bodies of all answered requests. */
  get bytesSent(): number {
    return this.#bytesSent
  }

  /** Whether it answered last time, or has waited long enough to be asked again. */
  get isWorthAsking(): boolean {
    return this.#state.kind !== 'failed' || performance.now() >= this.#state.retryAt
  }

  /** Asks for the model's metadata, unless it is known: a connection is then open before the first stroke. */
  async open(): Promise<void> {
    await this.#attempt(async () => {
      await this.#connection()
    })
  }

  /** Predicts; `undefined` when the cloud cannot, which its state then explains. */
  async ask(image: Float32Array): Promise<Answer | undefined> {
    let answer: Answer | undefined
    await this.#attempt(async () => {
      const model = await this.#connection()
      const outputs = await model.run(feeds(image))
      const timing = model.lastTiming
      if (timing === undefined) throw new Error('The call was not timed.')
      this.#bytesSent += timing.bytesSent
      answer = { logits: logitsOf(outputs), call: { total: timing.total, parts: partsOf(timing) } }
    })
    return answer
  }

  close(): void {
    this.#closing.abort()
    this.#forget()
  }

  #forget(): void {
    this.#model?.dispose()
    this.#model = undefined
  }

  /** Milliseconds to wait after a failure: as long as the server asks, else longer each time; a simulated failure stays. */
  #patience(error: unknown): number {
    if (this.experiment.conditions.offline) return Infinity
    const asked = error instanceof NetworkError ? error.retryAfter : undefined
    return 1000 * (asked ?? Math.min(2 ** (this.#failures - 1), 8))
  }

  async #connection(): Promise<RemoteModel> {
    if (this.#model !== undefined) return this.#model
    const start = performance.now()
    this.#connecting ??= Model.connect(this.#server, this.experiment.model, {
      timeout: TIMEOUT,
      binary: true,
      signal: this.#closing.signal,
    })
    try {
      this.#model = await this.#connecting
      this.#connectMs = performance.now() - start
      return this.#model
    } finally {
      this.#connecting = undefined
    }
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
      this.#failures = 0
      this.#become({ kind: 'ready', connectMs: this.#connectMs })
    } catch (error) {
      this.#failures++
      if (this.#closing.signal.aborted) return
      // The next attempt connects anew, which also tells whether the server is back before a drawing is sent.
      if (error instanceof NetworkError && error.status === undefined) this.#forget()
      this.#become({
        kind: 'failed',
        sentence: explain(error, this.experiment),
        retryAt: performance.now() + this.#patience(error),
      })
    }
  }

  #become(state: CloudState): void {
    if (this.#closing.signal.aborted) return
    this.#state = state
    this.#onState(state)
  }
}

/** Splits a call by what the server reports of itself; what is left is the real network, with the browser's share. */
export function partsOf({ total, server = {} }: RunTiming): Part[] {
  const of = (...metrics: string[]): number => metrics.reduce((sum, name) => sum + (server[name] ?? 0), 0)
  const reported: Part[] = [
    { name: 'compute', ms: of('compute') },
    { name: 'queue', ms: of('queue') },
    { name: 'coding', ms: of('decode', 'encode') },
    { name: 'simulated', ms: of('simulated') },
  ]
  const known = reported.reduce((sum, { ms }) => sum + ms, 0)
  return [...reported, { name: 'network', ms: Math.max(0, total - known) }]
}

/** What is wrong with the cloud, for a reader who wants to know whether to wait. */
export function explain(error: unknown, { conditions }: Pick<Experiment, 'conditions'>): string {
  if (conditions.offline) return 'The cloud cannot be reached: the simulated network is offline.'
  if (!(error instanceof NetworkError)) return `The cloud refused: ${sentenceOf(error)}`
  switch (error.reason) {
    case 'unreachable':
      return 'The cloud cannot be reached: the network is down, or the server has stopped.'
    case 'timeout':
      return `The cloud did not answer within ${TIMEOUT / 1000} seconds.`
    case 'status':
      if (error.status === 503) return `The cloud is busy and asks to be tried again in ${error.retryAfter ?? 1} s.`
      return `The cloud answered with an error: ${error.message}`
    case 'html':
    case 'protocol':
      return `There is no inference server where the cloud should be: ${error.message}`
  }
}
