/** How a model is loaded: bytes, integrity, plan (from the cache or the compiler), engine. Everything is undone on failure. */

import { abortable } from './abort.js'
import { openPlanCache, type PlanCache } from './cache.js'
import type { Resident } from './engine/engine.js'
import { compilerFor, type Placement, runtimeFor } from './engines.js'
import { InputError, PlanError } from './errors.js'
import { externalWeights } from './external.js'
import { type FileBytes, headOf } from './file.js'
import { fileAddress } from './files.js'
import { checkIntegrity, parseIntegrity, sha256Hex } from './integrity.js'
import { ProgressMeter } from './progress.js'
import { checkLimits } from './limits.js'
import { modelKind } from './sniff.js'
import { describeSource, isRemote, readSource, type SourceBytes } from './source.js'
import { describeValue } from './tensor.js'
import { Timeline } from './timeline.js'
import type { EngineInfo, Limits, LoadOptions, ModelSource } from './types.js'

const DEFAULT_TIMEOUT = 30_000

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
  options.signal?.throwIfAborted()
  const loading = new Loading(source, options)
  try {
    return await loading.run()
  } catch (error) {
    loading.undo()
    throw error
  }
}

/** One load and what it must undo if it fails. */
class Loading {
  readonly #source: ModelSource
  readonly #options: LoadOptions & { readonly timeout: number }
  readonly #signal: AbortSignal | undefined
  readonly #expected: string | undefined
  readonly #label: string
  readonly #timeline = new Timeline()
  readonly #progress: ProgressMeter
  readonly #cache: PlanCache
  readonly #place: Placement
  readonly #limits: Limits
  readonly #undo: (() => void)[] = []
  #releaseRuntime: (() => void) | undefined

  constructor(source: ModelSource, options: LoadOptions) {
    const timeout = options.timeout ?? DEFAULT_TIMEOUT
    if (!(timeout >= 0))
      throw new InputError(`The option timeout is ${describeValue(timeout)}; give milliseconds, or 0 for no limit.`)
    this.#source = fileAddress(source)
    this.#options = { ...options, timeout }
    this.#signal = options.signal
    this.#expected = options.integrity === undefined ? undefined : parseIntegrity(options.integrity)
    this.#label = describeSource(this.#source)
    this.#progress = new ProgressMeter(options.onProgress)
    this.#cache = openPlanCache(options.cache === false ? undefined : globalThis.caches)
    this.#limits = checkLimits(options.limits)
    this.#place = runtimeFor(this.#options)
  }

  async run(): Promise<Loaded> {
    if (this.#place.note !== undefined) this.#warn(this.#place.note)
    this.#releaseRuntime = this.#lease(this.#place.engine)
    // The runtime arrives while the model does; its failure counts when it is needed.
    const started = this.#place.engine.start(this.#timeline)
    started.catch(() => {})
    const known = await this.#knownPlan()
    if (known !== undefined) return this.#finish(known, started)

    const { bytes, shared } = await this.#timeline.measure('download', () => this.#read())
    const kind = await modelKind(await headOf(bytes), this.#label)
    const sha256 = this.#expected !== undefined || kind === 'onnx' ? await this.#digest(bytes) : ''
    if (this.#expected !== undefined) checkIntegrity(this.#expected, sha256, this.#label)
    if (kind === 'plan') return this.#finish(await this.#bind(bytes, shared), started)

    const cached = this.#expected === undefined ? await this.#cachedPlan(sha256) : undefined
    if (cached !== undefined) return this.#finish(cached, started)
    return this.#compile(bytes, sha256, started)
  }

  undo(): void {
    for (const step of this.#undo.splice(0).reverse()) step()
  }

  /** With `integrity` the digest is known beforehand: a plan in the cache then spares the download. */
  async #knownPlan(): Promise<Resident | undefined> {
    return this.#expected !== undefined && isRemote(this.#source) ? this.#cachedPlan(this.#expected) : undefined
  }

  #read(): Promise<SourceBytes> {
    return readSource(this.#source, {
      request: this.#options.request,
      signal: this.#signal,
      timeout: this.#options.timeout,
      onBytes: (loaded, total) => this.#progress.bytes(loaded, total),
    })
  }

  #digest(bytes: FileBytes): Promise<string> {
    return abortable(
      sha256Hex(bytes, (file) => this.#place.engine.sha256(file, this.#signal)),
      this.#signal,
    )
  }

  async #cachedPlan(sha256: string): Promise<Resident | undefined> {
    const plan = await abortable(this.#cache.get(sha256), this.#signal)
    if (plan === undefined) return undefined
    try {
      const resident = await this.#bind(plan, false)
      this.#timeline.cached = true
      return resident
    } catch (error) {
      if (!(error instanceof PlanError)) throw error
      await this.#cache.drop(sha256)
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

  async #compile(onnx: FileBytes, sha256: string, started: Promise<string>): Promise<Loaded> {
    this.#progress.enter('compile')
    const compiler = compilerFor(this.#options)
    const releaseCompiler = this.#lease(compiler)
    const compilerStarted = compiler.start(this.#timeline)
    await abortable(Promise.all([started, compilerStarted]), this.#signal)
    const weights = externalWeights(this.#source, this.#options)
    const compiled = await this.#timeline.measure('compileModel', () =>
      compiler.compile(onnx, this.#limits, weights, this.#signal),
    )
    if (compiled.kind === 'fallback') {
      this.#undo.push(() => compiled.resident.drop())
      const { operators, resident } = compiled
      const why = operators.length > 0 ? `operators that the runtime lacks (${operators.join(', ')})` : resident.notes.join(' ')
      this.#warn(`${this.#label} needs ${why}: the whole model runs in the compiler, which is slower and a larger download.`)
      this.#releaseRuntime?.()
      return this.#finish(compiled.resident, compilerStarted, compiled.operators)
    }
    releaseCompiler()
    for (const note of compiled.notes) this.#warn(note)
    const resident = await this.#bind(compiled.plan, false)
    // Only now: a plan that did not load must not come back. The page need not wait for it. The digest tells nothing of other files.
    if (!compiled.external) void this.#cache.put(sha256, resident.file)
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
    if (this.#options.onWarning === undefined) console.warn(`nearside: ${message}`)
    else this.#options.onWarning(message)
  }
}
