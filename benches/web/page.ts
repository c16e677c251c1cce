/** One measurement: a fresh page loads one model in one engine, runs it, and posts what it saw. */

import { peakWasmBytes } from './memory.js'

import type { Adapter, DataType, Elements, LoadedModel, Profile, Value } from './engine.js'

/** A tensor in a file of raw little-endian elements. */
interface Stored {
  name: string
  dtype: DataType
  dims: number[]
  url: string
  /** Only every n-th element is stored. */
  stride: number
}

export interface Job {
  engine: string
  threads: number
  model: string
  plan: string
  inputs: Stored[]
  expect: Stored[]
  /** How long to repeat, in milliseconds. */
  budget: number
  /** Whether to tell what each node takes as well. */
  profile: boolean
}

export interface Measurement {
  load_ms: number
  first_ms: number
  samples: number[]
  peak_wasm_bytes: number
  max_error: number | null
  profile?: Profile | undefined
}

const MIN_RUNS = 8
const MAX_RUNS = 500
/** The engines' code is compiled anew, better, after some calls: these runs are not counted. */
const WARM_UP_MS = 400
const WARM_UP_RUNS = 4

const adapters = import.meta.glob<Adapter>('./adapters/*.ts')

const ARRAYS: Record<DataType, (bytes: ArrayBuffer) => Elements> = {
  f32: (bytes) => new Float32Array(bytes),
  f16: (bytes) => new Uint16Array(bytes),
  i8: (bytes) => new Int8Array(bytes),
  u8: (bytes) => new Uint8Array(bytes),
  i32: (bytes) => new Int32Array(bytes),
  i64: (bytes) => new BigInt64Array(bytes),
  bool: (bytes) => new Uint8Array(bytes),
}

async function read({ dtype, dims, url }: Stored): Promise<Value> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${String(response.status)}`)
  return { dtype, dims, data: ARRAYS[dtype](await response.arrayBuffer()) }
}

async function repeat(model: LoadedModel, inputs: Record<string, Value>, budget: number): Promise<number[]> {
  const warm = performance.now() + WARM_UP_MS
  for (let i = 0; i < WARM_UP_RUNS || (performance.now() < warm && i < MAX_RUNS); i++) await model.run(inputs)
  const samples: number[] = []
  const end = performance.now() + budget
  while (samples.length < MIN_RUNS || (performance.now() < end && samples.length < MAX_RUNS)) {
    const start = performance.now()
    await model.run(inputs)
    samples.push(performance.now() - start)
  }
  return samples
}

/** The largest difference to the reference, over all outputs that have one. */
async function compare(outputs: Record<string, ArrayLike<number | bigint>>, expect: Stored[]): Promise<number | null> {
  let worst: number | null = null
  for (const stored of expect) {
    const reference = (await read(stored)).data
    const actual = outputs[stored.name]
    if (actual === undefined) throw new Error(`no output '${stored.name}', only ${Object.keys(outputs).join(', ')}`)
    if (Math.ceil(actual.length / stored.stride) !== reference.length) {
      throw new Error(`output '${stored.name}' has ${String(actual.length)} elements, the reference ${String(reference.length)}`)
    }
    worst ??= 0
    for (let i = 0; i < reference.length; i++) {
      const difference = Math.abs(Number(actual[i * stored.stride]) - Number(reference[i]))
      // A NaN is the worst error there is, and `Math.max` keeps it.
      worst = Math.max(worst, difference)
    }
  }
  return worst
}

async function measure(job: Job): Promise<Measurement> {
  const adapter = adapters[`./adapters/${job.engine}.ts`]
  if (adapter === undefined) throw new Error(`there is no adapters/${job.engine}.ts`)
  const inputs: Record<string, Value> = {}
  for (const stored of job.inputs) inputs[stored.name] = await read(stored)

  const start = performance.now()
  const { load } = await adapter()
  const model = await load(job.model, { plan: job.plan, threads: job.threads })
  const loaded = performance.now()
  const outputs = await model.run(inputs)
  const first = performance.now()

  const max_error = await compare(outputs, job.expect)
  const samples = await repeat(model, inputs, job.budget)
  const profile = job.profile ? await model.profile?.(inputs) : undefined
  return { load_ms: loaded - start, first_ms: first - loaded, samples, peak_wasm_bytes: peakWasmBytes(), max_error, profile }
}

const id = new URLSearchParams(location.search).get('job') ?? ''
let body: { measurement: Measurement } | { error: string }
try {
  const response = await fetch(`/jobs/${id}`)
  body = { measurement: await measure((await response.json()) as Job) }
} catch (error) {
  body = { error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) }
}
await fetch(`/jobs/${id}`, { method: 'POST', body: JSON.stringify(body) })
