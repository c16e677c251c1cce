/** What wasm gives flat: a list of numbers, strings and lists for several things in turn. */

import type { OnnxNode } from '../explanation.js'
import type { NeededRange } from './protocol.js'

/** A flat list in rows of `length`. */
export function rows<Row extends unknown[]>(flat: unknown[], length: Row['length']): Row[] {
  return Array.from({ length: flat.length / length }, (_, i) => flat.slice(i * length, (i + 1) * length) as Row)
}

/** The ranges of other files that an opened model needs. */
export function ranges(flat: unknown[]): NeededRange[] {
  return rows<[string, number, number]>(flat, 3).map(([path, start, length]) => ({ path, start, length }))
}

/** The ONNX nodes that a node of the graph was made of. */
export function onnxNodes(flat: unknown[]): OnnxNode[] {
  return rows<[string, string]>(flat, 2).map(([op, name]) => ({ op, name }))
}
