/** The engines that are measured, behind one interface. */

import { type EngineInfo, type Explanation, Model, type NodeProfile, type Port, Tensor } from 'nearside'

import type { Value, Values } from './inputs'
import type { OrtCall, OrtAnswer } from './ort-worker'

/** One way of loading. */
export interface LoadJob {
  readonly engine: 'nearside' | 'onnxruntime-web'
  readonly model: string | Blob
  readonly variant: 'auto' | 'simd' | 'relaxed'
  /** 0 lets the engine choose. */
  readonly threads: number
  readonly worker: boolean
}

/** A loaded model. */
export interface Runner {
  /** What runs it: binary, threads, place. */
  readonly description: string
  readonly loadMs: number
  /** In the model's order; an engine that does not tell has none. */
  readonly ports: readonly Port[]
  /** Warnings of the load, as sentences. */
  readonly notes: readonly string[]
  run(inputs: Values): Promise<Answer>
  /** What each node takes, where the engine tells. */
  profile(inputs: Values, runs: number, signal: AbortSignal): Promise<readonly NodeProfile[] | undefined>
  /** What runs where, where the engine tells. */
  explain(): Promise<{ readonly engine: EngineInfo; readonly explanation: Explanation } | undefined>
  /** Runs unless a later call comes first; where the engine has no such thing, always. */
  latest(inputs: Values): Promise<Answer | undefined>
  /** Bytes of WebAssembly memory, which never shrinks: its peak. */
  memory(): Promise<number>
  dispose(): void
}

export interface Answer {
  readonly outputs: Values
  /** From the call to its result, in milliseconds. */
  readonly total: number
  /** The part that was computing, where the engine tells. */
  readonly compute: number | undefined
}

export function load(job: LoadJob, signal: AbortSignal, onFraction: (fraction: number) => void): Promise<Runner> {
  return job.engine === 'nearside' ? loadNearside(job, signal, onFraction) : loadOrt(job, signal)
}

async function loadNearside(job: LoadJob, signal: AbortSignal, onFraction: (fraction: number) => void): Promise<Runner> {
  const notes: string[] = []
  const start = performance.now()
  const model = await Model.load(job.model, {
    variant: job.variant,
    threads: job.threads === 0 ? 'auto' : job.threads,
    worker: job.worker,
    signal,
    // The page measures what compiling takes, each time.
    cache: false,
    onProgress: ({ fraction }) => {
      onFraction(fraction)
    },
    onWarning: (sentence) => notes.push(sentence),
  })
  const loadMs = performance.now() - start
  const { variant, threads, worker, integerPath, fallbackOperators } = model.engine
  const answer = (outputs: unknown): Answer => {
    const { total = 0, compute } = model.lastTiming ?? {}
    return { outputs: outputs as Values, total, compute }
  }
  const fallback = fallbackOperators.length === 0 ? '' : `, fallback for ${fallbackOperators.join(', ')}`
  return {
    description: `${variant} binary, integers by ${integerPath}, ${count(threads)}, ${worker ? 'in a Worker' : 'in the page'}${fallback}`,
    loadMs,
    ports: model.inputs,
    notes,
    run: async (inputs) => answer(await model.run(feedsOf(inputs))),
    async latest(inputs) {
      const outputs = await model.run(feedsOf(inputs), { latest: true })
      return outputs && answer(outputs)
    },
    explain: async () => ({ engine: model.engine, explanation: await model.explain() }),
    async profile(inputs, runs, aborted) {
      if (fallbackOperators.length > 0) return undefined
      return model.profile(inputs, { runs, signal: aborted })
    },
    memory: async () => (await model.memory()).wasm,
    dispose: () => {
      model.dispose()
    },
  }
}

/** Values as the package's tensors. */
export function feedsOf(inputs: Values): Record<string, Tensor<'float32'>> {
  const tensor = ({ type, data, dims }: Value): Tensor<'float32'> =>
    new Tensor(type as 'float32', data as Float32Array<ArrayBuffer>, dims)
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, tensor(value)]))
}

async function loadOrt(job: LoadJob, signal: AbortSignal): Promise<Runner> {
  const threads = job.threads === 0 ? defaultThreads() : crossOriginIsolated ? job.threads : 1
  const start = performance.now()
  const call = job.worker ? ortInWorker(signal) : await ortInPage()
  await call.ask({ kind: 'load', model: job.model, threads })
  const run = async (inputs: Values): Promise<Answer> => {
    const called = performance.now()
    const { outputs = {} } = await call.ask({ kind: 'run', inputs })
    return { outputs, total: performance.now() - called, compute: undefined }
  }
  return {
    description: `SIMD binary, ${count(threads)}, ${job.worker ? 'in a Worker' : 'in the page'}`,
    loadMs: performance.now() - start,
    ports: [],
    notes: [],
    run,
    latest: run,
    explain: () => Promise.resolve(undefined),
    profile: () => Promise.resolve(undefined),
    memory: async () => (await call.ask({ kind: 'memory' })).bytes ?? 0,
    dispose: () => {
      call.end()
    },
  }
}

/** What onnxruntime-web chooses by itself. */
function defaultThreads(): number {
  return crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1
}

interface Ort {
  ask(call: OrtCall): Promise<OrtAnswer>
  end(): void
}

async function ortInPage(): Promise<Ort> {
  const { OrtSession } = await import('./ort-session')
  const session = new OrtSession()
  return {
    ask: (call) => session.answer(call),
    end: () => {
      session.release()
    },
  }
}

function ortInWorker(signal: AbortSignal): Ort {
  const worker = new Worker(new URL('./ort-worker.ts', import.meta.url), { type: 'module', name: 'onnxruntime-web' })
  const waiting: { resolve: (answer: OrtAnswer) => void; reject: (reason: Error) => void }[] = []
  worker.onmessage = ({ data }: MessageEvent<OrtAnswer>) => {
    const next = waiting.shift()
    if (data.error === undefined) next?.resolve(data)
    else next?.reject(new Error(data.error))
  }
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`onnxruntime-web's Worker failed: ${message}`))
  }
  const end = (): void => {
    worker.terminate()
    for (const { reject } of waiting.splice(0)) reject(signal.reason as Error)
  }
  signal.addEventListener('abort', end, { once: true })
  return {
    ask: (call) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        worker.postMessage(call)
      }),
    end: () => {
      signal.removeEventListener('abort', end)
      worker.terminate()
    },
  }
}

function count(threads: number): string {
  return threads === 1 ? 'one thread' : `${threads} threads`
}
