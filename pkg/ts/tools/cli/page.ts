/** The page of `inspect --html`: a file that needs nothing else, with the graph before and after the compiler, and time per node. */

import { readFile } from 'node:fs/promises'

import { Model } from '../../index.js'
import { STORAGE, Tensor } from '../../tensor.js'
import type { Port } from '../../types.js'
import type { Demand, Description, DrawnNode, Drawing } from '../compiler/job.js'
import { PAGE } from '../package-files.js'
import { demandedTensor } from './inputs.js'
import { UsageError } from './usage.js'

/** Runs of which the fastest times are shown. */
const RUNS = 10

/** A node of the plan, with what it takes: milliseconds, multiply-accumulates, bytes. */
type Timed = DrawnNode & { readonly ms?: number; readonly macs?: number; readonly bytes?: number }

/** What a page is made of. */
export interface PageParts {
  readonly title: string
  readonly description: Pick<Description, 'notes' | 'passes'>
  readonly drawing: Drawing
  /** Nodes of `drawing.after` with their times, or why there are none. */
  readonly timed: readonly Timed[] | Error
}

/** The page's text; `nearside inspect --html` of the native tool fills the same template with data of the same form. */
export async function pageOf({ title, description, drawing, timed }: PageParts): Promise<string> {
  const failed = timed instanceof Error
  const notes = failed ? [...description.notes, `It was not run: ${timed.message}`] : description.notes
  const after = failed ? drawing.after : { ...drawing.after, nodes: timed }
  const data = { title, notes, passes: description.passes, before: drawing.before, after }
  // Nothing in the data may end the script element that holds it.
  const json = JSON.stringify(data).replaceAll('<', String.raw`\u003c`)
  return (await readFile(PAGE, 'utf8')).replace('DATA', () => json)
}

/** Runs a plan with the values that it is for, and else zeros, and gives the nodes with their times; an error, where it cannot be run like that. */
export async function measured(
  plan: readonly Uint8Array<ArrayBuffer>[],
  { after }: Drawing,
  sizes: ReadonlyMap<string, number>,
  demands: readonly Demand[],
): Promise<readonly Timed[] | Error> {
  try {
    using model = await Model.load(new Blob([...plan]), { worker: true, threads: 1, cache: false, onWarning: () => {} })
    const feeds = Object.fromEntries(model.inputs.map((port) => [port.name, demandedTensor(port, demands) ?? zeros(port, sizes)]))
    const nodes: Timed[] = [...after.nodes]
    for (const { index, min, macs, bytes } of await model.profile(feeds, { runs: RUNS })) {
      const node = nodes[index]
      if (node !== undefined) nodes[index] = { ...node, ms: min, macs, bytes }
    }
    return nodes
  } catch (error) {
    return error as Error
  }
}

function zeros({ name, type, dims }: Port, sizes: ReadonlyMap<string, number>): Tensor {
  const shape = dims.map((dim) => (typeof dim === 'number' ? dim : (sizes.get(dim) ?? 1)))
  if (type === 'string') throw new UsageError(`Input '${name}' takes strings.`)
  return new Tensor(type, new STORAGE[type](shape.reduce((n, d) => n * d, 1)), shape)
}
