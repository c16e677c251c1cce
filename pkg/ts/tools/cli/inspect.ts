/** `nearside inspect model.onnx --passes` */

import process from 'node:process'

import { compile } from '../compiler/compile.js'
import { withTicker, words } from './ticker.js'
import { parse, UsageError } from './usage.js'

const HELP = `Usage: nearside inspect MODEL [--passes] [--graph | --json] [--external-data DIR]

Prints the inputs, outputs and operators of an ONNX model or a plan.

  --passes               What each pass of the compiler did
  --graph                The whole graph, a node per line
  --json                 For programs
  --external-data DIR    Folder of the files in which the model keeps weights; the model's own if not given
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model or plan', args, {
    passes: { type: 'boolean' },
    graph: { type: 'boolean' },
    json: { type: 'boolean' },
    'external-data': { type: 'string' },
  })
  if (parsed === undefined) return 0
  const { values, target: model } = parsed
  const { passes, graph, json } = values
  if (graph === true && json === true) throw new UsageError('Give --graph or --json, not both.')
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
