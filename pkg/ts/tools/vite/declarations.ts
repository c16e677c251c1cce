/** TypeScript's declarations of an imported model: `Model.load(model)` then knows its inputs and outputs by name. */

import type { Port } from '../../types.js'
import type { CompiledModel } from './plans.js'

/** The text of `NAME.onnx.d.ts`. */
export function declarations(name: string, { description, demands }: Pick<CompiledModel, 'description' | 'demands'>): string {
  const { inputs, outputs } = description
  const given = inputs.map((port) => member(port, `FeedOf<'${port.type}'>`, demands[port.name]))
  const got = outputs.map((port) => member(port, OUTPUT_KINDS[port.kind ?? 'tensor'] ?? `Tensor<'${port.type}'>`))
  // A model with one input also takes the bare value.
  const [only] = inputs
  const bare = inputs.length === 1 && only !== undefined ? ` | FeedOf<'${only.type}'>` : ''
  const used = `${given.join()}${got.join()}${bare}`
  const names = ['FeedOf', 'OutputValue', 'Tensor'].filter((name) => new RegExp(`\\b${name}\\b`).test(used))
  return `/* eslint-disable */
// Inputs and outputs of ${name}, written by nearside/vite.
import type { ${['ModelAddress', 'Port', ...names].sort().join(', ')} } from 'nearside'

export type Feeds = {
${given.join('\n')}
}${bare}

export type Outputs = {
${got.join('\n')}
}

/** Sha-256 of the plan, for the option \`integrity\` of \`Model.load\`. */
export declare const integrity: string
export declare const inputs: readonly Port[]
export declare const outputs: readonly Port[]

/** The plan's address. */
declare const address: ModelAddress<Feeds, Outputs>
export default address
`
}

const OUTPUT_KINDS: { readonly [kind: string]: string } = {
  sequence: 'readonly OutputValue[]',
  optional: 'OutputValue',
  map: 'ReadonlyMap<string | number, number | bigint | string>',
}

function member(port: Port, type: string, demanded?: string): string {
  const shape = port.dims.length === 0 ? 'a scalar' : port.dims.join('×')
  const told = `${port.type}, ${shape}${demanded === undefined ? '' : `; must be ${demanded}, for which the plan was compiled`}`
  // Names come from the model's file, and are no place for the end of a comment.
  const comment = port.kind === undefined ? `  /** ${told.replaceAll('*/', '* /').replace(/\s+/g, ' ')} */\n` : ''
  const name = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(port.name) ? port.name : JSON.stringify(port.name)
  return `${comment}  readonly ${name}: ${type}`
}
