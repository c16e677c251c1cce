/** Inputs of a call: from what the caller gives to one tensor per port, checked. The same for models in the page and behind a URL. */

import type { WireInput } from './engine/protocol.js'
import { InputError } from './errors.js'
import {
  type AnyTensor,
  article,
  type DataType,
  describeDims,
  describeValue,
  elementCount,
  naturalType,
  Tensor,
  toStorage,
} from './tensor.js'
import type { Feed, Feeds, Port, TensorLike } from './types.js'

/** Called when a value was changed to fit, e.g. float64 to float32. */
export type Note = (message: string) => void

/**
 * One tensor for each port, in order. Data is the caller's own where its type fits: copy it before waiting for anything. What `take` takes is
 * its own business, and `undefined` here.
 */
export function resolveFeeds(ports: readonly Port[], feeds: Feeds, note: Note): AnyTensor[]
export function resolveFeeds(
  ports: readonly Port[],
  feeds: Feeds,
  note: Note,
  take: (port: Port, feed: Feed) => boolean,
): (AnyTensor | undefined)[]
export function resolveFeeds(
  ports: readonly Port[],
  feeds: Feeds,
  note: Note,
  take?: (port: Port, feed: Feed) => boolean,
): (AnyTensor | undefined)[] {
  const record = asRecord(ports, feeds)
  const extra = Object.keys(record).find((name) => record[name] !== undefined && !ports.some((port) => port.name === name))
  if (extra !== undefined) {
    throw new InputError(`The model has no input '${extra}'; ${describePorts(ports)}. Correct the name or leave it out.`)
  }
  const symbols = givenSymbols(ports, record)
  return ports.map((port) => {
    const feed = record[port.name]
    if (feed === undefined) throw new InputError(`Input '${port.name}' is missing: give ${describePort(port)}.`)
    return take?.(port, feed) ? undefined : toTensor(port, feed, symbols, note)
  })
}

/** A tensor on its way, in the first of `spares` if that has its size: new memory takes longer to fill. */
export function toWire(tensor: AnyTensor, spares: Uint8Array[]): WireInput {
  const dims = Uint32Array.from(tensor.dims)
  if (tensor.type === 'string') return { dims, strings: [...tensor.data] }
  // A copy of its own: it moves to the other thread, and the caller may reuse the array at once.
  const { buffer, byteOffset, byteLength } = tensor.data
  const source = new Uint8Array(buffer, byteOffset, byteLength)
  const spare = spares.shift()
  const bytes = spare?.length === byteLength ? spare : new Uint8Array(byteLength)
  bytes.set(source)
  return { dims, bytes }
}

/** Whether there may be pictures or sounds among the feeds, for the part of the package that knows them. */
export function mayHaveMedia(feeds: unknown): boolean {
  return isObject(feeds) && (!isRecord(feeds) || Object.values(feeds).some(isObject))
}

/** Whether a value is no tensor, but may hold something else than numbers and strings. */
function isObject(value: unknown): value is object {
  if (Array.isArray(value)) return typeof value[0] === 'object'
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !isTensorLike(value)
}

/** Whether a value is a plain object: those of the platform have names of their own. */
function isRecord(value: unknown): boolean {
  return Object.prototype.toString.call(value) === '[object Object]'
}

function asRecord(ports: readonly Port[], feeds: Feeds): { readonly [name: string]: Feed | undefined } {
  if (feeds === null || feeds === undefined) throw new InputError(`run needs inputs; ${describePorts(ports)}.`)
  if (isRecord(feeds) && !isTensorLike(feeds)) return feeds as { readonly [name: string]: Feed }
  const [only] = ports
  if (only === undefined || ports.length > 1) {
    throw new InputError(
      `One value was given to a model with ${ports.length} inputs; ${describePorts(ports)}. Give an object with a value for each.`,
    )
  }
  return { [only.name]: feeds as Feed }
}

function isTensorLike(value: unknown): value is TensorLike {
  if (value instanceof Tensor) return true
  const { type, dims, data } = Object(value) as Partial<TensorLike>
  return typeof type === 'string' && Array.isArray(dims) && typeof data === 'object'
}

/** Sizes of named dimensions that full tensors among the feeds settle, for the bare arrays beside them. */
function givenSymbols(ports: readonly Port[], record: { readonly [name: string]: Feed | undefined }): Map<string, number> {
  const symbols = new Map<string, number>()
  for (const port of ports) {
    const feed = record[port.name]
    if (typeof feed !== 'object' || !isTensorLike(feed) || feed.dims.length !== port.dims.length) continue
    port.dims.forEach((dim, i) => {
      if (typeof dim === 'string' && dim !== '?') symbols.set(dim, feed.dims[i] ?? 0)
    })
  }
  return symbols
}

function toTensor(port: Port, feed: Feed, symbols: ReadonlyMap<string, number>, note: Note): AnyTensor {
  const what = `input '${port.name}'`
  if (typeof feed === 'object' && isTensorLike(feed)) {
    // One element stands for a scalar, as in onnxruntime.
    const dims = port.dims.length === 0 && elementCount(feed.dims) === 1 ? [] : feed.dims
    checkDims(port, dims)
    if (feed.type !== port.type && !(feed.type === 'float64' && port.type === 'float32')) {
      throw new InputError(
        `Input '${port.name}' takes ${port.type}, ${article(feed.type)} tensor was given; convert its data before the call.`,
      )
    }
    return new Tensor(port.type, convert(port, feed.data, what, note), dims) as AnyTensor
  }
  if (typeof feed === 'string')
    throw new InputError(`Input '${port.name}' is ${describeValue(feed)}; give ${describePort(port)}.`)
  if (Array.isArray(feed) && feed.some((v) => typeof v === 'object')) {
    throw new InputError(`Input '${port.name}' is a nested array; give a flat one (array.flat(Infinity)) or a Tensor with dims.`)
  }
  const values = typeof feed === 'object' ? feed : [feed]
  const data = convert(port, values, what, note)
  return new Tensor(port.type, data, inferDims(port, data.length, symbols)) as AnyTensor
}

function convert(port: Port, data: unknown, what: string, note: Note): Tensor['data'] {
  if (port.type === 'float32' && naturalType(data) === 'float64') {
    note(
      `Input '${port.name}' takes float32; the Float64Array that was given is converted at each call, with loss of precision. Give a Float32Array.`,
    )
    return Float32Array.from(data as Float64Array)
  }
  return toStorage<DataType>(port.type, data, what)
}

function checkDims(port: Port, dims: readonly number[]): void {
  const fits = dims.length === port.dims.length && port.dims.every((want, i) => typeof want === 'string' || want === dims[i])
  if (!fits) {
    throw new InputError(
      `Input '${port.name}' has shape ${describeDims(dims)}, the model takes ${describeDims(port.dims)}; reshape or resize it.`,
    )
  }
}

/** The shape of `length` elements for a port, when at most one dimension is open. */
export function inferDims(port: Port, length: number, symbols: ReadonlyMap<string, number>): number[] {
  const dims = port.dims.map((dim) => (typeof dim === 'string' ? (symbols.get(dim) ?? -1) : dim))
  const open = dims.filter((d) => d === -1).length
  const known = elementCount(dims.filter((d) => d !== -1))
  const wrong = (): InputError =>
    new InputError(
      `Input '${port.name}' takes ${describeDims(port.dims)} (${open === 0 ? known : `a multiple of ${known}`} elements), ${length} were given; correct the data, or give a Tensor with dims.`,
    )
  if (open > 1) {
    throw new InputError(
      `Input '${port.name}' has ${open} open dimensions (${describeDims(port.dims)}), so an array does not say its shape; give new Tensor('${port.type}', data, dims).`,
    )
  }
  if (open === 0) {
    if (known !== length) throw wrong()
    return dims
  }
  const rest = length / known
  if (!Number.isSafeInteger(rest)) throw wrong()
  return dims.map((d) => (d === -1 ? rest : d))
}

function describePorts(ports: readonly Port[]): string {
  const list = ports.map((port) => `'${port.name}' (${port.type} ${describeDims(port.dims)})`).join(', ')
  return ports.length === 1 ? `its input is ${list}` : `its inputs are ${list}`
}

function describePort(port: Port): string {
  return `${article(port.type)} tensor of shape ${describeDims(port.dims)}`
}
