/** `nearside inspect model.onnx --passes` */

import { basename } from 'node:path'
import process from 'node:process'

import { InputError, InternalError } from '../../errors.js'
import { compile, compileToPlan } from '../compiler/compile.js'
import { writeWhole } from '../compiler/write.js'
import { measured, pageOf } from './page.js'
import { withTicker, words } from './ticker.js'
import { dimensions, parse, UsageError } from './usage.js'

const HELP = `Usage: nearside inspect MODEL [--passes] [--graph | --json] [--external-data DIR]
       nearside inspect MODEL --html FILE [--dimension NAME=SIZE]…

Prints the inputs, outputs and operators of an ONNX model or a plan.

  --passes               What each pass of the compiler did
  --graph                The whole graph, a node per line
  --json                 For programs
  --html FILE            Draw the graph before and after the compiler, with time per node, in a page of one file
  --dimension NAME=SIZE  Size of an open dimension for the page's times; 1 if not given
  --external-data DIR    Folder of the files in which the model keeps weights; the model's own if not given
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model or plan', args, {
    passes: { type: 'boolean' },
    graph: { type: 'boolean' },
    json: { type: 'boolean' },
    html: { type: 'string' },
    dimension: { type: 'string', multiple: true },
    'external-data': { type: 'string' },
  })
  if (parsed === undefined) return 0
  const { values, target: model } = parsed
  const { passes, graph, json } = values
  if (graph === true && json === true) throw new UsageError('Give --graph or --json, not both.')
  if (values.html !== undefined && (graph ?? json ?? passes) !== undefined)
    throw new UsageError('Give --html alone: the page holds the passes and the graph.')
  if (values.dimension !== undefined && values.html === undefined)
    throw new UsageError('--dimension is for the times of --html; leave it out, or give --html FILE.')
  if (values.html !== undefined) return draw(model, values.html, dimensions(values.dimension ?? []), values['external-data'])
  const { description, text } = await withTicker('starting the compiler', (step) =>
    compile({ model, externalData: values['external-data'], text: { passes, graph }, onStep: (next) => step(words(next)) }),
  )
  if (json !== true) {
    process.stdout.write(text ?? '')
    return 0
  }
  const { passes: changes, ...rest } = description
  process.stdout.write(`${JSON.stringify(passes === true ? { ...rest, passes: changes } : rest, undefined, 2)}\n`)
  return 0
}

/** Writes the page. */
async function draw(
  model: string,
  file: string,
  sizes: ReadonlyMap<string, number>,
  externalData: string | undefined,
): Promise<number> {
  const { description, drawing, plan } = await withTicker('starting the compiler', (step) =>
    compileToPlan({ model, externalData, drawing: true, onStep: (next) => step(words(next)) }),
  )
  if (drawing === undefined) throw new InternalError('The compiler gave no drawing of a plan; please report this with the model.')
  const timed = await withTicker(`running ${model}`, () => measured(plan, drawing, sizes))
  const page = await pageOf({ title: basename(model), description, drawing, timed })
  await writeWhole(file, [new TextEncoder().encode(page)]).catch((cause: unknown) => {
    throw new InputError(`The file ${file} cannot be written (${String(cause)}).`, { cause })
  })
  process.stdout.write(`${file}: ${drawing.before.nodes.length} ONNX nodes, ${drawing.after.nodes.length} of the plan\n`)
  return 0
}
