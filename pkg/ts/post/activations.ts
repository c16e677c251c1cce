/** Scores to probabilities. */

import { Tensor } from '../index.js'
import { aroundAxis, numbersOf, type Values } from './values.js'

/**
 * `exp(x) / Σ exp(x)` along an axis, the last one by default; the largest is subtracted first, so nothing overflows. A row with NaN or +∞ becomes
 * NaN, and so does one of nothing but −∞; beside numbers −∞ is 0.
 *
 * @throws InputError for what are no numbers, and for an axis that is not there
 */
export function softmax(values: Values, axis = -1): Tensor<'float32'> {
  const { data, dims } = numbersOf(values, 'the scores')
  const [outer, size, inner] = aroundAxis(dims, axis, 'the scores')
  const out = new Float32Array(data.length)
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const start = o * size * inner + i
      const end = start + size * inner
      let [peak, sum] = [-Infinity, 0]
      for (let at = start; at < end; at += inner) peak = Math.max(peak, data[at] as number)
      for (let at = start; at < end; at += inner) sum += Math.exp((data[at] as number) - peak)
      for (let at = start; at < end; at += inner) out[at] = Math.exp((data[at] as number) - peak) / sum
    }
  }
  return new Tensor('float32', out, dims)
}

/** `1 / (1 + exp(−x))` of each number, exact to the last bits at both ends. NaN stays NaN. */
export function sigmoid(values: Values): Tensor<'float32'> {
  const { data, dims } = numbersOf(values, 'the scores')
  // For −∞ the exponential is ∞, and the result 0.
  return new Tensor(
    'float32',
    Float32Array.from(data, (x) => 1 / (1 + Math.exp(-x))),
    dims,
  )
}
