/** Latencies of one side: percentiles that are only given once there are enough samples, and bins on a logarithmic axis. */

/** The percentiles that are shown, and how many samples each needs before it says anything. */
export const PERCENTILES = [
  { name: 'p50', share: 0.5, needs: 5 },
  { name: 'p95', share: 0.95, needs: 20 },
  { name: 'p99', share: 0.99, needs: 100 },
] as const

export type PercentileName = (typeof PERCENTILES)[number]['name']
export type Percentiles = { readonly [K in PercentileName]: number | undefined }

/** The oldest samples make room for new ones beyond this. */
const CAPACITY = 5000

/** Measured calls, each with its total time and whatever else was noted of it. */
export class Series<T extends { readonly total: number }> {
  readonly #calls: T[] = []
  /** The same calls by total. */
  readonly #sorted: T[] = []
  #count = 0

  /** Calls that were ever added. */
  get count(): number {
    return this.#count
  }

  /** The newest call. */
  get latest(): T | undefined {
    return this.#calls.at(-1)
  }

  add(call: T): void {
    this.#count++
    this.#calls.push(call)
    this.#sorted.splice(this.#rank(call.total), 0, call)
    if (this.#calls.length <= CAPACITY) return
    const oldest = this.#calls.shift()
    if (oldest !== undefined) this.#sorted.splice(this.#sorted.indexOf(oldest), 1)
  }

  /** The call of which a share of all calls took no longer: the nearest rank, so that it is one that happened. */
  at(share: number): T | undefined {
    return nearestRank(this.#sorted, share)
  }

  percentiles(): Percentiles {
    const of = (at: 0 | 1 | 2): number | undefined => {
      const { share, needs } = PERCENTILES[at]
      return this.#count >= needs ? this.at(share)?.total : undefined
    }
    return { p50: of(0), p95: of(1), p99: of(2) }
  }

  /** How many calls fall in each bin of the axis; those beyond its ends count in the outermost bins. */
  histogram(axis: LogAxis): number[] {
    const bins = new Array<number>(axis.bins).fill(0)
    for (const { total } of this.#calls) {
      const bin = Math.min(axis.bins - 1, Math.max(0, Math.floor(axis.position(total) * axis.bins)))
      bins[bin] = (bins[bin] ?? 0) + 1
    }
    return bins
  }

  #rank(total: number): number {
    let [low, high] = [0, this.#sorted.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle]?.total ?? 0) <= total) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The entry of a sorted list of which a share of all are no larger. */
export function nearestRank<T>(sorted: readonly T[], share: number): T | undefined {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
}

/** A time axis with equal room for each power of ten. */
export class LogAxis {
  readonly #from: number
  readonly #to: number
  readonly bins: number

  /**
   * @param from first power of ten, in milliseconds: -1 for 0.1 ms
   * @param to last power of ten
   */
  constructor(from: number, to: number, binsPerDecade: number) {
    this.#from = from
    this.#to = to
    this.bins = (to - from) * binsPerDecade
  }

  /** Where a time lies, from 0 to 1. */
  position(ms: number): number {
    const at = (Math.log10(Math.max(ms, Number.MIN_VALUE)) - this.#from) / (this.#to - this.#from)
    return Math.min(1, Math.max(0, at))
  }

  /** The powers of ten on it, in milliseconds. */
  get ticks(): number[] {
    return Array.from({ length: this.#to - this.#from + 1 }, (_, i) => 10 ** (this.#from + i))
  }
}

/** Probabilities of logits. */
export function softmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits)
  const peak = Math.max(...values)
  const powers = values.map((v) => Math.exp(v - peak))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((p) => p / sum)
}

/** Index of the largest value. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? -Infinity) > (values[best] ?? -Infinity)) best = i
  return best
}

/** The largest difference between two answers, element by element. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - (b[i] ?? NaN))), 0)
}
