/** How a model is loaded: bytes, integrity, plan (from the cache or the compiler), engine. Everything is undone on failure. */

import { abortable } from './abort.js'
import { checkCall, lazily, rethrow } from './chunk.js'
import type { Known } from './cache-index.js'
import { Resident, type WeightSource } from './engine/engine.js'
import { compilerFor, type Placement, runtimeFor } from './engines.js'
import { NetworkError, PlanError } from './errors.js'
import { type FileBytes, headOf, LARGE } from './file.js'
import { fileAddress, isNode, openFiles } from './files.js'
import { sha256Hex } from './sha256.js'
import { ProgressMeter } from './progress.js'
import { describeSource, isRemote, plainAddress } from './request.js'
import { isPlan } from './magic.js'
import { whyNoPlan } from './no-plan.js'
import { readSource, type SourceBytes } from './source.js'
import { cacheStorage } from './storage.js'
import { Timeline } from './timeline.js'
import type { Visit } from './visit.js'
import type { EngineInfo, Limits, LoadOptions, ModelSource } from './types.js'

const DEFAULT_TIMEOUT = 30_000
const DEFAULT_CACHE_BYTES = 2 ** 30

/** A loaded model's parts. */
export interface Loaded {
  readonly resident: Resident
  /** Gives back the model's memory and its lease on the engine; call it once. */
  readonly release: () => void
  readonly engine: EngineInfo
  readonly timeline: Timeline
  readonly warn: (message: string) => void
}

/** Loads a model. */
export async function load(source: ModelSource, options: LoadOptions): Promise<Loaded> {
  let loading: Loading | undefined
  try {
    checkCall(options)
    if (isNode()) await openFiles()
    loading = new Loading(source, options)
    return await loading.run()
  } catch (error) {
    loading?.undo()
    return rethrow(error, options)
  } finally {
    loading?.settle()
  }
}

/** One load and what it must undo if it fails. */
class Loading {
  readonly #source: ModelSource
  readonly #options: LoadOptions & { readonly timeout: number }
  readonly #signal: AbortSignal | undefined
  #expected: string | undefined
  readonly #label: string
  readonly #timeline = new Timeline()
  readonly #progress: ProgressMeter
  /** Its code arrives while the model does; `undefined` if there is none. */
  readonly #cache: Promise<Visit | undefined> | undefined
  readonly #place: Placement
  #limits: Limits = {}
  readonly #undo: (() => void)[] = []
  /** Where the model comes from, if a server has the same for everybody. */
  readonly #address: string | undefined
  #releaseRuntime: (() => void) | undefined

  constructor(source: ModelSource, options: LoadOptions) {
    const timeout = options.timeout ?? DEFAULT_TIMEOUT
    this.#source = fileAddress(source)
    this.#options = { ...options, timeout }
    this.#signal = options.signal
    this.#label = describeSource(this.#source)
    // What is no function fails here, and not amid a download.
    options.onWarning?.bind(undefined)
    this.#progress = new ProgressMeter(options.onProgress?.bind(undefined))
    this.#address = plainAddress(this.#source, options.request)
    const storage = options.cache === false ? undefined : cacheStorage()
    const settings = { address: this.#address, label: this.#label, maxBytes: cacheBytes(options.cache), warn: this.#warn }
    this.#cache =
      storage &&
      import('./visit.js').then(
        ({ openVisit }) => openVisit(storage, settings),
        () => undefined,
      )
    this.#place = runtimeFor(this.#options)
  }

  async run(): Promise<Loaded> {
    if (this.#place.note !== undefined) this.#warn(this.#place.note)
    this.#releaseRuntime = this.#lease(this.#place.engine)
    // The runtime arrives while the model does; its failure counts when it is needed.
    const started = this.#place.engine.start(this.#timeline)
    started.catch(() => {})
    const { integrity, limits, timeout } = this.#options
    if (!(timeout >= 0 && cacheBytes(this.#options.cache) >= 0))
      throw (await lazily(import('./options.js'))).badNumber(this.#options)
    if (limits !== undefined) this.#limits = (await lazily(import('./options.js'))).checkLimits(limits)
    if (integrity !== undefined) this.#expected = (await lazily(import('./integrity.js'))).parseIntegrity(integrity)
    const demanded = await this.#demandedPlan()
    if (demanded !== undefined) return this.#finish(demanded, started)

    const read = await this.#readOrKnown()
    if (read instanceof Resident) return this.#finish(read, started)
    const { bytes, shared } = read
    const head = await headOf(bytes)
    const kind = isPlan(head) ? 'plan' : (await lazily(import('./sniff.js'))).modelKind(head, this.#label)
    const sha256 = this.#expected !== undefined || kind === 'onnx' ? await this.#digest(bytes) : undefined
    if (this.#expected !== undefined)
      (await lazily(import('./integrity.js'))).checkIntegrity(this.#expected, sha256 ?? '', this.#label)
    if (kind === 'plan') {
      const resident = await this.#bind(bytes, shared)
      // A plan that did not come from an address is where it came from.
      if (this.#address !== undefined) this.#keep(resident, sha256)
      return this.#finish(resident, started)
    }
    const key = await this.#compiledKey(sha256 ?? '')
    const cached = this.#expected === undefined ? await this.#cachedPlan(key) : undefined
    if (cached === undefined) return this.#compile(bytes, key, started)
    this.#keep(cached, key)
    return this.#finish(cached, started)
  }

  undo(): void {
    for (const step of this.#undo.splice(0).reverse()) step()
  }

  /** The pieces of a file that is whole are needed no more. */
  settle(): void {
    void this.#cache?.then((cache) => cache?.settle())
  }

  /** With `integrity` the digest is known beforehand: a plan in the cache then spares the download. */
  async #demandedPlan(): Promise<Resident | undefined> {
    if (this.#expected === undefined || !isRemote(this.#source)) return undefined
    return (await this.#cachedPlan(this.#expected)) ?? this.#cachedPlan(await this.#compiledKey(this.#expected))
  }

  /**
   * The model's bytes; or its plan from the cache, where the server says that the address has what it had before, or no server answers. With
   * `integrity` nothing but the digest counts.
   */
  async #readOrKnown(): Promise<SourceBytes | Resident> {
    const known = this.#expected === undefined ? this.#cache?.then((cache) => cache?.known()) : undefined
    try {
      const read = await this.#timeline.measure('download', () => this.#read(known))
      if (read !== undefined) return read
    } catch (error) {
      if (!(error instanceof NetworkError) || (error.reason !== 'unreachable' && error.reason !== 'timeout')) throw error
      const kept = await this.#cachedPlan((await known)?.key)
      if (kept === undefined) throw error
      this.#warn(`${error.message} The copy on this device is used.`)
      return kept
    }
    const kept = await this.#cachedPlan((await known)?.key)
    return kept ?? ((await this.#timeline.measure('download', () => this.#read())) as SourceBytes)
  }

  #read(known?: Promise<Known | undefined>): Promise<SourceBytes | undefined> {
    return readSource(this.#source, {
      request: this.#options.request,
      signal: this.#signal,
      timeout: this.#options.timeout,
      begun: async (version, total) => (await this.#cache)?.begun(version, total),
      onBytes: (loaded, total, arriving) => {
        this.#progress.bytes(loaded, total)
        void this.#cache?.then((cache) => cache?.arrive(arriving))
      },
      onAnswer: async (response) => (await this.#cache)?.answered(response, await known) ?? false,
    })
  }

  /** Keeps a model's plan on the device, under the digest of its file if it was a plan; the page need not wait for that. */
  #keep(resident: Resident, key: string | undefined): void {
    const keep = async (): Promise<void> => {
      const cache = await this.#cache
      if (cache?.keepable !== true) return
      const { file } = resident
      const name = key ?? (await this.#digest(file.size > LARGE ? file : new Uint8Array(await file.arrayBuffer())))
      await cache.put(name, file)
    }
    keep().catch(() => {})
  }

  #digest(bytes: FileBytes): Promise<string> {
    return abortable(
      sha256Hex(bytes, (file) => this.#place.engine.sha256(file, this.#signal)),
      this.#signal,
    )
  }

  async #compiledKey(sha256: string): Promise<string> {
    return (await this.#cache)?.compiledKey(sha256) ?? sha256
  }

  async #cachedPlan(key: string | undefined): Promise<Resident | undefined> {
    const cache = await this.#cache
    if (key === undefined || cache === undefined) return undefined
    const plan = await abortable(cache.get(key), this.#signal)
    if (plan === undefined) return undefined
    try {
      const resident = await this.#bind(plan, false)
      this.#timeline.cached = true
      return resident
    } catch (error) {
      if (!(error instanceof PlanError)) throw error
      await cache.drop(key)
      return undefined
    }
  }

  async #bind(plan: FileBytes, shared: boolean): Promise<Resident> {
    await abortable(this.#place.engine.start(this.#timeline), this.#signal)
    this.#progress.enter('bind')
    const resident = await this.#timeline.measure('bind', () => this.#place.engine.load(plan, shared, this.#limits, this.#signal))
    this.#undo.push(() => resident.drop())
    return resident
  }

  async #compile(onnx: FileBytes, key: string, started: Promise<string>): Promise<Loaded> {
    this.#progress.enter('compile')
    const compiler = compilerFor(this.#options)
    const releaseCompiler = this.#lease(compiler)
    const compilerStarted = compiler.start(this.#timeline)
    await abortable(Promise.all([started, compilerStarted]), this.#signal)
    const weights: WeightSource = async (needed, take) => {
      const { externalWeights } = await lazily(import('./external.js'))
      await externalWeights(this.#source, this.#options)(needed, take)
    }
    const compiled = await this.#timeline.measure('compileModel', () =>
      compiler.compile(onnx, this.#limits, weights, this.#signal),
    )
    if (compiled.kind === 'fallback') {
      this.#undo.push(() => compiled.resident.drop())
      const { operators, resident } = compiled
      this.#warn(`${this.#label} runs in the compiler, more slowly${whyNoPlan(operators, resident.notes)}`)
      this.#releaseRuntime?.()
      return this.#finish(compiled.resident, compilerStarted, compiled.operators)
    }
    releaseCompiler()
    for (const note of compiled.notes) this.#warn(note)
    const resident = await this.#bind(compiled.plan, false)
    // Only now: a plan that did not load must not come back. The digest tells nothing of other files.
    if (!compiled.external) this.#keep(resident, key)
    return this.#finish(resident, started)
  }

  async #finish(resident: Resident, started: Promise<string>, fallbackOperators: readonly string[] = []): Promise<Loaded> {
    const integerPath = await abortable(started, this.#signal)
    this.#signal?.throwIfAborted()
    const steps = this.#undo.splice(0)
    const release = (): void => {
      for (const step of steps.splice(0).reverse()) step()
    }
    this.#timeline.finish()
    this.#progress.enter('ready')
    const { variant, worker } = this.#place
    const { total, cached } = this.#timeline.toTimings()
    const where = `${variant} binary, ${integerPath}, ${worker ? 'in a Worker' : 'in the calling thread'}`
    this.#options.logger?.info?.(
      `${this.#label} is ready after ${total.toFixed(0)} ms${cached ? ', from this device' : ''} (${where}).`,
    )
    return {
      resident,
      release,
      engine: {
        variant,
        worker,
        get threads() {
          return resident.threads
        },
        integerPath,
        fallbackOperators,
      },
      timeline: this.#timeline,
      warn: this.#warn,
    }
  }

  /** Holds an engine until the load is undone or the model disposed; gives the function that does so sooner. */
  #lease(engine: Placement['engine']): () => void {
    let held = true
    const release = (): void => {
      if (held) engine.release()
      held = false
    }
    engine.retain()
    this.#undo.push(release)
    return release
  }

  readonly #warn = (message: string): void => {
    const { onWarning, logger } = this.#options
    if (onWarning) onWarning(message)
    else if (logger !== undefined) logger.warn?.(message)
    else console.warn(`nearside: ${message}`)
  }
}

function cacheBytes(cache: LoadOptions['cache']): number {
  return (typeof cache === 'object' ? cache.maxBytes : undefined) ?? DEFAULT_CACHE_BYTES
}
