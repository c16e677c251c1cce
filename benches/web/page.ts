/** One measurement: a fresh page loads one model in one engine, runs it, and posts what it saw. */

import { peakWasmBytes } from './memory.js'

import { compare, type Difference, toNhwc } from './compare.js'
import type { Adapter, DataType, Elements, LoadedModel, Options, Profile, Value } from './engine.js'

/** A tensor in a file of raw little-endian elements. */
interface Stored {
  name: string
  dtype: DataType
  dims: number[]
  url: string
  /** Only every n-th element is stored. */
  stride: number
  /** The engine has this image with its channels last. */
  nhwc?: boolean
}

export interface Job extends Options {
  engine: string
  model: string
  inputs: Stored[]
  /** What this very model gives. */
  expect: Stored[]
  /** What the float32 model gives. */
  float: Stored[]
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
  /** How far the outputs are from those of the float32 model. */
  from_float: Difference | null
  profile?: Profile | undefined
  /** The same at the next visit, by when the browser has kept files and compiled code, and the engine the model. */
  again?: { load_ms: number; first_ms: number }
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

async function read({ dtype, url }: Stored): Promise<Elements> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${String(response.status)}`)
  return ARRAYS[dtype](await response.arrayBuffer())
}

async function input(stored: Stored): Promise<Value> {
  const [{ dtype, dims }, data] = [stored, await read(stored)]
  return stored.nhwc === true ? { dtype, ...toNhwc(data, dims) } : { dtype, dims, data }
}

const references = (all: Stored[]) => Promise.all(all.map(async (stored) => ({ ...stored, data: await read(stored) })))

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

async function measure(job: Job): Promise<Measurement> {
  const adapter = adapters[`./adapters/${job.engine}.ts`]
  if (adapter === undefined) throw new Error(`there is no adapters/${job.engine}.ts`)
  const inputs: Record<string, Value> = {}
  for (const stored of job.inputs) inputs[stored.name] = await input(stored)

  const start = performance.now()
  const { load } = await adapter()
  const model = await load(job.model, job)
  const loaded = performance.now()
  const outputs = await model.run(inputs)
  const first = performance.now()

  const max_error = compare(outputs, await references(job.expect))?.max ?? null
  const from_float = compare(outputs, await references(job.float))
  const samples = await repeat(model, inputs, job.budget)
  const profile = job.profile ? await model.profile?.(inputs) : undefined
  const [load_ms, first_ms, peak_wasm_bytes] = [loaded - start, first - loaded, peakWasmBytes()]
  return { load_ms, first_ms, samples, peak_wasm_bytes, max_error, from_float, profile }
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
