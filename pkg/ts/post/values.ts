/** Numbers as models give them. */

import { InputError, Tensor, type AnyTensor } from '../index.js'

/**
 * A tensor of numbers (not int64, uint64, float16 or strings), or numbers in one dimension. Outputs that a type does not promise may be
 * `undefined`; that is an error at run time.
 */
export type Values = AnyTensor | Float32Array | Float64Array | readonly number[] | undefined

/** Numbers and their shape. */
export interface Numbers {
  readonly data: ArrayLike<number>
  readonly dims: readonly number[]
}

/** The numbers of `values`, or an error that names them. */
export function numbersOf(values: Values, what: string): Numbers {
  const { type, data, dims } = Object(values) as Partial<AnyTensor>
  if (typeof type === 'string' && dims !== undefined && data !== undefined) {
    if (type === 'string' || type === 'float16' || (type.endsWith('64') && type !== 'float64'))
      throw new InputError(
        `${capital(what)} are of type ${type}; convert them to numbers, e.g. Float32Array.from(tensor.data, Number).`,
      )
    return { data: data as ArrayLike<number>, dims }
  }
  if (Array.isArray(values) || values instanceof Float32Array || values instanceof Float64Array)
    return { data: values as ArrayLike<number>, dims: [values.length] }
  throw new InputError(
    `${capital(what)} are ${values === undefined ? 'undefined; check the name of the output' : 'no numbers; give a tensor or an array'}.`,
  )
}

/** Sizes before, at and after an axis. */
export function aroundAxis(dims: readonly number[], axis: number, what: string): [outer: number, size: number, inner: number] {
  const at = axis < 0 ? axis + dims.length : axis
  const size = dims[at]
  if (size === undefined || size === 0)
    throw new InputError(
      `${capital(what)} of shape [${dims.join(', ')}] have no axis ${axis} with an element; give another axis or tensor.`,
    )
  const product = (list: readonly number[]): number => list.reduce((n, d) => n * d, 1)
  return [product(dims.slice(0, at)), size, product(dims.slice(at + 1))]
}

/** The elements of a tensor's outermost dimension, e.g. the answers of a batch; they share its memory. */
export function rows(tensor: AnyTensor | undefined): AnyTensor[] {
  const { data } = numbersOf(tensor, 'the rows')
  const { type, dims } = tensor as AnyTensor
  const [count, ...rest] = dims
  if (count === undefined) throw new InputError('A scalar has no rows; give a tensor of at least one dimension.')
  const size = rest.reduce((n, d) => n * d, 1)
  return Array.from(
    { length: count },
    (_, i) => new Tensor(type, (data as Float32Array).subarray(i * size, (i + 1) * size), rest) as AnyTensor,
  )
}

/** The one row of numbers: every dimension but one is 1. */
export function oneRow(values: Values, what: string): ArrayLike<number> {
  const { data, dims } = numbersOf(values, what)
  if (dims.filter((d) => d !== 1).length > 1)
    throw new InputError(`${capital(what)} have the shape [${dims.join(', ')}]; give one row of them, e.g. of rows(tensor).`)
  return data
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
