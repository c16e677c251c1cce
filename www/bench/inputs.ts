/** Inputs for any model: random ones from a seed, or what the visitor's file says. */

import type { Port } from 'nearside'

import { sentenceOf } from '../src/format'

/** A tensor that every engine can take. */
export interface Value {
  readonly type: string
  readonly dims: readonly number[]
  readonly data: NumberArray
}

export type NumberArray =
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>

export type Values = Readonly<Record<string, Value>>

/** By the type of a port. */
export const ARRAYS: Readonly<Record<string, new (length: number) => NumberArray>> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
}

/** Integers are drawn below this: small enough to be an index into any vocabulary. */
const MOST_INDEX = 100

/** Names of dimensions that are open in these ports, once each. */
export function openDims(ports: readonly Port[]): string[] {
  return [...new Set(ports.flatMap(({ dims }) => dims.filter((dim) => typeof dim === 'string')))]
}

/** Inputs of the right types and shapes; the same for the same seed. Open dimensions without a size are 1. */
export function randomInputs(ports: readonly Port[], sizes: Readonly<Record<string, number>>, seed: number): Values {
  const random = generator(seed)
  return Object.fromEntries(
    ports.map((port) => {
      const dims = port.dims.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim] ?? 1)))
      const data = newArray(port, dims)
      const draw = drawer(port, random)
      if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
        for (let i = 0; i < data.length; i++) data[i] = BigInt(draw())
      } else for (let i = 0; i < data.length; i++) data[i] = draw()
      return [port.name, { type: port.type, dims, data }]
    }),
  )
}

/** What a file of inputs holds. */
const FILE = 'give an object with an array of numbers, or { dims, data }, for each input'

/**
 * Inputs from JSON: by name, either an array of numbers or `{ dims, data }`.
 * @throws a sentence that names the input
 */
export function parseInputs(text: string, ports: readonly Port[], sizes: Readonly<Record<string, number>>): Values {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (cause) {
    throw new Error(`The file of inputs is no JSON (${sentenceOf(cause)}); ${FILE}.`, { cause })
  }
  if (!isRecord(given)) throw new Error(`The file of inputs holds no object; ${FILE}.`)
  return Object.fromEntries(ports.map((port) => [port.name, parseInput(given[port.name], port, sizes)]))
}

function parseInput(entry: unknown, port: Port, sizes: Readonly<Record<string, number>>): Value {
  const { data: list, dims: shape } = isRecord(entry) ? entry : { data: entry }
  const what = `Input '${port.name}'`
  if (list === undefined) throw new Error(`The file has no input '${port.name}'; give its numbers, or { dims, data }.`)
  if (!Array.isArray(list)) throw new Error(`${what} has no array of numbers; give one, or { dims, data }.`)
  const dims = shape ?? port.dims.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim] ?? 1)))
  if (!isShape(dims)) throw new Error(`The dims of input '${port.name}' are ${JSON.stringify(dims)}; give whole numbers.`)
  // Before anything is made: a shape may hold more than fits in memory.
  const size = sizeOf(dims)
  if (list.length !== size) throw new Error(`${what} has ${list.length} numbers, its shape [${dims.join(', ')}] holds ${size}.`)
  const data = newArray(port, dims)
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array
  list.forEach((value: unknown, i) => {
    if (typeof value !== 'number' && typeof value !== 'boolean')
      throw new Error(`${what} has ${JSON.stringify(value)} at ${i}; give numbers.`)
    if (!wide) data[i] = Number(value)
    else if (Number.isSafeInteger(Number(value))) data[i] = BigInt(value)
    else throw new Error(`${what} is ${port.type} and has ${value} at ${i}; give whole numbers.`)
  })
  return { type: port.type, dims, data }
}

function isShape(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((dim) => Number.isSafeInteger(dim) && dim >= 0)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function newArray(port: Port, dims: readonly number[]): NumberArray {
  const Array = ARRAYS[port.type]
  if (Array === undefined || port.kind !== undefined)
    throw new Error(`Input '${port.name}' is ${port.kind ?? port.type}, for which this page makes no values.`)
  return new Array(sizeOf(dims))
}

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1)
}

function drawer({ name, type }: Port, random: () => number): () => number {
  // 1.0 as bits; random bits would be infinities and NaNs as well.
  if (type === 'float16') return () => 0x3c00
  if (type.startsWith('float')) return random
  if (/mask/i.test(name)) return () => 1
  if (/type/i.test(name)) return () => 0
  if (type === 'bool') return () => Number(random() < 0.5)
  return () => Math.floor(random() * MOST_INDEX)
}

/** Numbers from 0 to 1, by xorshift. */
function generator(seed: number): () => number {
  let state = (seed * 2654435769 + 1) >>> 0 || 1
  return () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
}
