/** ONNX Slice: starts and ends beyond the edges are clamped, negative ones count from the end, steps may be negative. */

import { InputError } from '../../index.js'
import { axisOf, count, floats, integers, type Value } from './value.js'

export function slice(x: Value, starts: Value, ends: Value, axes: Value, steps: Value): Value {
  const rank = x.dims.length
  const [from, to, along, by] = [starts, ends, axes, steps].map(integers) as [number[], number[], number[], number[]]
  if (to.length !== from.length || along.length !== from.length || by.length !== from.length)
    throw new InputError('Slice: starts, ends, axes and steps must have the same length.')
  const first = new Array<number>(rank).fill(0)
  const step = new Array<number>(rank).fill(1)
  const dims = [...x.dims]
  along.forEach((given, i) => {
    const axis = axisOf(given, rank, 'Slice')
    const size = x.dims[axis] ?? 0
    const stride = by[i] ?? 1
    if (stride === 0) throw new InputError('Slice: a step is 0.')
    const [low, high] = stride > 0 ? [0, size] : [-1, size - 1]
    const clamp = (at = 0, least: number): number => Math.min(Math.max(at < 0 ? at + size : at, least), high)
    const begin = clamp(from[i], stride > 0 ? low : 0)
    const end = clamp(to[i], low)
    first[axis] = begin
    step[axis] = stride
    dims[axis] = Math.max(0, Math.ceil((end - begin) / stride))
  })
  const out = new Float32Array(count(dims))
  copy(floats(x), x.dims, first, step, dims, out)
  return { data: out, dims }
}

function copy(
  input: Float32Array,
  size: readonly number[],
  first: readonly number[],
  step: readonly number[],
  dims: readonly number[],
  out: Float32Array,
): void {
  let to = 0
  const walk = (axis: number, base: number): void => {
    if (axis === dims.length) {
      out[to++] = input[base] ?? 0
      return
    }
    for (let i = 0; i < (dims[axis] ?? 0); i++)
      walk(axis + 1, base * (size[axis] ?? 1) + (first[axis] ?? 0) + i * (step[axis] ?? 1))
  }
  if (out.length > 0) walk(0, 0)
}
