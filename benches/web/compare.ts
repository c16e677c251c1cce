/** An engine's outputs beside the reference, and images between the two layouts. */

import type { Elements } from './engine.js'
import { RelativeError } from './relative-error.js'

/** What an output should be: every `stride`-th of its elements, in ONNX's order. */
export interface Reference {
  readonly name: string
  readonly dims: readonly number[]
  readonly stride: number
  /** The engine's output is the same image with its channels last. */
  readonly nhwc?: boolean | undefined
  readonly data: ArrayLike<number | bigint>
}

export interface Difference {
  /** The largest difference of an element. */
  readonly max: number
  /** The Euclidean norm of all differences, as a part of the reference's. */
  readonly relative: number
  /** Whether the largest element of each item of the batch is where the reference has it. */
  readonly sameTop: boolean
}

type Outputs = Readonly<Record<string, ArrayLike<number | bigint>>>

/** Over all outputs that have a reference; nothing if none has. */
export function compare(outputs: Outputs, references: readonly Reference[]): Difference | null {
  const relative = new RelativeError()
  let [max, sameTop] = [0, true]
  for (const reference of references) {
    const { name, dims, stride, nhwc, data } = reference
    const actual = outputs[name]
    if (actual === undefined) throw new Error(`no output '${name}', only ${Object.keys(outputs).join(', ')}`)
    if (Math.ceil(actual.length / stride) !== data.length) {
      throw new Error(`output '${name}' has ${String(actual.length)} elements, the reference ${String(data.length)}`)
    }
    const at = nhwc === true ? placeInNhwc(dims) : (i: number): number => i
    const found = Float64Array.from(data, (_, i) => Number(actual[at(i * stride)]))
    for (const [i, value] of found.entries()) {
      const expected = Number(data[i])
      const difference = Object.is(value, expected) ? 0 : Math.abs(value - expected)
      if (Number.isNaN(difference)) throw new Error(`output '${name}' has ${String(value)} in place of ${String(expected)}`)
      max = Math.max(max, difference)
      relative.add(expected, value)
    }
    const items = stride === 1 ? (dims[0] ?? 1) : 1
    for (let item = 0; item < items; item++) sameTop &&= top(found, item, items) === top(data, item, items)
  }
  return references.length === 0 ? null : { max, relative: relative.value, sameTop }
}

/** The place of the largest element of one item of a batch. */
function top(data: ArrayLike<number | bigint>, item: number, items: number): number {
  const length = data.length / items
  let best = item * length
  for (let i = best; i < (item + 1) * length; i++) if (Number(data[i]) > Number(data[best])) best = i
  return best
}

/** From the place of an element in an NCHW tensor to that in the same tensor as NHWC. */
function placeInNhwc(dims: readonly number[]): (i: number) => number {
  const [, channels = 1, height = 1, width = 1] = dims
  const area = height * width
  return (i) => {
    const [item, rest] = [Math.floor(i / (channels * area)), i % (channels * area)]
    return (item * area + (rest % area)) * channels + Math.floor(rest / area)
  }
}

/** An NCHW image with its channels last. */
export function toNhwc<T extends Elements>(data: T, dims: readonly number[]): { data: T; dims: number[] } {
  const place = placeInNhwc(dims)
  const turned = data.slice() as T
  for (let i = 0; i < data.length; i++) turned[place(i)] = data[i] ?? 0
  const [items = 1, channels = 1, height = 1, width = 1] = dims
  return { data: turned, dims: [items, height, width, channels] }
}
