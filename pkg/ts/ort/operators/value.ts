/** What the small operators work on. */

import { InputError } from '../../index.js'

/** Elements and their shape. */
export interface Value {
  readonly data: Float32Array | BigInt64Array
  readonly dims: readonly number[]
}

/** The elements of a float32 value. */
export function floats(value: Value): Float32Array {
  return value.data as Float32Array
}

/** The elements of an int64 value, as numbers. */
export function integers(value: Value): number[] {
  return Array.from(value.data, Number)
}

/** The only element of an int64 value. */
export function integer(value: Value, what: string): number {
  const [first, ...more] = integers(value)
  if (first === undefined || more.length > 0) throw new InputError(`${what} is one number; ${value.data.length} were given.`)
  return first
}

/** An axis that may count from the end. */
export function axisOf(axis: number, rank: number, what: string): number {
  if (axis < -rank || axis >= rank) throw new InputError(`${what}: axis ${axis} is not among the ${rank} of its input.`)
  return axis < 0 ? axis + rank : axis
}

/** Number of elements of a shape. */
export function count(dims: readonly number[]): number {
  return dims.reduce((n, d) => n * d, 1)
}
