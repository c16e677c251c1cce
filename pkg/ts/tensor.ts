/** The tensor that goes in and comes out of models, and the element types that ONNX knows. */

import { isDetached } from './detached.js'
import { InputError } from './errors.js'

/** What holds the elements of each type. `float16` is stored as its 16 bits; `bool` as 0 and 1. */
export interface TensorDataMap {
  float32: Float32Array
  float64: Float64Array
  float16: Uint16Array
  int8: Int8Array
  uint8: Uint8Array
  int16: Int16Array
  uint16: Uint16Array
  int32: Int32Array
  uint32: Uint32Array
  int64: BigInt64Array
  uint64: BigUint64Array
  bool: Uint8Array
  string: string[]
}

/** Element type of a tensor, with ONNX's meaning and onnxruntime-web's spelling. */
export type DataType = keyof TensorDataMap

/** Any typed array that can hold tensor data. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** Plain arrays that are converted to a tensor's type. */
export type PlainArray = readonly number[] | readonly bigint[] | readonly boolean[] | readonly string[]

/** A tensor of any type: narrow it by `type`. */
export type AnyTensor = { [K in DataType]: Tensor<K> }[DataType]

type NumericArrayConstructor = {
  new (length: number): TypedArray
  new (buffer: ArrayBufferLike, offset?: number, length?: number): TypedArray
  readonly BYTES_PER_ELEMENT: number
}

/** Constructor of each fixed-size type's storage. */
export const STORAGE: { readonly [K in Exclude<DataType, 'string'>]: NumericArrayConstructor } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
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

const TYPES: readonly string[] = [...Object.keys(STORAGE), 'string']

/** The type that a typed array has by itself, `undefined` for anything that is not one. */
export function naturalType(data: unknown): DataType | undefined {
  if (!ArrayBuffer.isView(data)) return undefined
  // By name, for arrays from an iframe are instances of that frame's constructors; without `Big`, `Clamped` and `Array` it is the type's.
  const type = (data as TypedArray)[Symbol.toStringTag].replace(/^Big|(Clamped)?Array$/g, '').toLowerCase()
  return type in STORAGE ? (type as DataType) : undefined
}

/** Number of elements of a shape. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((n, d) => n * d, 1)
}

/** `1×28×28`, or `scalar`. */
export function describeDims(dims: readonly (number | string)[]): string {
  return dims.length === 0 ? 'scalar' : dims.join('×')
}

/** An n-dimensional array: elements in row-major order and their shape. */
export class Tensor<T extends DataType = DataType> {
  /** Element type. */
  readonly type: T
  /** Elements, row-major. */
  readonly data: TensorDataMap[T]
  /** Dimensions, outermost first; empty for a scalar. */
  readonly dims: readonly number[]

  /**
   * @param type element type
   * @param data the elements: storage of that type (kept, not copied), or plain values to convert
   * @param dims dimensions; one dimension of the data's length if left out
   */
  constructor(type: T, data: TensorDataMap[T] | TypedArray | PlainArray, dims?: readonly number[]) {
    if (!TYPES.includes(type))
      throw new InputError(`${describeValue(type)} is not an element type; use one of ${TYPES.join(', ')}.`)
    this.type = type
    this.data = toStorage(type, data, 'the tensor')
    this.dims = Object.freeze(checkedDims(dims === undefined ? [this.data.length] : dims, 0))
    const expected = elementCount(this.dims)
    if (expected !== this.data.length) {
      throw new InputError(
        `A ${type} tensor of shape ${describeDims(this.dims)} has ${expected} elements, ${this.data.length} were given; correct the dims or the data.`,
      )
    }
  }

  /** Number of elements. */
  get size(): number {
    return this.data.length
  }

  /** The same elements under another shape; one dimension may be -1 and is then worked out. */
  reshape(dims: readonly number[]): Tensor<T> {
    const list = checkedDims(dims, -1)
    const open = list.indexOf(-1)
    // The product of all has the sign of the open one.
    const rest = this.size / -elementCount(list)
    if (open >= 0 && !(Number.isSafeInteger(rest) && rest >= 0)) {
      throw new InputError(
        `A tensor of shape ${describeDims(this.dims)} cannot be viewed as [${dims.join(', ')}]; it has ${this.size} elements.`,
      )
    }
    if (open >= 0) list[open] = rest
    return new Tensor(this.type, this.data, list)
  }

  /** A tensor of a typed array's own type. */
  static from(data: TypedArray, dims?: readonly number[]): AnyTensor {
    const type = naturalType(data)
    if (type === undefined)
      throw new InputError('Tensor.from takes a typed array; for plain values use new Tensor(type, values, dims).')
    return new Tensor(type, data, dims) as AnyTensor
  }
}

/** Dimensions as a list of one's own. */
function checkedDims(dims: unknown, least: number): number[] {
  if (Array.isArray(dims) && dims.every((d) => Number.isSafeInteger(d) && d >= least)) return [...(dims as number[])]
  const given = Array.isArray(dims) ? `[${dims.join(', ')}]` : describeValue(dims)
  throw new InputError(`The dims are ${given}; give an array of whole numbers from 0 up.`)
}

const INTEGER_RANGE: { readonly [K in DataType]?: readonly [number | bigint, number | bigint] } = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
}

/**
 * Elements as the storage of `type`: storage passes through, plain values are converted and checked.
 * @param what names the data in messages, e.g. `input 'image'`
 */
export function toStorage<T extends DataType>(type: T, data: unknown, what: string): TensorDataMap[T] {
  const natural = naturalType(data)
  if (natural !== undefined) return fromTypedArray(type, natural, data as TypedArray, what) as TensorDataMap[T]
  if (!Array.isArray(data)) {
    throw new InputError(`The data of ${what} is ${describeValue(data)}; give a typed array or an array of values.`)
  }
  return fromPlainArray(type, data, what) as TensorDataMap[T]
}

function fromTypedArray(type: DataType, natural: DataType, data: TypedArray, what: string): TensorDataMap[DataType] {
  if (isDetached(data)) throw new InputError(`${capital(what)} is detached: its buffer was transferred; give a copy.`)
  const name = data[Symbol.toStringTag]
  const same = natural === type || (type === 'bool' && natural === 'uint8') || (type === 'float16' && natural === 'uint16')
  if (!same) {
    const wanted = type === 'string' ? 'an array of strings' : article(STORAGE[type].name)
    throw new InputError(`${capital(what)} takes ${type}, ${article(name)} was given; convert it to ${wanted}.`)
  }
  // Uint8ClampedArray and Float16Array have the bits of the storage type, under another name.
  if (type !== 'string' && name !== STORAGE[type].name) {
    return new STORAGE[type](data.buffer, data.byteOffset, data.length) as TensorDataMap[DataType]
  }
  return data as TensorDataMap[DataType]
}

function fromPlainArray(type: DataType, data: readonly unknown[], what: string): TensorDataMap[DataType] {
  const bad = (i: number, why: string): InputError =>
    new InputError(`Element ${i} of ${what} is ${describeValue(data[i])}, ${why}.`)
  if (type === 'string') {
    const at = data.findIndex((v) => typeof v !== 'string')
    if (at >= 0) throw bad(at, 'which is not a string')
    return [...(data as readonly string[])]
  }
  if (type === 'float16') {
    throw new InputError(
      `Plain values cannot be converted to float16 for ${what}; give a Float16Array, or a Uint16Array of the bits.`,
    )
  }
  const out = new STORAGE[type](data.length)
  const range = INTEGER_RANGE[type]
  const big = type === 'int64' || type === 'uint64'
  for (let i = 0; i < data.length; i++) {
    const v = data[i]
    if (type === 'bool' ? typeof v !== 'boolean' && v !== 0 && v !== 1 : typeof v !== 'number' && typeof v !== 'bigint') {
      throw bad(i, `which is not ${article(type)} value`)
    }
    const n = Number(v)
    if (range !== undefined) {
      const whole = typeof v === 'bigint' || Number.isInteger(n)
      const exact = typeof v === 'bigint' ? v : n
      if (!whole || exact < range[0] || exact > range[1]) throw bad(i, `which is not a whole number of ${type}'s range`)
    }
    out[i] = big ? BigInt(v as number | bigint) : n
  }
  return out as TensorDataMap[DataType]
}

/** A value for a message: its own text if short, else what it is. */
export function describeValue(value: unknown): string {
  if (value === null) return 'null'
  switch (typeof value) {
    case 'number':
    case 'bigint':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'string':
      return value.length <= 40 ? `'${value}'` : 'a string'
    case 'object':
      return `an object of type ${value.constructor?.name ?? 'unknown'}`
    default:
      return `a ${typeof value}`
  }
}

/** A type's name with its article: `an int64`, `a uint8`. */
export function article(name: string): string {
  return `${/^[aeioI]/.test(name) ? 'an' : 'a'} ${name}`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
