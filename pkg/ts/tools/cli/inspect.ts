/** `nearside inspect model.onnx --passes` */

import { basename } from 'node:path'
import process from 'node:process'

import { InputError, InternalError } from '../../errors.js'
import { compile, type CompileOptions, compileToPlan } from '../compiler/compile.js'
import { writeWhole } from '../compiler/write.js'
import { measured, pageOf } from './page.js'
import { withTicker, words } from './ticker.js'
import { dimensions, inputValues, parse, SETTLED, UsageError } from './usage.js'

const HELP = `Usage: nearside inspect MODEL [--passes] [--graph | --json] [--external-data DIR]
       nearside inspect MODEL --html FILE [--dimension NAME=SIZE]… [--value NAME=VALUE]…

Prints the inputs, outputs and operators of an ONNX model or a plan.

  --passes               What each pass of the compiler did
  --graph                The whole graph, a node per line
  --json                 For programs
  --html FILE            Draw the graph before and after the compiler, with time per node, in a page of one file
  --dimension NAME=SIZE  Size of an open dimension for the page's times; 1 if not given. A model that has a plan for some sizes only is
                         compiled for these
  --value NAME=VALUE     Value of an input for which an ONNX model is compiled before it is drawn, as for compile
  --external-data DIR    Folder of the files in which the model keeps weights; the model's own if not given
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model or plan', args, {
    passes: { type: 'boolean' },
    graph: { type: 'boolean' },
    json: { type: 'boolean' },
    html: { type: 'string' },
    ...SETTLED,
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
  if (values.value !== undefined && values.html === undefined)
    throw new UsageError('--value is for --html; give --html FILE, or compile the model with it and inspect the plan.')
  if (values.html !== undefined) {
    const job = { model, externalData: values['external-data'], values: inputValues(values.value ?? []) }
    return draw(job, values.html, dimensions(values.dimension ?? []))
  }
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
  job: Pick<CompileOptions, 'model' | 'externalData' | 'values'>,
  file: string,
  sizes: ReadonlyMap<string, number>,
): Promise<number> {
  const { model } = job
  const { description, demands, drawing, plan } = await withTicker('starting the compiler', (step) => {
    const options: CompileOptions = { ...job, drawing: true, onStep: (next) => step(words(next)) }
    return compileToPlan(options).catch((error: unknown) => {
      if (sizes.size === 0) throw error
      return compileToPlan({ ...options, dimensions: [...sizes] })
    })
  })
  if (drawing === undefined) throw new InternalError('The compiler gave no drawing of a plan; please report this with the model.')
  const timed = await withTicker(`running ${model}`, () => measured(plan, drawing, sizes, demands))
  const page = await pageOf({ title: basename(model), description, drawing, timed })
  await writeWhole(file, [new TextEncoder().encode(page)]).catch((cause: unknown) => {
    throw new InputError(`The file ${file} cannot be written (${String(cause)}).`, { cause })
  })
  process.stdout.write(`${file}: ${drawing.before.nodes.length} ONNX nodes, ${drawing.after.nodes.length} of the plan\n`)
  return 0
}
