/** What runs beside what, and loading all of it. */

import { sentenceOf } from '../src/format'
import { checkPorts } from './compare-formats'
import { load, type LoadJob, type Runner } from './engines'
import type { Experiment } from './experiment'
import type { Files } from './form'
import type { Jank, JankMeter } from './jank'
import { findFormats, findModel, type Source, type Variant } from './models'

export interface Side {
  readonly title: string
  readonly job: LoadJob
  /** Of which format of the model, where several are compared. */
  readonly variant?: Variant
}

/** A side that can run. */
export interface LoadedSide extends Side {
  readonly runner: Runner
  /** How smooth the page was meanwhile. */
  readonly loading: Jank
}

export async function sidesOf(experiment: Experiment, source: Source, files: Files): Promise<Side[]> {
  const { beside, form, variant, threads, worker } = experiment
  const usual = { engine: 'nearside', variant, threads, worker } as const
  const own = pick(source, form)
  const first: Side = { title: beside === 'model' ? source.title : 'Nearside', job: { ...usual, model: own } }
  switch (beside) {
    case 'nothing':
      return [first]
    case 'onnxruntime-web': {
      if (source.onnx === undefined)
        throw new Error('onnxruntime-web cannot read a plan; give the ONNX model to compare with it.')
      return [first, { title: 'onnxruntime-web', job: { ...usual, engine: 'onnxruntime-web', model: source.onnx } }]
    }
    case 'simd':
      return [first, { title: 'Nearside, SIMD', job: { ...usual, variant: 'simd', worker: true, model: own } }]
    case 'single':
      return [first, { title: 'Nearside, one thread', job: { ...usual, threads: 1, model: own } }]
    case 'threads': {
      if (!crossOriginIsolated)
        throw new Error(
          'This page is not cross-origin isolated, so models run on one thread: serve it with the headers COOP and COEP.',
        )
      const counts = [1, 2, 4, 8].filter((count) => count <= Math.max(2, navigator.hardwareConcurrency))
      return counts.map((count) => ({
        title: count === 1 ? 'One thread' : `${count} threads`,
        job: { ...usual, threads: count, worker: true, model: own },
      }))
    }
    case 'formats': {
      const variants = await findFormats(experiment.model, files.models)
      return variants.flatMap((one): Side[] => {
        const ours = { title: `${one.title}, Nearside`, job: { ...usual, model: pick(one, form) }, variant: one }
        if (one.onnx === undefined) return [ours]
        return [
          ours,
          { title: `${one.title}, onnxruntime-web`, job: { ...usual, engine: 'onnxruntime-web', model: one.onnx }, variant: one },
        ]
      })
    }
    case 'model': {
      const other = await findModel(experiment.other, files.other)
      return [first, { title: other.title, job: { ...usual, model: pick(other, form) } }]
    }
  }
}

/** The model's file in the form that the experiment asks for, or in the one that there is. */
export function pick({ title, onnx, plan }: Source, form: Experiment['form']): string | Blob {
  const found = form === 'plan' ? (plan ?? onnx) : (onnx ?? plan)
  if (found === undefined) throw new Error(`${title} has no file.`)
  return found
}

export interface Loading {
  readonly jank: JankMeter
  readonly signal: AbortSignal
  /** Called with the side that is being loaded, and how far all are. */
  readonly onFraction: (title: string, fraction: number) => void
}

/**
 * Loads one after the other into `loaded`, so that whoever called can dispose of them if one fails.
 * @returns why formats are left out, as sentences
 */
export async function loadSides(planned: readonly Side[], loaded: LoadedSide[], options: Loading): Promise<string[]> {
  const { jank, signal, onFraction } = options
  const failures: string[] = []
  for (const [i, side] of planned.entries()) {
    onFraction(side.title, i / planned.length)
    jank.start()
    let runner: Runner | undefined
    try {
      runner = await load(side.job, signal, (fraction) => {
        onFraction(side.title, (i + fraction) / planned.length)
      })
      if (side.variant !== undefined) checkPorts(runner, loaded[0]?.runner ?? runner)
      loaded.push({ ...side, runner, loading: jank.stop() })
    } catch (error) {
      jank.stop()
      runner?.dispose()
      // A format that one engine does not take is no reason to measure none.
      if (side.variant === undefined || signal.aborted || loaded.length === 0) throw error
      failures.push(`${side.title}: ${sentenceOf(error)}`)
    }
  }
  return failures
}
