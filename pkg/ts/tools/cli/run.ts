/** `nearside run model --input image=digit.npy` */

import process from 'node:process'

import { Model } from '../../index.js'
import type { NodeProfile } from '../../explanation.js'
import type { LoadOptions, RunTiming } from '../../types.js'
import { compile, compileToPlan } from '../compiler/compile.js'
import type { Demand } from '../compiler/job.js'
import { readInputs } from './inputs.js'
import { outputJson, outputText, profileText } from './report.js'
import { withTicker, words } from './ticker.js'
import { dimensions, inputValues, parse, SETTLED, wholeNumber } from './usage.js'

const HELP = `Usage: nearside run MODEL [--input NAME=FILE]… [--value NAME=VALUE]… [--dimension NAME=SIZE]…
                    [--runs N] [--profile] [--threads N] [--elements N] [--json]

Runs an ONNX model or a plan with the package's WebAssembly and prints its outputs.

  -i, --input NAME[:SHAPE]=FILE   An input: a .npy file, or raw little-endian bytes; random or zeros in place of a file.
                                  SHAPE, such as 1x3x224x224, where the model leaves it open. Inputs not given are zeros, or the value
                                  that the plan is for
  --value NAME=VALUE              Compile an ONNX model for this value of an input, as compile does, and run the plan
  --dimension NAME=SIZE           And for this size of an open dimension
  --runs N                        Run N times and print the median and the fastest time
  --profile                       What each operator and the slowest nodes took, in the fastest of the runs
  --threads N                     Threads that share the work; 1 if not given
  --elements N                    How many of each output's elements to print; 16 if not given
  --json                          For programs
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model or plan', args, {
    input: { type: 'string', short: 'i', multiple: true },
    ...SETTLED,
    runs: { type: 'string' },
    profile: { type: 'boolean' },
    threads: { type: 'string' },
    elements: { type: 'string' },
    json: { type: 'boolean' },
  })
  if (parsed === undefined) return 0
  const { values, target } = parsed
  const runs = wholeNumber('runs', values.runs, 1)
  const elements = wholeNumber('elements', values.elements, 16, 0)
  const options: LoadOptions = {
    threads: wholeNumber('threads', values.threads, 1, 1, 64),
    cache: false,
    // This thread tells how it goes.
    worker: true,
    onWarning: (message) => process.stderr.write(`warning: ${message}\n`),
  }
  const job = { model: target, values: inputValues(values.value ?? []), dimensions: [...dimensions(values.dimension ?? [])] }
  const settled =
    job.values.length + job.dimensions.length > 0
      ? await withTicker('starting the compiler', (step) => compileToPlan({ ...job, onStep: (next) => step(words(next)) }))
      : undefined
  using model = await withTicker(`loading ${target}`, (step) =>
    Model.load(settled === undefined ? target : new Blob([...settled.plan]), {
      ...options,
      onProgress: ({ phase }) => step(`${PHASES[phase]} ${target}`),
    }),
  )
  const feeds = await readInputs(model.inputs, values.input ?? [], settled?.demands ?? (await demandsOf(target, model)))
  const { outputs, times, profile } = await withTicker(`running ${target}`, async () => {
    const times: number[] = []
    const onTiming = ({ compute, total }: RunTiming): void => void times.push(compute ?? total)
    let outputs = await model.run(feeds, { onTiming })
    for (let n = 1; n < runs; n++) outputs = await model.run(feeds, { onTiming })
    const profile: NodeProfile[] | undefined = values.profile === true ? await model.profile(feeds, { runs }) : undefined
    return { outputs, times: times.sort((a, b) => a - b), profile }
  })
  const median = times[Math.floor(times.length / 2)] ?? 0
  const fastest = times[0] ?? 0
  if (values.json === true) {
    const { variant, threads, integerPath, fallbackOperators } = model.engine
    const report = {
      model: target,
      engine: { variant, threads, integerPath, fallbackOperators },
      milliseconds: { load: model.timings.total, median, fastest, runs },
      outputs: Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, outputJson(value, elements)])),
      ...(profile === undefined ? {} : { profile }),
    }
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`)
    return 0
  }
  process.stdout.write(`median ${median.toFixed(3)} ms, fastest ${fastest.toFixed(3)} ms\n`)
  for (const [name, value] of Object.entries(outputs)) process.stdout.write(outputText(name, value, elements))
  if (profile !== undefined) process.stdout.write(profileText(profile))
  return 0
}

/** What a plan demands of its inputs; the compiler is asked only where a note says that there is something. */
async function demandsOf(target: string, model: Model): Promise<readonly Demand[]> {
  const { notes } = await model.explain()
  return notes.some((note) => / must be /.test(note)) ? (await compile({ model: target })).demands : []
}

const PHASES = { download: 'reading', compile: 'compiling', bind: 'preparing', ready: 'running' } as const
