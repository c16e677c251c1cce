/**
 * An engine: one wasm instance somewhere, a queue in front of it, and the models that live in it. It opens its channel when
 * first needed, closes it when nobody holds a lease (the only way to give wasm memory back), and replaces it when it is
 * lost; models then come back from the bytes that each keeps. It knows nothing of sources, caches or feeds.
 */

import { DisposedError, InternalError } from '../errors.js'
import type { FileBytes } from '../file.js'
import type { Timeline } from '../timeline.js'
import type { Limits, Port } from '../types.js'
import {
  type Channel,
  ChannelLost,
  type CompileResult,
  type Loaded,
  type NeededRange,
  type RequestOf,
  type ResponseOf,
  type Role,
} from './protocol.js'

/** A compiled binary and how many threads shall run it. */
export interface Binary {
  readonly module: WebAssembly.Module
  readonly threads: number
}

/** How an engine comes by its parts. */
export interface EngineParts {
  readonly role: Role
  /**
   * Ways to a binary, the best first: the next one is for where that cannot be fetched or started. Each fetches and compiles, and
   * is called again for each new instance, so it should remember.
   */
  readonly binaries: readonly (() => Promise<Binary>)[]
  /** Opens a way to a new instance. */
  readonly open: () => Channel | Promise<Channel>
}

/** An open channel; a new object for each instance, so that a model knows whether it lives in the present one. */
interface Instance {
  readonly channel: Channel
  readonly integerPath: string
}

/** Whose calls wait, and when its latest turn was. */
interface Caller {
  turn: number
}

interface Job {
  readonly caller: Caller
  /** Whether a later call of the same caller makes it needless. */
  readonly latest: boolean | undefined
  readonly run: (instance: Instance) => Promise<unknown>
  readonly settle: { resolve(value: unknown): void; reject(error: unknown): void }
  cancelled: boolean
}

export class Engine {
  readonly #parts: EngineParts
  #queue: Job[] = []
  #instance: Promise<Instance> | undefined
  #busy = false
  #leases = 0
  #turns = 0

  constructor(parts: EngineParts) {
    this.#parts = parts
  }

  /** Keeps the instance alive until the matching {@link Engine.release}. */
  retain(): void {
    this.#leases += 1
  }

  /** Gives back a lease; the last one ends the instance and whatever still waits for it. */
  release(): void {
    this.#leases -= 1
    if (this.#leases > 0) return
    for (const job of this.#queue.splice(0))
      job.settle.reject(new DisposedError('The model was disposed before its turn to run came.'))
    this.#discard()
  }

  /** Starts the instance, unless it runs; says which integer kernels it chose. */
  async start(timeline?: Timeline): Promise<string> {
    return (await this.#open(timeline)).integerPath
  }

  /** Loads a plan. Bytes in memory move to the other side unless `keep` is set. */
  async load(plan: FileBytes, keep: boolean, limits: Limits, signal?: AbortSignal): Promise<Resident> {
    const file = plan instanceof Blob ? plan : new Blob([plan])
    const again = (instance: Instance, plan: Blob): Promise<Loaded> => instance.channel.call('load', { plan, limits })
    return this.enqueue(async (instance) => {
      const moved = keep || plan instanceof Blob ? [] : [plan.buffer]
      const loaded = await instance.channel.call('load', { plan, limits }, moved)
      const resident = new Resident(this, file, again, loaded, instance)
      if (signal?.aborted) resident.drop()
      return resident
    }, signal)
  }

  /** Compiles ONNX, to a plan or to a model that lives in this engine. `weights` gives what the model needs of other files. */
  async compile(onnx: FileBytes, limits: Limits, weights: WeightSource, signal?: AbortSignal): Promise<Compiled> {
    const file = onnx instanceof Blob ? onnx : new Blob([onnx])
    const compile = async (instance: Instance, onnx: FileBytes): Promise<CompileResult & { readonly external: boolean }> => {
      const { channel } = instance
      const { id, needed } = await channel.call('open', { onnx, limits })
      try {
        if (needed.length > 0) await weights(needed, (piece) => channel.call('supply', { id, ...piece }, [piece.bytes.buffer]))
        signal?.throwIfAborted()
      } catch (error) {
        channel.call('drop', { id }).catch(() => {})
        throw error
      }
      return { ...(await channel.call('compile', { id })), external: needed.length > 0 }
    }
    const again = async (instance: Instance, file: Blob): Promise<Loaded> => {
      const result = await compile(instance, file)
      if (result.kind === 'plan')
        throw new InternalError('A model that needed the fallback compiled to a plan after a restart; load it again.')
      return result.model
    }
    return this.enqueue(async (instance) => {
      const result = await compile(instance, onnx)
      if (result.kind === 'plan') return result
      const resident = new Resident(this, file, again, result.model, instance)
      if (signal?.aborted) resident.drop()
      return { kind: 'fallback', resident, operators: result.operators }
    }, signal)
  }

  /** Sha-256 in hexadecimal, of what `crypto.subtle` cannot take. */
  sha256(file: FileBytes, signal?: AbortSignal): Promise<string> {
    return this.enqueue((instance) => instance.channel.call('sha256', { file }), signal)
  }

  /**
   * Runs a job when its turn comes: callers take turns, each with its oldest job. An abort takes it out of the queue, or drops its result. With
   * `latest`, earlier such jobs of the caller that wait are dropped and resolve to `undefined`.
   */
  enqueue<T>(
    run: (instance: Instance) => Promise<T>,
    signal?: AbortSignal,
    caller: Caller = { turn: 0 },
    latest?: boolean,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const job: Job = { caller, latest, run, settle: { resolve: resolve, reject }, cancelled: false }
      const abort = (): void => {
        job.cancelled = true
        reject(signal?.reason)
      }
      if (signal !== undefined) {
        signal.addEventListener('abort', abort, { once: true })
        const forget = (): void => signal.removeEventListener('abort', abort)
        job.settle.resolve = (value) => (forget(), resolve(value as T))
        job.settle.reject = (error) => (forget(), reject(error))
      }
      for (const other of this.#queue) {
        if (!latest || !other.latest || other.caller !== caller) continue
        other.cancelled = true
        other.settle.resolve(undefined)
      }
      this.#queue.push(job)
      void this.#pump()
    })
  }

  async #pump(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      try {
        job.settle.resolve(await job.run(await this.#open()))
      } catch (error) {
        if (error instanceof ChannelLost) this.#discard()
        job.settle.reject(error instanceof ChannelLost ? error.error : error)
      }
    }
    this.#busy = false
  }

  /** The oldest job of the caller whose turn is longest ago: sorting keeps the order of what is equal. */
  #next(): Job | undefined {
    this.#queue = this.#queue.filter((job) => !job.cancelled).sort((a, b) => a.caller.turn - b.caller.turn)
    const next = this.#queue.shift()
    if (next !== undefined) next.caller.turn = ++this.#turns
    return next
  }

  #open(timeline?: Timeline): Promise<Instance> {
    if (this.#instance === undefined) {
      const opening = this.#openNew(timeline)
      this.#instance = opening
      opening.catch(() => {
        if (this.#instance === opening) this.#instance = undefined
      })
    }
    return this.#instance
  }

  async #openNew(timeline?: Timeline): Promise<Instance> {
    const { binaries } = this.#parts
    for (const binary of binaries.slice(0, -1)) {
      try {
        return await this.#openWith(binary, timeline)
      } catch {
        // The last one says what is wrong.
      }
    }
    return this.#openWith(binaries[binaries.length - 1] as () => Promise<Binary>, timeline)
  }

  async #openWith(binary: () => Promise<Binary>, timeline?: Timeline): Promise<Instance> {
    const { role } = this.#parts
    const step = <T>(name: 'compileWasm' | 'instantiate' | 'compileCompiler', work: () => Promise<T>): Promise<T> =>
      timeline === undefined ? work() : timeline.measure(name, work)
    // Both at once: the Worker's script loads while the binary is fetched and compiled.
    const opening = Promise.resolve().then(this.#parts.open)
    opening.catch(() => {})
    try {
      const { module, threads } = await step(role === 'core' ? 'compileWasm' : 'compileCompiler', binary)
      const start = async (): Promise<Instance> => {
        const channel = await opening
        const { integerPath } = await channel.call('start', { role, module, threads })
        return { channel, integerPath }
      }
      return await (role === 'core' ? step('instantiate', start) : start())
    } catch (error) {
      opening.then((channel) => channel.close()).catch(() => {})
      throw error instanceof ChannelLost ? error.error : error
    }
  }

  #discard(): void {
    const instance = this.#instance
    this.#instance = undefined
    instance?.then(({ channel }) => channel.close()).catch(() => {})
  }
}

/** Gives `take` the bytes of these ranges, file by file and in order, one piece after the other was taken. */
export type WeightSource = (
  needed: readonly NeededRange[],
  take: (piece: { readonly path: string; readonly at: number; readonly bytes: Uint8Array<ArrayBuffer> }) => Promise<unknown>,
) => Promise<void>

/** What {@link Engine.compile} gives; `external` tells whether other files are part of the model. */
export type Compiled =
  | (Extract<CompileResult, { kind: 'plan' }> & { readonly external: boolean })
  | { readonly kind: 'fallback'; readonly resident: Resident; readonly operators: readonly string[] }

/** Inputs of a model; those that are still being read arrive when its turn has come. */
type Inputs = RequestOf<'run'>['inputs'] | Promise<RequestOf<'run'>['inputs']>

/** Messages about a model, and what they say beside its id. */
type AboutModel = 'profile' | 'explain' | 'memory' | 'tune' | 'tuneOn' | 'tuneEnd'
type Asked<K extends AboutModel> = Omit<RequestOf<K>, 'id'>

/** A model that lives in an engine, and comes back from its bytes when the instance is replaced. */
export class Resident {
  readonly engine: Engine
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly notes: readonly string[]
  /** Milliseconds that loading took in the engine. */
  readonly loadMs: number
  /** Threads that share the work, as known after the latest run. */
  threads: number
  /** Buffers of the latest run's inputs, for those of the next. */
  spares: Uint8Array[] = []
  /** When the engine ran it last. */
  turn = 0
  /** The plan or ONNX file. A Blob's bytes may live outside of this thread's memory, or on disk. */
  file: Blob
  readonly #again: (instance: Instance, file: Blob) => Promise<Loaded>
  #id: number
  #home: Instance | undefined
  #dropped = false

  constructor(
    engine: Engine,
    file: Blob,
    again: (instance: Instance, file: Blob) => Promise<Loaded>,
    loaded: Loaded,
    home: Instance,
  ) {
    this.engine = engine
    this.inputs = loaded.inputs
    this.outputs = loaded.outputs
    this.notes = loaded.notes
    this.loadMs = loaded.ms
    this.threads = loaded.threads
    this.file = file
    this.#again = again
    this.#id = loaded.id
    this.#home = home
  }

  /** Runs the model when its turn comes. `started` is called when it has; `latest` is as for {@link Engine.enqueue}. */
  run(inputs: Inputs, signal?: AbortSignal, started?: () => void): Promise<ResponseOf<'run'>>
  run(inputs: Inputs, signal?: AbortSignal, started?: () => void, latest?: boolean): Promise<ResponseOf<'run'> | undefined>
  run(inputs: Inputs, signal?: AbortSignal, started?: () => void, latest?: boolean): Promise<ResponseOf<'run'> | undefined> {
    return this.engine.enqueue(
      async (instance) => {
        const id = await this.#settle(instance)
        const ready = await inputs
        started?.()
        const transfer = ready.flatMap((i) =>
          'transfer' in i ? i.transfer : 'bytes' in i ? [i.bytes.buffer as ArrayBuffer] : [],
        )
        const result = await instance.channel.call('run', { id, inputs: ready }, transfer)
        this.threads = result.threads
        this.spares = result.spent
        return result
      },
      signal,
      this,
      latest,
    )
  }

  /** Sends a message about the model when its turn comes. */
  ask<K extends AboutModel>(name: K, request: Asked<K> | Promise<Asked<K>>, signal?: AbortSignal): Promise<ResponseOf<K>> {
    return this.engine.enqueue(
      async (instance) => {
        const id = await this.#settle(instance)
        return instance.channel.call(name, { id, ...(await request) })
      },
      signal,
      this,
    )
  }

  /** Gives the model's memory back to the instance. */
  drop(): void {
    if (this.#dropped) return
    this.#dropped = true
    this.spares = []
    const home = this.#home
    this.#home = undefined
    // The instance may be gone, and the model with it.
    home?.channel.call('drop', { id: this.#id }).catch(() => {})
  }

  /** The model's id in the present instance, where it is loaded again if it is new. */
  async #settle(instance: Instance): Promise<number> {
    if (this.#dropped) throw new DisposedError('The model was disposed before its turn to run came.')
    if (this.#home === instance) return this.#id
    this.#id = (await this.#again(instance, this.file)).id
    this.#home = instance
    return this.#id
  }
}
