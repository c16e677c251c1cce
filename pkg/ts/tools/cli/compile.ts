/** `nearside compile model.onnx -o model.plan` */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import process from 'node:process'

import { InputError } from '../../errors.js'
import { compileToPlan } from '../compiler/compile.js'
import { writeWhole } from '../compiler/write.js'
import { histogram } from './numbers.js'
import { withTicker, words } from './ticker.js'
import { dimensions, inputValues, parse, SETTLED } from './usage.js'

const HELP = `Usage: nearside compile MODEL.onnx [-o MODEL.plan] [--external-data DIR]
                        [--value NAME=VALUE]… [--dimension NAME=SIZE]…

Compiles an ONNX model to a plan, which pages load without the compiler.

  -o, --output FILE      Where the plan goes; beside the model, with the extension .plan, if not given
  --external-data DIR    Folder of the files in which the model keeps weights; the model's own if not given
  --value NAME=VALUE     Value of an input that decides shapes or branches, with commas between elements: the plan takes this one alone
  --dimension NAME=SIZE  Size of an open dimension, for a model that makes sense for some sizes only

A model that has no plan is an error that names the reason; pages can load the ONNX file itself.
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model', args, {
    output: { type: 'string', short: 'o' },
    'external-data': { type: 'string' },
    ...SETTLED,
  })
  if (parsed === undefined) return 0
  const { values, target: model } = parsed
  const output = values.output ?? `${model.replace(/\.[^./\\]*$/, '')}.plan`
  if (resolve(output) === resolve(model))
    throw new InputError(`The plan would take the place of ${model}; say where it goes with -o.`)
  const { description, plan } = await withTicker('starting the compiler', (step) =>
    compileToPlan({
      model,
      externalData: values['external-data'],
      values: inputValues(values.value ?? []),
      dimensions: [...dimensions(values.dimension ?? [])],
      onStep: (next) => step(words(next)),
    }),
  )
  await writeWhole(output, plan).catch((cause: unknown) => {
    throw new InputError(`The plan cannot be written to ${output} (${String(cause)}).`, { cause })
  })
  const bytes = plan.reduce((sum, piece) => sum + piece.length, 0)
  const { size } = await stat(model)
  process.stdout.write(`${output}: ${bytes} bytes, ${histogram(description.operators)}\n`)
  process.stdout.write(`${model}: ${size} bytes\n`)
  for (const note of description.notes) process.stdout.write(`note: ${note}\n`)
  return 0
}
