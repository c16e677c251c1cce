/** ONNX Resize to given sizes: half-pixel centres, edges repeated, ties of `nearest` towards the smaller index, cubic with -0.75. */

import { InputError } from '../../index.js'
import { count, floats, integers, type Value } from './value.js'

export type ResizeMode = 'nearest' | 'linear' | 'cubic'

/** For each output position, the input positions and their weights, `taps` of each. */
interface Taps {
  readonly taps: number
  readonly indices: Int32Array
  readonly weights: Float32Array
}

/** Scales each axis on its own, which gives the same as all at once. */
export function resize(x: Value, sizes: Value, mode: ResizeMode): Value {
  const wanted = integers(sizes)
  if (wanted.length !== x.dims.length || wanted.some((size) => size < 0) || (count(wanted) > 0 && count(x.dims) === 0))
    throw new InputError(`Resize: [${x.dims.join(', ')}] cannot become [${wanted.join(', ')}].`)
  let value = x
  wanted.forEach((size, axis) => {
    if (size !== value.dims[axis]) value = resizeAxis(value, axis, size, mode)
  })
  return value === x ? { data: floats(x).slice(), dims: x.dims } : value
}

function resizeAxis({ data, dims }: Value, axis: number, size: number, mode: ResizeMode): Value {
  const from = dims[axis] ?? 1
  const outer = count(dims.slice(0, axis))
  const inner = count(dims.slice(axis + 1))
  const { taps, indices, weights } = tapsOf(from, size, mode)
  const input = data as Float32Array
  const out = new Float32Array(outer * size * inner)
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < size; i++) {
      const to = (o * size + i) * inner
      for (let t = i * taps; t < (i + 1) * taps; t++) {
        const weight = weights[t] ?? 0
        const at = (o * from + (indices[t] ?? 0)) * inner
        for (let k = 0; k < inner; k++) out[to + k] = (out[to + k] ?? 0) + weight * (input[at + k] ?? 0)
      }
    }
  }
  return { data: out, dims: dims.map((dim, i) => (i === axis ? size : dim)) }
}

function tapsOf(from: number, size: number, mode: ResizeMode): Taps {
  const taps = { nearest: 1, linear: 2, cubic: 4 }[mode]
  const indices = new Int32Array(size * taps)
  const weights = new Float32Array(size * taps)
  const scale = Math.fround(size / from)
  for (let i = 0; i < size; i++) {
    // In float32, as ONNX's runtimes compute it: it decides on ties.
    const at = Math.fround(Math.fround((i + 0.5) / scale) - 0.5)
    const set = (tap: number, index: number, weight: number): void => {
      indices[i * taps + tap] = Math.min(Math.max(index, 0), from - 1)
      weights[i * taps + tap] = weight
    }
    const floor = Math.floor(at)
    const part = at - floor
    if (mode === 'nearest') set(0, Math.ceil(at - 0.5), 1)
    else if (mode === 'linear') [1 - part, part].forEach((weight, tap) => set(tap, floor + tap, weight))
    else [1 + part, part, 1 - part, 2 - part].forEach((distance, tap) => set(tap, floor - 1 + tap, cubic(distance)))
  }
  return { taps, indices, weights }
}

const A = -0.75

/** Keys' kernel at a distance between 0 and 2. */
function cubic(d: number): number {
  return d <= 1 ? ((A + 2) * d - (A + 3)) * d * d + 1 : ((A * d - 5 * A) * d + 8 * A) * d - 4 * A
}
