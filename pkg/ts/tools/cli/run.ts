/** `nearside run model --input image=digit.npy` */

import process from 'node:process'

import { Model } from '../../index.js'
import type { NodeProfile } from '../../explanation.js'
import type { LoadOptions, RunTiming } from '../../types.js'
import { readInputs } from './inputs.js'
import { outputJson, outputText, profileText } from './report.js'
import { withTicker } from './ticker.js'
import { parse, wholeNumber } from './usage.js'

const HELP = `Usage: nearside run MODEL [--input NAME=FILE]… [--runs N] [--profile] [--threads N] [--elements N] [--json]

Runs an ONNX model or a plan with the package's WebAssembly and prints its outputs.

  -i, --input NAME[:SHAPE]=FILE   An input: a .npy file, or raw little-endian bytes; random or zeros in place of a file.
                                  SHAPE, such as 1x3x224x224, where the model leaves it open. Inputs not given are zeros
  --runs N                        Run N times and print the median and the fastest time
  --profile                       What each operator and the slowest nodes took, in the fastest of the runs
  --threads N                     Threads that share the work; 1 if not given
  --elements N                    How many of each output's elements to print; 16 if not given
  --json                          For programs
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the path of an ONNX model or plan', args, {
    input: { type: 'string', short: 'i', multiple: true },
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
  using model = await withTicker(`loading ${target}`, (step) =>
    Model.load(target, { ...options, onProgress: ({ phase }) => step(`${PHASES[phase]} ${target}`) }),
  )
  const feeds = await readInputs(model.inputs, values.input ?? [])
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

const PHASES = { download: 'reading', compile: 'compiling', bind: 'preparing', ready: 'running' } as const
