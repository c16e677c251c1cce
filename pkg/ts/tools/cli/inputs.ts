/** What `nearside run` feeds a model: files, random numbers, the values that its plan is for, or zeros. */

import { readFile } from 'node:fs/promises'

import { InputError } from '../../errors.js'
import { describeDims, elementCount, STORAGE, Tensor } from '../../tensor.js'
import type { Port } from '../../types.js'
import { cannotRead } from '../../unreadable.js'
import type { Demand } from '../compiler/job.js'
import { isNpy, readNpy } from './npy.js'
import { UsageError } from './usage.js'

/** What an `--input` says. */
interface Given {
  readonly dims: readonly number[] | undefined
  readonly from: string
}

/** `NAME[:SHAPE]=FILE`, where FILE may be `random` or `zeros`. */
export function parseInput(text: string): [string, Given] {
  const [target, from] = split(text, text.indexOf('='))
  if (from === undefined || from === '' || target === '')
    throw new UsageError(`--input is '${text}'; give NAME=FILE, NAME=random, or NAME:1x3x224x224=… where the shape is open.`)
  const [name, shape] = split(target, target.lastIndexOf(':'))
  // A name may hold a colon.
  if (shape === undefined || !/^\d+(x\d+)*$/.test(shape)) return [target, { dims: undefined, from }]
  return [name, { dims: shape.split('x').map(Number), from }]
}

function split(text: string, at: number): [string, string | undefined] {
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

/** A tensor for each input. What is not given is what the plan demands, or zeros. */
export async function readInputs(
  ports: readonly Port[],
  texts: readonly string[],
  demands: readonly Demand[],
): Promise<{ [name: string]: Tensor }> {
  const given = new Map(texts.map(parseInput))
  const feeds: { [name: string]: Tensor } = {}
  for (const port of ports) {
    const input = given.get(port.name)
    const demanded = input === undefined ? demandedTensor(port, demands) : undefined
    feeds[port.name] = demanded ?? (await readInput(port, input ?? { dims: undefined, from: 'zeros' }))
    given.delete(port.name)
  }
  const [unknown] = given.keys()
  if (unknown !== undefined)
    throw new InputError(`The model has no input '${unknown}'; it has ${ports.map(({ name }) => `'${name}'`).join(', ')}.`)
  return feeds
}

/** The value that an input must have, if there is one. */
export function demandedTensor({ name, type, dims }: Port, demands: readonly Demand[]): Tensor | undefined {
  const demand = demands.find(({ input }) => input === name)
  if (demand === undefined || type === 'string') return undefined
  // All dimensions of what was given are known.
  return new Tensor(type, new STORAGE[type](demand.bytes.slice().buffer), dims as readonly number[])
}

async function readInput(port: Port, { dims, from }: Given): Promise<Tensor> {
  const { name, type } = port
  if (type === 'string' || port.kind !== undefined)
    throw new InputError(
      `Input '${name}' takes ${port.kind ?? 'strings'}, which files cannot give; use the package in a program.`,
    )
  if (from === 'zeros') return new Tensor(type, new STORAGE[type](elementCount(shapeOf(port, dims))), shapeOf(port, dims))
  if (from === 'random') return random(port, shapeOf(port, dims))
  const bytes = await readFile(from).catch((cause: unknown) => {
    throw cannotRead(from, cause, `for input '${name}'`)
  })
  if (isNpy(bytes)) {
    const tensor = readNpy(bytes, from)
    return dims === undefined ? tensor : tensor.reshape(dims)
  }
  const shape = shapeOf(port, dims)
  const size = elementCount(shape) * STORAGE[type].BYTES_PER_ELEMENT
  if (bytes.length !== size)
    throw new InputError(
      `The file ${from} has ${bytes.length} bytes; input '${name}' takes ${size}: ${type} of shape ${describeDims(shape)}, little-endian, or a .npy file.`,
    )
  return new Tensor(type, new STORAGE[type](new Uint8Array(bytes).buffer), shape)
}

function shapeOf(port: Port, dims: readonly number[] | undefined): readonly number[] {
  if (dims !== undefined) return dims
  if (port.dims.every((dim) => typeof dim === 'number')) return port.dims
  const example = port.dims.map((dim) => (typeof dim === 'number' ? dim : 1)).join('x')
  throw new InputError(
    `Input '${port.name}' has the shape ${describeDims(port.dims)}, of which not all is fixed: give it as --input '${port.name}:${example}=random' or with a .npy file.`,
  )
}

/**
 * Numbers that look random and are the same every time: floats from 0 to 1, 8-bit integers of their whole range, wider ones from 0 to 9
 * (small enough for the rows of most tables), truth values.
 */
function random({ type }: Port, dims: readonly number[]): Tensor {
  const next = mulberry32(1)
  const count = elementCount(dims)
  const array = <T>(value: () => T): T[] => Array.from({ length: count }, value)
  const below = (n: number): number => Math.floor(next() * n)
  switch (type) {
    case 'float32':
    case 'float64':
      return new Tensor(type, array(next), dims)
    case 'float16':
      // The bits of numbers from 0.5 to 1.
      return new Tensor(type, Uint16Array.from(array(() => 0x3800 + below(1024))), dims)
    case 'int8':
      return new Tensor(
        type,
        array(() => below(256) - 128),
        dims,
      )
    case 'uint8':
      return new Tensor(
        type,
        array(() => below(256)),
        dims,
      )
    default:
      return new Tensor(
        type,
        array(() => below(type === 'bool' ? 2 : 10)),
        dims,
      )
  }
}

/** A generator of 32 bits of state, by Tommy Ettinger. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
