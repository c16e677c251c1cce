/** The fifteen element types and what holds their elements. */

import type { Tensor } from './tensor-types.js'

/** Elements of a type with a fixed size. */
export type Elements = Exclude<Tensor.DataType, string[]>

export interface ElementsConstructor {
  readonly name: string
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Elements
  new (length: number): Elements
  from(values: ArrayLike<unknown>, convert?: (value: never) => unknown): Elements
}

/** Two elements share a byte. */
export function isPacked(type: string): boolean {
  return type === 'int4' || type === 'uint4'
}

/** `Float16Array` where the engine (or a polyfill that came later) has it. */
function float16(): ElementsConstructor {
  const { Float16Array } = globalThis as { Float16Array?: unknown }
  return (Float16Array ?? Uint16Array) as ElementsConstructor
}

const STORAGE: { readonly [type: string]: unknown } = {
  float32: Float32Array,
  float64: Float64Array,
  int4: Uint8Array,
  uint4: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
}

/** The array type of an element type; `undefined` for `string` and for what is not one. */
export function storageOf(type: string): ElementsConstructor | undefined {
  if (type === 'float16') return float16()
  return Object.hasOwn(STORAGE, type) ? (STORAGE[type] as ElementsConstructor) : undefined
}

/** Element types by the name of the array, which holds across frames where the constructors differ. */
const BY_ARRAY: { readonly [name: string]: Tensor.Type } = {
  Float16Array: 'float16',
  Float32Array: 'float32',
  Float64Array: 'float64',
  Int8Array: 'int8',
  Uint8Array: 'uint8',
  Int16Array: 'int16',
  Uint16Array: 'uint16',
  Int32Array: 'int32',
  Uint32Array: 'uint32',
  BigInt64Array: 'int64',
  BigUint64Array: 'uint64',
}

/** The name of a typed array's kind, `undefined` for other values. */
export function arrayKind(data: unknown): string | undefined {
  if (!ArrayBuffer.isView(data) || data instanceof DataView) return undefined
  return (data as Uint8Array)[Symbol.toStringTag]
}

/** The type that an array has by itself. */
export function typeOfArray(data: unknown): Tensor.Type | undefined {
  const kind = arrayKind(data)
  return kind !== undefined && Object.hasOwn(BY_ARRAY, kind) ? BY_ARRAY[kind] : undefined
}
