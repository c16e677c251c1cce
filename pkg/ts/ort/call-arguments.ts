/** Which overload of `create` or `run` a call means, with onnxruntime-web's messages for calls that mean none. */

import type { InferenceSession, OnnxValue } from './session-types.js'

type SessionOptions = InferenceSession.SessionOptions
type RunOptions = InferenceSession.RunOptions

/** What `create` was asked for. */
export interface CreateCall {
  readonly source: string | Uint8Array
  readonly options: SessionOptions
}

/** Reads the arguments of `InferenceSession.create`. */
export function parseCreate(source: unknown, ...rest: readonly unknown[]): CreateCall {
  if (typeof source === 'string' || source instanceof Uint8Array) return { source, options: optionsOf(rest[0]) }
  if (source instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && source instanceof SharedArrayBuffer))
    return parseBuffer(source, rest)
  throw new TypeError("Unexpected argument[0]: must be 'path' or 'buffer'.")
}

function parseBuffer(buffer: ArrayBufferLike, rest: readonly unknown[]): CreateCall {
  const [offset, length, options] = rest
  // What was transferred is empty, and a view of it cannot be made.
  const whole = (): Uint8Array => (buffer.byteLength === 0 ? new Uint8Array() : new Uint8Array(buffer))
  if (typeof offset !== 'number') return { source: whole(), options: optionsOf(offset) }
  if (!Number.isSafeInteger(offset)) throw new RangeError("'byteOffset' must be an integer.")
  if (offset < 0 || offset >= buffer.byteLength) throw new RangeError(`'byteOffset' is out of range [0, ${buffer.byteLength}).`)
  if (length === undefined) return { source: new Uint8Array(buffer, offset), options: optionsOf(options) }
  if (typeof length !== 'number') throw new TypeError("'byteLength' must be a number.")
  if (!Number.isSafeInteger(length)) throw new RangeError("'byteLength' must be an integer.")
  if (length <= 0 || offset + length > buffer.byteLength)
    throw new RangeError(`'byteLength' is out of range (0, ${buffer.byteLength - offset}].`)
  return { source: new Uint8Array(buffer, offset, length), options: optionsOf(options) }
}

/** An object of options; nothing is one without any. */
export function optionsOf<T extends object>(value: unknown): T {
  if (value === undefined) return {} as T
  if (typeof value !== 'object' || value === null) throw new TypeError("'options' must be an object.")
  return value as T
}

/** What `run` was asked for: the outputs by name, with tensors to write to or `null`. */
export interface RunCall {
  readonly fetches: { readonly [name: string]: OnnxValue | null }
  readonly options: RunOptions
}

/** Whether a value has what a tensor has; of whatever copy of whatever library it is. */
export function isTensor(value: unknown): value is OnnxValue {
  if (typeof value !== 'object' || value === null) return false
  const { type, dims } = value as Partial<OnnxValue>
  return typeof type === 'string' && Array.isArray(dims) && 'data' in value
}

/** Reads the arguments of `run`, for a session with these inputs and outputs. */
export function parseRun(
  inputs: readonly string[],
  outputs: readonly string[],
  feeds: unknown,
  second: unknown,
  third: unknown,
): RunCall {
  if (typeof feeds !== 'object' || feeds === null || isTensor(feeds) || Array.isArray(feeds))
    throw new TypeError("'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.")
  const call = parseFetches(outputs, second, third)
  for (const name of inputs) {
    const feed = (feeds as { readonly [name: string]: unknown })[name]
    if (feed === undefined) throw new Error(`input '${name}' is missing in 'feeds'.`)
    if (!isTensor(feed)) throw new TypeError(`input '${name}' is not a tensor; give new Tensor(type, data, dims).`)
  }
  return call
}

function parseFetches(outputs: readonly string[], second: unknown, third: unknown): RunCall {
  const all = Object.fromEntries(outputs.map((name) => [name, null]))
  if (second === undefined) return { fetches: all, options: optionsOf(third) }
  if (second === null) throw new TypeError('Unexpected argument[1]: cannot be null.')
  if (typeof second !== 'object') throw new TypeError("Unexpected argument[1]: must be 'fetches' or 'options'.")
  if (isTensor(second)) throw new TypeError("'fetches' cannot be a Tensor")
  if (Array.isArray(second)) return { fetches: namedFetches(outputs, second), options: optionsOf(third) }
  const given = second as { readonly [name: string]: unknown }
  const fetches: { [name: string]: OnnxValue | null } = {}
  for (const name of outputs) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined
    if (value === null || isTensor(value)) fetches[name] = value
  }
  // An object without any output's name is the options.
  return Object.keys(fetches).length > 0 ? { fetches, options: optionsOf(third) } : { fetches: all, options: optionsOf(second) }
}

function namedFetches(outputs: readonly string[], names: readonly unknown[]): { [name: string]: null } {
  if (names.length === 0) throw new TypeError("'fetches' cannot be an empty array.")
  const fetches: { [name: string]: null } = {}
  for (const name of names) {
    if (typeof name !== 'string') throw new TypeError("'fetches' must be a string array or an object.")
    if (!outputs.includes(name)) throw new RangeError(`'fetches' contains invalid output name: ${name}.`)
    fetches[name] = null
  }
  return fetches
}
