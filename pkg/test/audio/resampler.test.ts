import { describe, expect, it } from 'vitest'
import { Resampler, toMono } from '../../ts/audio/index.js'
import { lengthAt, resample } from '../../ts/audio/resampler.js'
import { InputError } from '../../ts/index.js'
import { seeded } from '../random.js'

const random = seeded(11)

const sine = (rate: number, frequency: number, length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin((2 * Math.PI * frequency * i) / rate))

/** Everything but the ends, which feel the silence around. */
const middle = (samples: Float32Array): Float32Array => samples.subarray(200, samples.length - 200)

/** Mean power against that of a full sine, in dB. */
const level = (samples: Float32Array): number =>
  10 * Math.log10((2 * samples.reduce((sum, v) => sum + v * v, 0)) / samples.length)

const RATES: readonly (readonly [from: number, to: number])[] = [
  [48_000, 16_000],
  [44_100, 16_000],
  [16_000, 44_100],
  [8_000, 16_000],
  [22_050, 24_000],
]

describe.each(RATES)('from %i to %i samples a second', (from, to) => {
  const lower = Math.min(from, to)

  it('keeps what both rates can hold', () => {
    for (const part of [0.01, 0.1, 0.25, 0.4, 0.435]) {
      const frequency = part * lower
      const out = resample([sine(from, frequency, from)], from, to)
      expect(out.length).toBe(to)
      const want = sine(to, frequency, to)
      const error = middle(out.map((v, i) => v - (want[i] ?? NaN)))
      // As much as the window lets through in the stop band is missing or too much in the pass band.
      expect(level(error)).toBeLessThan(-95)
    }
  })

  it('weakens the rest by more than 95 dB', () => {
    const half = lower / 2
    const highest = from / 2
    const levels: number[] = []
    for (let i = 0; i < 24; i++) {
      const frequency = half + ((highest - half) * i) / 24
      if (to >= from) continue
      levels.push(level(middle(resample([sine(from, frequency + 1, from / 2)], from, to))))
    }
    if (to > from) {
      // Images: what stands above half of the lower rate, with the sine itself taken out.
      for (const part of [0.05, 0.2, 0.4]) {
        const out = resample([sine(from, part * from, from / 2)], from, to)
        const want = sine(to, part * from, out.length)
        levels.push(level(middle(out.map((v, i) => v - (want[i] ?? NaN)))))
      }
    }
    expect(Math.max(...levels)).toBeLessThan(to < from ? -96 : -95)
  })

  it('keeps a constant', () => {
    const out = middle(resample([new Float32Array(from).fill(0.5)], from, to))
    // Weights of float32 that add up to 1, at most 600 of them, summed in float64.
    for (const v of out) expect(Math.abs(v - 0.5)).toBeLessThan(600 * 2 ** -26)
  })

  it('gives the same numbers for every way to cut the stream', () => {
    const input = Float32Array.from({ length: 5000 }, () => random() - 0.5)
    const whole = resample([input], from, to)
    expect(whole.length).toBe(lengthAt(input.length, from, to))
    for (const most of [1, 7, 128, 1000, 5000]) {
      const resampler = new Resampler(from, to)
      const out: number[] = []
      for (let at = 0; at < input.length;) {
        const next = at + 1 + Math.floor(random() * most)
        out.push(...resampler.push(input.subarray(at, next)))
        at = next
      }
      out.push(...resampler.flush())
      expect(Float32Array.from(out)).toEqual(whole)
      // And anew.
      const again = [...resampler.push(input), ...resampler.flush()]
      expect(Float32Array.from(again)).toEqual(whole)
    }
  })
})

describe('a Resampler', () => {
  it('is late by half of its filter', () => {
    const resampler = new Resampler(48_000, 16_000)
    let given = 0
    for (let chunk = 0; chunk < 10; chunk++) given += resampler.push(new Float32Array(480)).length
    expect(given).toBe(1600 - 48)
    expect(resampler.flush().length).toBe(48)
  })

  it('of one rate changes nothing', () => {
    const resampler = new Resampler(16_000, 16_000)
    const chunk = Float32Array.of(1, 2, 3)
    expect(resampler.push(chunk)).toEqual(chunk)
    expect(resampler.push(chunk)).not.toBe(chunk)
    expect(resampler.flush()).toEqual(new Float32Array(0))
  })

  it.each([
    [0, 16_000, 'The rate of what is resampled is 0; give a whole number'],
    [44_100.5, 16_000, 'is 44100.5'],
    [16_000, NaN, 'The rate of the result is NaN'],
    [44_099, 16_000, 'A rate of 44099 cannot be made 16000: the ratio is 16000/44099; use rates with a common divisor.'],
  ])('refuses %f to %f', (from, to, text) => {
    expect(() => new Resampler(from, to)).toThrow(InputError)
    expect(() => new Resampler(from, to)).toThrow(text)
  })
})

describe('a stream', () => {
  it('refuses what are no samples, and goes on', () => {
    const resampler = new Resampler(16_000, 8000)
    for (const none of [undefined, null, 5, [1, 2], new Float64Array(2)])
      expect(() => resampler.push(none as unknown as Float32Array)).toThrow(
        new InputError('The samples are no Float32Array, or detached; give a copy.'),
      )
    const away = Float32Array.of(1, 2)
    structuredClone(away.buffer, { transfer: [away.buffer] })
    expect(() => resampler.push(away)).toThrow('or detached; give a copy.')
    resampler.push(new Float32Array(160))
    expect(resampler.flush()).not.toHaveLength(0)
  })
})

describe('toMono', () => {
  it('is the mean of the channels', () => {
    const channels = [Float32Array.of(1, 0, -1), Float32Array.of(0, 0.5, 1)]
    expect(toMono({ channels, sampleRate: 8000 }, 8000)).toEqual(Float32Array.of(0.5, 0.25, 0))
  })

  it('names channels that do not fit', () => {
    const given = (channels: Float32Array[]) => () => toMono({ channels, sampleRate: 8000 }, 8000)
    expect(given([])).toThrow('The channels of the sound have no samples; give at least one Float32Array with a sample')
    expect(given([new Float32Array(3), new Float32Array(2)])).toThrow('have 3, 2 samples')
    for (const none of [undefined, null, 5, {}])
      expect(() => toMono(none as { channels: []; sampleRate: 1 }, 8000)).toThrow(
        new InputError('The sound has no channels; give an AudioBuffer, or { channels, sampleRate }.'),
      )
  })
})
