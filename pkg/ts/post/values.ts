/** Numbers as models give them. */

import { isDetached } from '../detached.js'
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
  const { type, data = values, dims } = Object(values) as Partial<AnyTensor>
  if (ArrayBuffer.isView(data) && isDetached(data))
    throw new InputError(`${capital(what)} are detached: their buffer was transferred; give a copy.`)
  if (typeof type === 'string' && dims !== undefined && data !== values) {
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
  const { type, dims } = tensor as Pick<AnyTensor, 'type'> & Partial<AnyTensor>
  if (dims === undefined) throw new InputError('Rows are of a tensor, an array was given; give a Tensor with dims.')
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

/** Options that were given, or an error; what was left out has its default. */
export function optionsOf<T extends object>(options: T | null): T {
  if (typeof options === 'object' && options !== null) return options
  throw new InputError(`The options are ${String(options)}; give an object, or leave them out.`)
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
