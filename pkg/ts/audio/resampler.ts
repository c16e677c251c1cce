/**
 * Sound at another rate, by a windowed sinc in polyphase form: a sample is the sum of the inputs around it, each weighing
 * `2f · sinc(2f·d) · kaiser(d / reach)` at the distance `d` in input samples (J. O. Smith, Digital Audio Resampling; window and its length after
 * Kaiser, 1974). The cut-off `f` lies so that the stop band begins at half of the lower rate: nothing is mirrored down, nor an image let through.
 */

import { isDetached } from '../detached.js'
import { InputError } from '../errors.js'

/** Zero crossings of the sinc on each side. */
const CROSSINGS = 48
/** What the stop band is weakened by, in dB. */
const ATTENUATION = 96
/** Kaiser's shape for this attenuation. */
const SHAPE = 0.1102 * (ATTENUATION - 8.7)
/** Width of the band between pass and stop, as a part of the lower rate. */
const TRANSITION = (ATTENUATION - 7.95) / (2.285 * 2 * Math.PI * 2 * CROSSINGS)
/** The most phases of a filter; rates in use stay far below. */
const MAX_PHASES = 4096

/** A rate that can be used, or an error. */
export function checkRate(rate: unknown, what: string): number {
  if (typeof rate === 'number' && Number.isInteger(rate) && rate > 0) return rate
  throw new InputError(
    `The rate of ${what} is ${typeof rate === 'number' ? rate : `of type ${typeof rate}`}; give a whole number of samples a second.`,
  )
}

/** Samples at the rate `to` of so many at the rate `from`. */
export function lengthAt(length: number, from: number, to: number): number {
  const shared = gcd(from, to)
  return Math.ceil((length * (to / shared)) / (from / shared))
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** Weights for every position that a sample can have between two inputs. */
interface Filter {
  /** Positions. */
  readonly phases: number
  /** Positions from one sample to the next. */
  readonly advance: number
  /** Inputs on each side. */
  readonly half: number
  /** `2 · half` weights for each position. */
  readonly weights: Float32Array
}

const filters = new Map<string, Filter>()

function filterFor(from: number, to: number): Filter {
  const key = `${from}:${to}`
  const filter = filters.get(key) ?? makeFilter(from, to)
  filters.set(key, filter)
  return filter
}

function makeFilter(from: number, to: number): Filter {
  const shared = gcd(from, to)
  const [phases, advance] = [to / shared, from / shared]
  if (phases > MAX_PHASES)
    throw new InputError(
      `A rate of ${from} cannot be made ${to}: the ratio is ${phases}/${advance}; use rates with a common divisor.`,
    )
  const lower = Math.min(1, to / from)
  const cutoff = lower * (0.5 - TRANSITION / 2)
  const reach = CROSSINGS / lower
  const half = Math.ceil(reach)
  const weights = new Float32Array(phases * 2 * half)
  const row = new Float64Array(2 * half)
  for (let phase = 0; phase < phases; phase++) {
    let sum = 0
    for (let k = 0; k < 2 * half; k++) {
      const distance = k - half + 1 - phase / phases
      row[k] = sinc(2 * cutoff * distance) * kaiser(distance / reach)
      sum += row[k] as number
    }
    // A constant stays the same to the last bit that sums allow.
    weights.set(
      row.map((weight) => weight / sum),
      phase * 2 * half,
    )
  }
  return { phases, advance, half, weights }
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}

function kaiser(x: number): number {
  return Math.abs(x) >= 1 ? 0 : bessel(SHAPE * Math.sqrt(1 - x * x)) / bessel(SHAPE)
}

/** The modified Bessel function of the first kind and order 0, by its series. */
function bessel(x: number): number {
  let [sum, term] = [1, 1]
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2
    sum += term
  }
  return sum
}

/**
 * Converts a stream of samples to another rate, chunk by chunk: however it is cut, the results are the same numbers. They are late by about 48 samples
 * of the lower rate. Frequencies from half of the lower rate on are weakened by 96 dB, those up to 0.436 of it are kept to -95 dB.
 *
 * @example
 * const resampler = new Resampler(context.sampleRate, 16_000)
 * port.onmessage = ({ data }) => hear(resampler.push(data))
 */
export class Resampler {
  /** Samples a second of what is pushed. */
  readonly from: number
  /** Samples a second of what is given. */
  readonly to: number
  readonly #filter: Filter | undefined
  /** Inputs that are still needed, from the first one of the next result's sum on. */
  #kept: Float32Array
  /** Position of the next result between two inputs. */
  #phase = 0
  #pushed = 0
  #given = 0

  /** @throws InputError for rates that are no positive whole numbers, or whose ratio has more than 4096 in its numerator */
  constructor(from: number, to: number) {
    this.from = checkRate(from, 'what is resampled')
    this.to = checkRate(to, 'the result')
    this.#filter = from === to ? undefined : filterFor(from, to)
    this.#kept = this.#silence()
  }

  /** Takes samples; gives those that are settled by now. Throws InputError for what is no Float32Array. */
  push(chunk: Float32Array): Float32Array<ArrayBuffer> {
    if (!(chunk instanceof Float32Array) || isDetached(chunk))
      throw new InputError('The samples are no Float32Array, or detached; give a copy.')
    if (this.#filter === undefined) return chunk.slice()
    this.#pushed += chunk.length
    return this.#convert(this.#filter, chunk, Infinity)
  }

  /** Gives the rest, as if silence followed, and begins anew. All results together are as many as the time of what was pushed. */
  flush(): Float32Array<ArrayBuffer> {
    if (this.#filter === undefined) return new Float32Array(0)
    const rest = lengthAt(this.#pushed, this.from, this.to) - this.#given
    const out = this.#convert(this.#filter, new Float32Array(2 * this.#filter.half), rest)
    this.#kept = this.#silence()
    this.#phase = this.#pushed = this.#given = 0
    return out
  }

  /** What is before the first input. */
  #silence(): Float32Array {
    return new Float32Array((this.#filter?.half ?? 1) - 1)
  }

  #convert({ phases, advance, half, weights }: Filter, chunk: Float32Array, most: number): Float32Array<ArrayBuffer> {
    const input = new Float32Array(this.#kept.length + chunk.length)
    input.set(this.#kept)
    input.set(chunk, this.#kept.length)
    const taps = 2 * half
    // Results whose last input is there.
    const settled = Math.ceil(((input.length - taps + 1) * phases - this.#phase) / advance)
    const out = new Float32Array(Math.min(Math.max(settled, 0), most))
    let [start, phase] = [0, this.#phase]
    for (let i = 0; i < out.length; i++) {
      let sum = 0
      for (let k = 0, w = phase * taps; k < taps; k++, w++) sum += (input[start + k] as number) * (weights[w] as number)
      out[i] = sum
      phase += advance
      start += Math.floor(phase / phases)
      phase %= phases
    }
    this.#kept = input.slice(start)
    this.#phase = phase
    this.#given += out.length
    return out
  }
}

/** Channels of one length as one, their mean, at another rate. */
export function resample(channels: readonly Float32Array[], from: number, to: number): Float32Array<ArrayBuffer> {
  const resampler = new Resampler(from, to)
  const begin = resampler.push(mono(channels))
  const rest = resampler.flush()
  const out = new Float32Array(begin.length + rest.length)
  out.set(begin)
  out.set(rest, begin.length)
  return out
}

/** The mean of channels of one length. */
export function mono(channels: readonly Float32Array[]): Float32Array {
  const [first = new Float32Array(0)] = channels
  if (channels.length === 1) return first
  return first.map((_, i) => channels.reduce((sum, channel) => sum + (channel[i] as number), 0) / channels.length)
}
