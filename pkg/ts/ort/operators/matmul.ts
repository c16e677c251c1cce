/** ONNX MatMul, which is NumPy's: matrices in the last two axes, all others broadcast. */

import { InputError } from '../../index.js'
import { count, floats, type Value } from './value.js'

export function matmul(a: Value, b: Value): Value {
  const left = a.dims.length === 1 ? [1, ...a.dims] : a.dims
  const right = b.dims.length === 1 ? [...b.dims, 1] : b.dims
  const [m = 0, k = 0] = left.slice(-2)
  const [depth = 0, n = 0] = right.slice(-2)
  const fail = (): InputError => new InputError(`MatMul: [${a.dims.join(', ')}] and [${b.dims.join(', ')}] do not fit together.`)
  if (left.length < 2 || right.length < 2 || k !== depth) throw fail()
  const rank = Math.max(left.length, right.length) - 2
  const pad = (dims: readonly number[]): number[] => [...new Array<number>(rank + 2 - dims.length).fill(1), ...dims.slice(0, -2)]
  const [outerA, outerB] = [pad(left), pad(right)]
  const outer = outerA.map((size, i) => {
    const other = outerB[i] ?? 1
    if (size !== other && size !== 1 && other !== 1) throw fail()
    return size === 1 ? other : size
  })
  const batches = count(outer)
  const out = new Float32Array(batches * m * n)
  const sum = new Float64Array(n)
  const [x, y] = [floats(a), floats(b)]
  for (let batch = 0; batch < batches; batch++) {
    const fromA = batchAt(batch, outer, outerA) * m * k
    const fromB = batchAt(batch, outer, outerB) * k * n
    for (let row = 0; row < m; row++) {
      sum.fill(0)
      for (let i = 0; i < k; i++) {
        const factor = x[fromA + row * k + i] ?? 0
        const at = fromB + i * n
        for (let column = 0; column < n; column++) sum[column] = (sum[column] ?? 0) + factor * (y[at + column] ?? 0)
      }
      out.set(sum, (batch * m + row) * n)
    }
  }
  const dims = [...outer, ...(a.dims.length === 1 ? [] : [m]), ...(b.dims.length === 1 ? [] : [n])]
  return { data: out, dims }
}

/** Which matrix of a broadcast operand belongs to a matrix of the result. */
function batchAt(batch: number, outer: readonly number[], operand: readonly number[]): number {
  let [rest, at, step] = [batch, 0, 1]
  for (let axis = outer.length - 1; axis >= 0; axis--) {
    const [size = 1, own = 1] = [outer[axis], operand[axis]]
    if (own !== 1) at += (rest % size) * step
    rest = Math.floor(rest / size)
    step *= own
  }
  return at
}
