/** Engines with a format of their own: which models `convert.py` has made for them, and how those are fed and compared. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * They are installed, and their models made, only for whoever names them.
 * @type {readonly string[]}
 */
export const PEERS = JSON.parse(readFileSync(new URL('engines.json', import.meta.url), 'utf8'))

/**
 * The model of theirs that is measured beside a variant of ONNX. Both int8 models come from the same float32 weights, but were quantized by different tools.
 * @type {Record<string, 'f32' | 'int8'>}
 */
const KINDS = { f32: 'f32', qdq: 'int8' }

/**
 * What `convert.py` writes beside the models; `nhwc` marks images whose channels come last, `dims` are ONNX's.
 * @typedef {{ name: string, nhwc: boolean }} Port
 * @typedef {{ inputs: (Port & { dims: number[] })[], outputs: Port[], models: Record<string, Partial<Record<'f32' | 'int8', string>>> }} Card
 *
 * @typedef {import('../catalog.mjs').Entry} Entry
 * @typedef {Pick<Entry, 'url' | 'inputs' | 'expect' | 'float'>} Task
 */

/**
 * What a page is to run in place of the ONNX model; nothing if there is no model of that kind.
 * @param {string} engine
 * @param {Entry} entry
 * @param {string} folder that `convert.py` has written to, served as `/converted/`
 * @returns {Task | undefined}
 */
export function task(engine, entry, folder) {
  const file = join(folder, entry.model, 'card.json')
  const kind = KINDS[entry.variant]
  if (kind === undefined || !existsSync(file)) return undefined
  /** @type {Card} */
  const card = JSON.parse(readFileSync(file, 'utf8'))
  const model = card.models[engine]?.[kind]
  const fits = card.inputs.every(({ name, dims }) =>
    entry.inputs.some((input) => input.name === name && input.dims.join() === dims.join()),
  )
  if (model === undefined || !fits) return undefined
  return {
    url: `/converted/${entry.model}/${model}`,
    inputs: renamed('in', card.inputs, entry.inputs),
    // Another quantization has other outputs: only the float32 model's say how good it is.
    expect: kind === 'f32' ? renamed('out', card.outputs, entry.expect) : [],
    float: renamed('out', card.outputs, entry.float),
  }
}

/**
 * The same tensors in their order and under the names in the converted model.
 * @param {string} prefix
 * @param {Port[]} ports
 * @param {import('../catalog.mjs').Stored[]} tensors
 */
function renamed(prefix, ports, tensors) {
  return ports.flatMap(({ name, nhwc }, i) => {
    const tensor = tensors.find((one) => one.name === name)
    return tensor === undefined ? [] : [{ ...tensor, name: `${prefix}${i}`, nhwc }]
  })
}
