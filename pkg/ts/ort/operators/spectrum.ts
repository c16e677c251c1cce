/** ONNX DFT and STFT of real signals, the half of the spectrum that is not its own mirror image. */

import { InputError } from '../../index.js'
import { axisOf, count, floats, integer, type Value } from './value.js'

/** DFT along an axis; the last axis, of size 1, becomes real and imaginary part. */
export function rfft(x: Value, axis: Value): Value {
  if (x.dims.at(-1) !== 1 || x.dims.length < 2)
    throw new InputError(`DFT: a real signal ends in an axis of size 1; [${x.dims.join(', ')}] does not.`)
  const along = axisOf(integer(axis, 'DFT: axis'), x.dims.length, 'DFT')
  if (along === x.dims.length - 1) throw new InputError('DFT: the last axis holds the parts of a number; choose another.')
  const n = x.dims[along] ?? 0
  const half = n === 0 ? 0 : Math.floor(n / 2) + 1
  const outer = count(x.dims.slice(0, along))
  const inner = count(x.dims.slice(along + 1))
  const input = floats(x)
  const out = new Float32Array(outer * half * inner * 2)
  const signal = new Float64Array(n)
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      for (let t = 0; t < n; t++) signal[t] = input[(o * n + t) * inner + i] ?? 0
      const { re, im } = transform(signal)
      for (let f = 0; f < half; f++) {
        const to = ((o * half + f) * inner + i) * 2
        out[to] = re[f] ?? 0
        out[to + 1] = im[f] ?? 0
      }
    }
  }
  const dims = x.dims.map((dim, i) => (i === along ? half : i === x.dims.length - 1 ? 2 : dim))
  return { data: out, dims }
}

/** DFTs of windows of a signal (batch, length, 1), `step` apart. */
export function stft(signal: Value, step: Value, window: Value, length: Value): Value {
  const [batch = 0, samples = 0, parts = 0] = signal.dims
  const size = integer(length, 'STFT: frame_length')
  const hop = integer(step, 'STFT: frame_step')
  if (signal.dims.length !== 3 || parts !== 1 || size < 1 || hop < 1 || window.data.length !== size || samples < size) {
    throw new InputError(
      `STFT: a signal [${signal.dims.join(', ')}], a window of ${window.data.length}, frames of ${size} and steps of ${hop} do not fit together.`,
    )
  }
  const frames = Math.floor((samples - size) / hop) + 1
  const half = Math.floor(size / 2) + 1
  const [input, shape] = [floats(signal), floats(window)]
  const out = new Float32Array(batch * frames * half * 2)
  const frame = new Float64Array(size)
  for (let row = 0; row < batch * frames; row++) {
    const from = Math.floor(row / frames) * samples + (row % frames) * hop
    for (let t = 0; t < size; t++) frame[t] = (input[from + t] ?? 0) * (shape[t] ?? 0)
    const { re, im } = transform(frame)
    for (let f = 0; f < half; f++) {
      out[(row * half + f) * 2] = re[f] ?? 0
      out[(row * half + f) * 2 + 1] = im[f] ?? 0
    }
  }
  return { data: out, dims: [batch, frames, half, 2] }
}

interface Spectrum {
  readonly re: Float64Array
  readonly im: Float64Array
}

/** The whole spectrum: halves while the length is even (Cooley and Tukey), term by term once it is odd. */
function transform(signal: Float64Array): Spectrum {
  const n = signal.length
  const re = new Float64Array(n)
  const im = new Float64Array(n)
  if (n === 1) return { re: signal.slice(), im }
  if (n % 2 === 1) {
    for (let f = 0; f < n; f++) {
      for (let t = 0; t < n; t++) {
        const angle = (-2 * Math.PI * ((f * t) % n)) / n
        re[f] = (re[f] ?? 0) + (signal[t] ?? 0) * Math.cos(angle)
        im[f] = (im[f] ?? 0) + (signal[t] ?? 0) * Math.sin(angle)
      }
    }
    return { re, im }
  }
  const half = n / 2
  const even = transform(Float64Array.from({ length: half }, (_, i) => signal[2 * i] ?? 0))
  const odd = transform(Float64Array.from({ length: half }, (_, i) => signal[2 * i + 1] ?? 0))
  for (let f = 0; f < half; f++) {
    const angle = (-2 * Math.PI * f) / n
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
    const [a, b, c, d] = [even.re[f] ?? 0, even.im[f] ?? 0, odd.re[f] ?? 0, odd.im[f] ?? 0]
    const [real, imaginary] = [c * cos - d * sin, c * sin + d * cos]
    re[f] = a + real
    im[f] = b + imaginary
    re[f + half] = a - real
    im[f + half] = b - imaginary
  }
  return { re, im }
}
