/** Rounds in turns, and what their times say. */

import { nearestRank } from '../src/stats'
import type { Answer, Runner } from './engines'
import type { Values } from './inputs'

/** The times of one side. */
export interface Times {
  /** Milliseconds of one run each: the mean of `batch` runs in a row. */
  readonly samples: number[]
  /** Runs per sample: more than one where the browser's clock is too coarse for a single run. */
  batch: number
  /** Milliseconds of the first run, which also lays out memory. */
  readonly first: number
  /** Of the runs, the part that was computing; empty where the engine does not tell. */
  readonly compute: number[]
  /** The latest answer. */
  answer: Answer
}

export interface Race {
  readonly n: number
  readonly rounds: number
  /** The page's clock goes in such steps, in milliseconds. */
  readonly resolution: number
  readonly signal: AbortSignal
  /** Called after each round with the times so far. */
  readonly onRound: (round: number, times: readonly Times[]) => void
}

/** Engines compile their code anew, better, after some calls: these runs are not counted. */
const WARM_UP_MS = 300
const WARM_UP_RUNS = 3
/** A sample is at least so many steps of the clock, so that reading it is off by some percent at most. */
const STEPS_PER_SAMPLE = 20
const MOST_BATCHED = 200

/** The smallest step of `performance.now()`, as far as it shows in a moment. */
export function clockResolution(): number {
  let least = Infinity
  for (let i = 0; i < 20; i++) {
    const start = performance.now()
    let now = start
    while (now === start) now = performance.now()
    least = Math.min(least, now - start)
  }
  return least
}

/** Runs all sides in turns, in each round the other way round, so that a warm or busy device treats them alike. */
export async function race(sides: readonly Runner[], inputs: Values, options: Race): Promise<Times[]> {
  const { n, rounds, resolution, signal, onRound } = options
  const times: Times[] = []
  for (const side of sides) times.push(await warmUp(side, inputs, resolution, signal))
  for (let round = 0; round < rounds; round++) {
    const order = sides.map((_, i) => (round % 2 === 0 ? i : sides.length - 1 - i))
    for (const at of order) {
      const [side, own] = [sides[at], times[at]]
      if (side !== undefined && own !== undefined) await sample(side, own, inputs, n, signal)
    }
    onRound(round + 1, times)
  }
  return times
}

async function warmUp(side: Runner, inputs: Values, resolution: number, signal: AbortSignal): Promise<Times> {
  signal.throwIfAborted()
  const start = performance.now()
  let answer = await side.run(inputs)
  const first = performance.now() - start
  let runs = 0
  const begun = performance.now()
  while (runs < WARM_UP_RUNS || performance.now() - begun < WARM_UP_MS) {
    signal.throwIfAborted()
    answer = await side.run(inputs)
    runs += 1
  }
  const typical = (performance.now() - begun) / runs
  const batch = Math.min(MOST_BATCHED, Math.max(1, Math.ceil((STEPS_PER_SAMPLE * resolution) / typical)))
  return { samples: [], batch, first, compute: [], answer }
}

async function sample(side: Runner, times: Times, inputs: Values, n: number, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < n; i++) {
    signal.throwIfAborted()
    let compute = 0
    const start = performance.now()
    for (let k = 0; k < times.batch; k++) {
      times.answer = await side.run(inputs)
      compute += times.answer.compute ?? NaN
    }
    times.samples.push((performance.now() - start) / times.batch)
    if (!Number.isNaN(compute)) times.compute.push(compute / times.batch)
  }
}

/** The value of which a share of all is no larger: the nearest rank, so that it is one that happened. */
export function quantile(values: readonly number[], share: number): number {
  return (
    nearestRank(
      [...values].sort((a, b) => a - b),
      share,
    ) ?? NaN
  )
}

/** How two answers compare, output by output. */
export interface Difference {
  readonly output: string
  /** The largest difference of two elements; NaN if shapes differ. */
  readonly largest: number
  /** The largest element, to which it is to be seen. */
  readonly scale: number
  /** For float32: the most numbers of that type by which two elements are apart, NaN if shapes differ; `undefined` for other types. */
  readonly steps: number | undefined
  readonly identical: boolean
}

export function compare(a: Values, b: Values): Difference[] {
  return Object.entries(a).flatMap(([output, { data }]) => {
    const other = b[output]?.data
    if (other === undefined) return []
    const floats = data instanceof Float32Array && other instanceof Float32Array
    if (other.length !== data.length)
      return [{ output, largest: NaN, scale: NaN, steps: floats ? NaN : undefined, identical: false }]
    const steps = floats ? mostSteps(data, other) : undefined
    let [largest, scale] = [0, 0]
    for (let i = 0; i < data.length; i++) {
      const [x, y] = [Number(data[i]), Number(other[i])]
      scale = Math.max(scale, Math.abs(x))
      // NaN beside NaN is the same; beside a number it is the worst there is.
      if (!Object.is(x, y) && x !== y) largest = Math.max(largest, Number.isNaN(x - y) ? Infinity : Math.abs(x - y))
    }
    return [{ output, largest, scale, steps, identical: largest === 0 }]
  })
}

/** The largest distance of two elements in units of the last place: how many float32 one has to go from one to the other. */
function mostSteps(a: Float32Array<ArrayBuffer>, b: Float32Array<ArrayBuffer>): number {
  const bits = (floats: Float32Array<ArrayBuffer>): Int32Array => new Int32Array(floats.slice().buffer)
  // Bits of positive floats are in order; those of negative ones are, too, the other way round.
  const place = (bits: number): number => (bits >= 0 ? bits : -(bits & 0x7fffffff))
  const [left, right] = [bits(a), bits(b)]
  let most = 0
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) && Number.isNaN(b[i])) continue
    if (Number.isNaN(a[i]) || Number.isNaN(b[i])) return Infinity
    most = Math.max(most, Math.abs(place(left[i] ?? 0) - place(right[i] ?? 0)))
  }
  return most
}

/** The largest entries of the first output with at least two numbers: a classifier's classes. */
export function topEntries(outputs: Values, k = 5): { index: number; value: number }[] {
  const scores = Object.values(outputs).find(({ data }) => data.length > 1 && data.length <= 100_000)
  const data: Iterable<number | bigint> = scores?.data ?? []
  return Array.from(data, (value, index) => ({ index, value: Number(value) }))
    .sort((a, b) => b.value - a.value)
    .slice(0, k)
}
