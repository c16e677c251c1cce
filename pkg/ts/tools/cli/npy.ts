/** NumPy's `.npy` files (format versions 1 to 3), as `np.save` writes them. */

import { InputError } from '../../errors.js'
import { type AnyTensor, type DataType, STORAGE, Tensor } from '../../tensor.js'

const MAGIC = '\x93NUMPY'

/** Element types by NumPy's description, little-endian. */
const TYPES: { readonly [descr: string]: Exclude<DataType, 'string'> } = {
  '<f2': 'float16',
  '<f4': 'float32',
  '<f8': 'float64',
  '|i1': 'int8',
  '|u1': 'uint8',
  '<i2': 'int16',
  '<u2': 'uint16',
  '<i4': 'int32',
  '<u4': 'uint32',
  '<i8': 'int64',
  '<u8': 'uint64',
  '|b1': 'bool',
}

export function isNpy(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1') === MAGIC
}

/** @param path for messages */
export function readNpy(bytes: Uint8Array, path: string): AnyTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const wide = bytes[6] !== 1
  const start = wide ? 12 : 10
  if (bytes.length < start) throw new InputError(`${path} is cut off; save it again with np.save.`)
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true))
  const header = Buffer.from(bytes.subarray(start, end)).toString('latin1')
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1]
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1]
  if (descr === undefined || shape === undefined)
    throw new InputError(`${path} holds no plain array; save one of numbers with np.save.`)
  const type = TYPES[descr]
  if (type === undefined)
    throw new InputError(`${path} has elements of NumPy's type '${descr}'; use one of ${Object.keys(TYPES).join(', ')}.`)
  const dims = shape
    .split(',')
    .filter((text) => text.trim() !== '')
    .map(Number)
  if (dims.length > 1 && /'fortran_order':\s*True/.test(header))
    throw new InputError(`${path} is in Fortran's order; save np.ascontiguousarray(array) instead.`)
  const Storage = STORAGE[type]
  const count = dims.reduce((n, d) => n * d, 1)
  const size = count * Storage.BYTES_PER_ELEMENT
  if (bytes.length - end < size)
    throw new InputError(`${path} is cut off: its array has ${size} bytes, ${Math.max(0, bytes.length - end)} are there.`)
  // A copy, since the array must begin at a multiple of its elements' size.
  return new Tensor(type, new Storage(new Uint8Array(bytes.subarray(end, end + size)).buffer), dims) as AnyTensor
}
