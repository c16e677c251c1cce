/** What `nearside run` prints. */

import { Tensor } from '../../index.js'
import { type AnyTensor, describeDims } from '../../tensor.js'
import type { NodeProfile } from '../../explanation.js'
import type { OutputValue } from '../../types.js'
import { digits, elements, range } from './numbers.js'

/** Nodes that the table of a profile names. */
const SLOWEST = 20

const isTensor = (value: OutputValue): value is AnyTensor => value instanceof Tensor

/** `logits: float32 1×10, from -3.1 to 9.4` and the first elements. */
export function outputText(name: string, value: OutputValue, limit: number): string {
  if (!isTensor(value)) return `${name}: ${JSON.stringify(outputJson(value, limit))}\n`
  const { type, dims, size } = value
  const found = range(value)
  const span = found === undefined ? '' : `, from ${digits(found.min, type)} to ${digits(found.max, type)}`
  const first = elements(value, limit).map((v) => digits(v, type))
  return `${name}: ${type} ${describeDims(dims)}${span}\n    ${first.join(' ')}${size > limit ? ' …' : ''}\n`
}

/** The same for programs. Integers that JSON's readers would round are strings. */
export function outputJson(value: OutputValue, limit: number): unknown {
  if (value === null) return null
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, v]) => [key, plain(v as number)]))
  if (!isTensor(value)) return (value as readonly OutputValue[]).map((item) => outputJson(item, limit))
  const { type, dims } = value
  const found = range(value)
  const ends = found === undefined ? {} : { min: plain(found.min), max: plain(found.max) }
  return { type, dims, ...ends, elements: elements(value, limit).map(plain) }
}

function plain(value: number | bigint | string): number | string {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  // JSON has neither infinities nor NaN.
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** The fastest time of every operator kind and of the slowest nodes. */
export function profileText(nodes: readonly NodeProfile[]): string {
  const total = nodes.reduce((sum, node) => sum + node.min, 0)
  const line = (ms: number, macs: number, what: string): string => {
    const speed = macs > 0 ? (macs / ms / 1e6).toFixed(1) : ''
    const share = total > 0 ? (ms / total) * 100 : 0
    return `${(ms * 1e3).toFixed(1).padStart(10)} µs ${share.toFixed(1).padStart(5)} % ${speed.padStart(7)}  ${what}\n`
  }
  const operators = new Map<string, { count: number; ms: number; macs: number }>()
  for (const { op, min, macs } of nodes) {
    const sum = operators.get(op) ?? { count: 0, ms: 0, macs: 0 }
    operators.set(op, { count: sum.count + 1, ms: sum.ms + min, macs: sum.macs + macs })
  }
  const kinds = [...operators].sort(([, a], [, b]) => b.ms - a.ms)
  const slowest = [...nodes].sort((a, b) => b.min - a.min).slice(0, SLOWEST)
  return [
    '      time          of all  GMAC/s\n',
    ...kinds.map(([op, { count, ms, macs }]) => line(ms, macs, `${op}×${count}`)),
    ...slowest.map(({ op, name, dims, min, macs }) => line(min, macs, `${op} '${name}' [${dims.join(', ')}]`)),
  ].join('')
}
