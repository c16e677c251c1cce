/** `Model`: a model that runs in the page. */

import { checkCall, lazily, rethrow } from './chunk.js'
import type { Resident } from './engine/engine.js'
import type { WireInput, WireValue } from './engine/protocol.js'
import { DisposedError, InputError, NearsideError } from './errors.js'
import type { Explanation, NodeProfile, TuneReport } from './explanation.js'
import { mayHaveMedia, resolveFeeds, toWire } from './feeds.js'
import { load, type Loaded } from './load.js'
import type { withMedia } from './media/media.js'
import type { LocalFeeds, WithMedia } from './media/types.js'
import { fromWire } from './outputs.js'
import { cacheStorage } from './storage.js'
import type { Timeline } from './timeline.js'
import type {
  EngineInfo,
  Feeds,
  LatestRunOptions,
  LoadOptions,
  LoadTimings,
  LocalModel,
  MemoryUse,
  ModelAddress,
  ModelSource,
  Outputs,
  OutputValue,
  OutputValues,
  Port,
  ProfileOptions,
  RemoteModel,
  RemoteOptions,
  RunOptions,
  RunTiming,
  TuneOptions,
} from './types.js'

/** Inputs, or those that are still being read. */
type WireInputs = WireInput[] | Promise<WireInput[]>

const measuring = () => lazily(import('./measuring.js'))

let media: typeof withMedia | undefined

/** Gives back what belongs to models that were forgotten without `dispose()`. */
const abandoned = /* @__PURE__ */ new FinalizationRegistry<() => void>((release) => release())

/**
 * A model that runs in the page.
 *
 * @example
 * const model = await Model.load('/models/digits.onnx', { onProgress: (p) => { bar.value = p.fraction } })
 * const { scores } = await model.run({ image: pixels })
 * model.dispose()
 */
export class Model<F extends LocalFeeds = Feeds, O extends OutputValues = Outputs> implements LocalModel<F, O> {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly engine: EngineInfo
  readonly #resident: Resident
  readonly #release: () => void
  readonly #warn: (message: string) => void
  readonly #timeline: Timeline
  #ran = false
  #noted = false
  #disposed = false
  #lastTiming: RunTiming | undefined

  private constructor(loaded: Loaded) {
    if (!loaded?.resident) throw new InputError('A Model comes from Model.load.')
    const { resident, release, engine, timeline, warn } = loaded
    this.inputs = resident.inputs
    this.outputs = resident.outputs
    this.engine = engine
    this.#resident = resident
    this.#release = release
    this.#timeline = timeline
    this.#warn = warn
    abandoned.register(this, release, this)
  }

  /**
   * Loads a model: a compiled plan, or raw ONNX, which is compiled here (and the plan kept in the browser's cache).
   *
   * Rejects with {@link ModelFormatError}, {@link PlanError}, {@link UnsupportedError}, {@link NetworkError}, {@link IntegrityError},
   * {@link InputError} (for options), {@link LimitError} or {@link WorkerError}; with the signal's reason when aborted.
   */
  static async load<F extends LocalFeeds, O extends OutputValues>(
    source: ModelAddress<F, O>,
    options?: LoadOptions,
  ): Promise<Model<F, O>>
  static async load(source: ModelSource, options?: LoadOptions): Promise<Model>
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    return new Model(await load(source, options))
  }

  /**
   * Connects to a model on a server that speaks the Open Inference Protocol (KServe v2 over HTTP): `nearside serve`, Triton,
   * KServe, OpenVINO Model Server.
   */
  static async connect<F extends Feeds = Feeds, O extends Outputs = Outputs>(
    url: string | URL,
    name: string,
    options: RemoteOptions = {},
  ): Promise<RemoteModel<F, O>> {
    const { connect } = await import('./remote/remote.js')
    return connect(url, name, options) as Promise<RemoteModel<F, O>>
  }

  /** Deletes all plans, and parts of downloads, that this origin keeps on the device. Loaded models go on. */
  static async clearCache(): Promise<void> {
    const { clearCache } = await import('./visit.js')
    await clearCache(cacheStorage())
  }

  get timings(): LoadTimings {
    return this.#timeline.toTimings()
  }

  get lastTiming(): RunTiming | undefined {
    return this.#lastTiming
  }

  async run<R extends OutputValues = O>(feeds: WithMedia<F>, options?: RunOptions): Promise<R>
  async run<R extends OutputValues = O>(feeds: WithMedia<F>, options: LatestRunOptions): Promise<R | undefined>
  async run<R extends OutputValues>(feeds: F, options: RunOptions | undefined): Promise<R>
  async run(feeds: F, options?: RunOptions): Promise<O>
  async run(feeds: LocalFeeds, options: Partial<LatestRunOptions> = {}): Promise<OutputValues | undefined> {
    return this.#call(options, () => this.#run(feeds, options))
  }

  async #run(feeds: LocalFeeds, options: Partial<LatestRunOptions>): Promise<OutputValues | undefined> {
    const called = performance.now()
    let started = called
    const mark = (): void => {
      started = performance.now()
    }
    let answer: Awaited<ReturnType<Resident['run']>>
    try {
      answer = await this.#with(feeds, (inputs) => this.#resident.run(inputs, options.signal, mark, options.latest))
    } catch (error) {
      if (this.#disposed) throw this.#disposedError()
      throw error
    }
    if (answer === undefined) return undefined
    const total = performance.now() - called
    if (!this.#ran) this.#timeline.add('firstRun', called, total)
    this.#ran = true
    const { ms: compute, prepare } = answer
    this.#lastTiming = { total, prepare, compute, queue: started - called, bytesSent: 0, bytesReceived: 0 }
    options.onTiming?.(this.#lastTiming)
    return Object.fromEntries(answer.outputs.map((output, i) => named(this.outputs[i], output)))
  }

  async profile(feeds: WithMedia<F>, options: ProfileOptions = {}): Promise<NodeProfile[]> {
    return this.#call(options, () =>
      this.#with(feeds, async (inputs) => (await measuring()).profile(this.#resident, inputs, options)),
    )
  }

  async tune(feeds: WithMedia<F>, options: TuneOptions = {}): Promise<TuneReport> {
    return this.#call(options, () =>
      this.#with(feeds, async (inputs) => (await measuring()).tune(this.#resident, inputs, options)),
    )
  }

  async explain(): Promise<Explanation> {
    this.#assertUsable()
    const { notes, file } = this.#resident
    const told = await this.#resident.ask('explain', {})
    const plan = told.executor === 'runtime' ? file : undefined
    return { ...told, notes, fallbackOperators: this.engine.fallbackOperators, plan }
  }

  async memory(): Promise<MemoryUse> {
    this.#assertUsable()
    return this.#resident.ask('memory', {})
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    abandoned.unregister(this)
    this.#release()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Does what a method is asked for, if it can be; see {@link rethrow}. */
  async #call<T>(options: RunOptions, work: () => Promise<T>): Promise<T> {
    try {
      this.#assertUsable()
      checkCall(options)
      return await work()
    } catch (error) {
      return rethrow(error, options)
    }
  }

  /** Calls `use` with the inputs, which are copied before this returns, except for elements in the first call with pictures or sounds. */
  async #with<T>(feeds: LocalFeeds, use: (inputs: WireInputs) => Promise<T>): Promise<T> {
    const note = (message: string): void => this.#note(message)
    if (!mayHaveMedia(feeds)) {
      return use(resolveFeeds(this.inputs, feeds as Feeds, note).map((tensor) => toWire(tensor, this.#resident.spares)))
    }
    let owned = false
    if (media === undefined) {
      try {
        feeds = structuredClone(feeds)
        owned = true
      } catch {
        // There are elements among them, which are read when the part that can is there.
      }
      media = (await lazily(import('./media/media.js'))).withMedia
    }
    return media(this.inputs, feeds, note, use, owned, this.#resident.spares)
  }

  #assertUsable(): void {
    if (this.#disposed) throw this.#disposedError()
  }

  #disposedError(): DisposedError {
    return new DisposedError('The model was disposed; load it again to use it.')
  }

  #note(message: string): void {
    if (!this.#noted) this.#warn(message)
    this.#noted = true
  }
}

function named(port: Port | undefined, value: WireValue): [string, OutputValue] {
  if (port === undefined) throw new NearsideError('The model gave an output that it did not announce.')
  return [port.name, fromWire(value)]
}
