/** `Model`: a model that runs in the page. */

import type { Resident } from './engine/engine.js'
import type { WireInput, WireValue } from './engine/protocol.js'
import { DisposedError, InputError, NearsideError } from './errors.js'
import { resolveFeeds } from './feeds.js'
import { load, type Loaded } from './load.js'
import { fromWire } from './outputs.js'
import { type AnyTensor, describeValue } from './tensor.js'
import type { Timeline } from './timeline.js'
import type {
  EngineInfo,
  Feeds,
  LoadOptions,
  LoadTimings,
  LocalModel,
  MemoryUse,
  ModelAddress,
  ModelSource,
  NodeProfile,
  Outputs,
  OutputValue,
  OutputValues,
  Port,
  ProfileOptions,
  RemoteModel,
  RemoteOptions,
  RunOptions,
  RunTiming,
} from './types.js'

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
export class Model<F extends Feeds = Feeds, O extends OutputValues = Outputs> implements LocalModel<F, O> {
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

  private constructor({ resident, release, engine, timeline, warn }: Loaded) {
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
  static async load<F extends Feeds, O extends OutputValues>(
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
  static async connect(url: string | URL, name: string, options: RemoteOptions = {}): Promise<RemoteModel> {
    const { connect } = await import('./remote/remote.js')
    return connect(url, name, options)
  }

  get timings(): LoadTimings {
    return this.#timeline.toTimings()
  }

  get lastTiming(): RunTiming | undefined {
    return this.#lastTiming
  }

  async run<R extends OutputValues = O>(feeds: F, options: RunOptions = {}): Promise<R> {
    this.#assertUsable()
    options.signal?.throwIfAborted()
    const called = performance.now()
    const wire = resolveFeeds(this.inputs, feeds, (message) => this.#note(message)).map(toWire)
    let started = called
    const mark = (): void => {
      started = performance.now()
    }
    let answer: Awaited<ReturnType<Resident['run']>>
    try {
      answer = await this.#resident.run(wire, options.signal, mark)
    } catch (error) {
      if (this.#disposed) throw this.#disposedError()
      throw error
    }
    const total = performance.now() - called
    if (!this.#ran) this.#timeline.add('firstRun', called, total)
    this.#ran = true
    this.#lastTiming = { total, compute: answer.ms, queue: started - called, bytesSent: 0, bytesReceived: 0 }
    options.onTiming?.(this.#lastTiming)
    return Object.fromEntries(answer.outputs.map((output, i) => named(this.outputs[i], output))) as R
  }

  async profile(feeds: F, { runs = 20, signal }: ProfileOptions = {}): Promise<NodeProfile[]> {
    this.#assertUsable()
    if (!Number.isInteger(runs) || runs < 1)
      throw new InputError(`The option runs is ${describeValue(runs)}; give a whole number from 1 on.`)
    const wire = resolveFeeds(this.inputs, feeds, (message) => this.#note(message)).map(toWire)
    return [...(await this.#resident.profile(wire, runs, signal))]
  }

  async memory(): Promise<MemoryUse> {
    this.#assertUsable()
    return this.#resident.memory()
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

function toWire(tensor: AnyTensor): WireInput {
  const dims = Uint32Array.from(tensor.dims)
  if (tensor.type === 'string') return { dims, strings: [...tensor.data] }
  // A copy of its own: it moves to the other thread, and the caller may reuse the array at once.
  const { data } = tensor
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
  return { dims, bytes }
}

function named(port: Port | undefined, value: WireValue): [string, OutputValue] {
  if (port === undefined) throw new NearsideError('The model gave an output that it did not announce.')
  return [port.name, fromWire(value)]
}
