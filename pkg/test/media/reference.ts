/**
 * Pictures to tensors by the documented formula, number for number: weights in float64, rounded; sums of float32, first of lines and then of pixels, from
 * first to last; each product and sum rounded.
 */

import type { Placed, Size } from '../../ts/fit.js'

const { fround } = Math

/** What the formula needs. */
export interface Recipe extends Placed {
  readonly seen: Size
  readonly background: readonly number[]
  readonly channels: 'RGB' | 'BGR' | 'GRAY'
  readonly layout: 'NCHW' | 'NHWC'
  readonly scale: readonly number[]
  readonly offset: readonly number[]
}

/** Weights of the input positions that an output position is a mean of. */
function taps(start: number, length: number, available: number, count: number, i: number): [at: number, weight: number][] {
  const step = length / count
  const reach = Math.max(step, 1)
  const center = start + (i + 0.5) * step
  const near = Array.from({ length: available }, (_, j): [number, number] => [
    j,
    Math.max(1 - Math.abs((j + 0.5 - center) / reach), 0),
  ])
  const some = near.filter(([, weight]) => weight > 0)
  const sum = some.reduce((total, [, weight]) => total + weight, 0)
  return some.map(([at, weight]) => [at, fround(weight / sum)])
}

/** The numbers, as floats, of RGBA bytes. */
export function reference(pixels: ArrayLike<number>, { width, height }: Size, recipe: Recipe): Float32Array {
  const { window, frame, seen, background, channels, layout, scale, offset } = recipe
  const flat = Array.from({ length: width * height * 4 }, (_, i) => {
    const [value, alpha, behind] = [pixels[i] ?? 0, pixels[i - (i % 4) + 3] ?? 0, background[i % 4] ?? 0]
    return i % 4 === 3 ? 255 : Math.floor((value * alpha + behind * (255 - alpha) + 127) / 255)
  })
  const count = channels === 'GRAY' ? 1 : 3
  const out = new Float32Array(count * seen.width * seen.height)
  for (let y = 0; y < seen.height; y++) {
    const rows = taps(window.top, window.height, height, frame.height, y - frame.top)
    const line = Array.from({ length: width * 4 }, (_, i) =>
      rows.reduce((sum, [row, weight]) => fround(sum + fround(weight * (flat[row * width * 4 + i] ?? 0))), 0),
    )
    for (let x = 0; x < seen.width; x++) {
      const inside = x >= frame.left && x < frame.left + frame.width && y >= frame.top && y < frame.top + frame.height
      const columns = inside ? taps(window.left, window.width, width, frame.width, x - frame.left) : []
      const [r = 0, g = 0, b = 0] = [0, 1, 2].map((c) =>
        inside
          ? columns.reduce((sum, [at, weight]) => fround(sum + fround(weight * (line[at * 4 + c] ?? 0))), 0)
          : (background[c] ?? 0),
      )
      const gray = fround(fround(fround(r * fround(0.299)) + fround(g * fround(0.587))) + fround(b * fround(0.114)))
      const values = channels === 'GRAY' ? [gray] : channels === 'BGR' ? [b, g, r] : [r, g, b]
      values.forEach((value, c) => {
        const at = layout === 'NHWC' ? (y * seen.width + x) * count + c : (c * seen.height + y) * seen.width + x
        out[at] = fround(fround(value * fround(scale[c] ?? 1)) + fround(offset[c] ?? 0))
      })
    }
  }
  return out
}

/** As integers: rounded half to even, kept within the type. */
export function integers(values: Float32Array, least: number, most: number): number[] {
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v))
  return Array.from(values, (v) => Math.min(Math.max(even(v), least), most))
}
