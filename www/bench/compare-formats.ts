/** The formats of one model after a race: what they weigh, and their answers beside those of the first. */

import type { LoadJob, Runner } from './engines'
import type { Experiment } from './experiment'
import type { Files } from './form'
import { Comparison, type FormatResult, weigh } from './formats'
import { randomInputs, type Values } from './inputs'
import { quantile, type Times } from './measure'
import type { Source, Variant } from './models'
import { digitSamples } from './reference'

/** One format on one engine. */
export interface FormatSide {
  readonly job: LoadJob
  readonly variant?: Variant
}

/** Inputs by which they are compared, and for how many milliseconds at most. */
const COMPARED_INPUTS = 16
const COMPARED_MS = 5000

/** Formats of one model have the same inputs; onnxruntime-web's side does not tell. */
export function checkPorts({ ports }: Runner, first: Runner): void {
  const names = (ports: Runner['ports']): string => ports.map(({ name, type }) => `${name} ${type}`).join(', ')
  const [own, wanted] = [names(ports), names(first.ports)]
  if (ports.length > 0 && own !== wanted)
    throw new Error(`its inputs are ${own}, those of the first file ${wanted}; give formats of one model.`)
}

/** Inputs by which answers are compared: the digit samples, the visitor's own, or several random ones. */
export async function comparedInputs(
  experiment: Experiment,
  source: Source,
  files: Files,
  inputs: Values,
  runner: Runner | undefined,
  signal: AbortSignal,
): Promise<Values[]> {
  if ((files.inputs ?? files.picture ?? files.sound) !== undefined) return [inputs]
  if (source.digits) return (await digitSamples(signal)).map((sample) => sample.inputs)
  const random = (_: unknown, i: number): Values => randomInputs(runner?.ports ?? [], experiment.dims, experiment.seed + i)
  return Array.from({ length: COMPARED_INPUTS }, random)
}

/** The first side's answers beside those of all others. */
export async function compareFormats(
  sides: readonly FormatSide[],
  runners: readonly Runner[],
  times: readonly Times[],
  inputs: readonly Values[],
  signal: AbortSignal,
): Promise<FormatResult[]> {
  const comparisons = runners.map(() => new Comparison())
  const begun = performance.now()
  for (const [i, values] of inputs.entries()) {
    if (i > 0 && performance.now() - begun > COMPARED_MS) break
    let reference: Values | undefined
    for (const [at, runner] of runners.entries()) {
      signal.throwIfAborted()
      const { outputs } = await runner.run(values)
      reference ??= outputs
      comparisons[at]?.add(reference, outputs)
    }
  }
  return Promise.all(
    sides.map(async ({ variant, job }, i): Promise<FormatResult> => {
      const samples = times[i]?.samples ?? []
      return {
        ...{ title: variant?.title ?? '', format: variant?.format ?? 'float' },
        engine: job.engine === 'nearside' ? 'Nearside' : 'onnxruntime-web',
        ...{ p10: quantile(samples, 0.1), median: quantile(samples, 0.5), p90: quantile(samples, 0.9) },
        ...(await weigh(job.model, signal)),
        agreement: i === 0 ? undefined : comparisons[i]?.agreement,
      }
    }),
  )
}
