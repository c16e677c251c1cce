/** Numbers for people. */

import type { AnyTensor } from '../../tensor.js'

/** `Conv×52 Add×10` */
export function histogram(operators: { readonly [name: string]: number }): string {
  return Object.entries(operators)
    .map(([name, count]) => `${name}×${count}`)
    .join(' ')
}

/** The number whose half-precision bits these are. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** Elements as numbers or strings that print as what they are. */
export function elements(tensor: AnyTensor, limit: number): (number | bigint | string)[] {
  const first = Array.from(tensor.data.slice(0, limit) as ArrayLike<number | bigint | string>)
  return tensor.type === 'float16' ? first.map((bits) => fromHalf(Number(bits))) : first
}

/** The least and the greatest element; nothing for strings and for a tensor without elements. */
export function range(tensor: AnyTensor): { readonly min: number | bigint; readonly max: number | bigint } | undefined {
  if (tensor.type === 'string' || tensor.size === 0) return undefined
  let min: number | bigint | undefined
  let max: number | bigint | undefined
  for (const raw of tensor.data) {
    const value = tensor.type === 'float16' ? fromHalf(Number(raw)) : raw
    // NaN is neither less nor greater than anything.
    if (min === undefined || value < min) min = value
    if (max === undefined || value > max) max = value
  }
  return min === undefined || max === undefined ? undefined : { min, max }
}

/** A float32 with the digits that it has, any other number as it is. */
export function digits(value: number | bigint | string, type: string): string {
  if (typeof value !== 'number' || !type.startsWith('float')) return String(value)
  if (type === 'float64') return String(value)
  return String(Number(value.toPrecision(type === 'float16' ? 4 : 8)))
}
