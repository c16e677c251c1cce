/** ONNX TopK along the last axis: the largest first, the smaller index first among equals. */

import { InputError } from '../../index.js'
import { count, floats, integer, type Value } from './value.js'

export function topK(x: Value, howMany: Value): readonly [Value, Value] {
  const k = integer(howMany, 'TopK: k')
  const size = x.dims.at(-1) ?? 0
  if (x.dims.length === 0 || k < 0 || k > size)
    throw new InputError(`TopK: k is ${k}, the last axis of [${x.dims.join(', ')}] has ${size} elements.`)
  const rows = count(x.dims.slice(0, -1))
  const values = new Float32Array(rows * k)
  const indices = new BigInt64Array(rows * k)
  const input = floats(x)
  for (let row = 0; row < rows; row++) {
    const of = input.subarray(row * size, (row + 1) * size)
    const order = Uint32Array.from(of, (_, i) => i).sort((a, b) => (of[b] ?? 0) - (of[a] ?? 0) || a - b)
    for (let i = 0; i < k; i++) {
      const index = order[i] ?? 0
      values[row * k + i] = of[index] ?? 0
      indices[row * k + i] = BigInt(index)
    }
  }
  const dims = [...x.dims.slice(0, -1), k]
  return [
    { data: values, dims },
    { data: indices, dims },
  ]
}
