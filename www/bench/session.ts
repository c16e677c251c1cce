/** One experiment from models to result. */

import { Rasterizer } from '../src/drawing'
import { EXAMPLES } from '../src/examples'
import { sentenceOf } from '../src/format'
import { prepare } from '../src/ink'
import { load, type LoadJob, type Runner } from './engines'
import type { Experiment } from './experiment'
import { type First, measureFirst } from './first'
import type { Files } from './form'
import { openDims, parseInputs, randomInputs, type Values } from './inputs'
import type { Jank, JankMeter } from './jank'
import { checkPorts, comparedInputs, compareFormats } from './compare-formats'
import { clockResolution, compare, quantile, race, type Times, topEntries } from './measure'
import { findFormats, findModel, type Source, type Variant } from './models'
import type { Peaks } from './peaks'
import { checkSamples } from './reference'
import { byOperator, type Environment, peakFor, type Result, type SideResult } from './result'
import { supportOf } from './support'

declare const VERSIONS: Environment['versions']

/** How the experiment goes on. */
export interface Progress {
  /** What it is busy with, as a sentence. */
  readonly state: string
  readonly fraction: number
  /** The times so far, side by side. */
  readonly lanes?: readonly { readonly title: string; readonly samples: readonly number[] }[]
}

interface Side {
  readonly title: string
  readonly job: LoadJob
  /** Of which format of the model, where several are compared. */
  readonly variant?: Variant
}

/** An experiment's result, and the plan of its first model. */
export interface Found {
  readonly result: Result
  readonly plan: Blob | undefined
}

/** Parts of the progress: loading, rounds, first predictions, the device. */
const LOADED = 0.2
const RACED = 0.7
const VISITED = 0.95
const PROFILED_RUNS = 20
const DIGIT = 3

export async function runExperiment(
  experiment: Experiment,
  files: Files,
  jank: JankMeter,
  signal: AbortSignal,
  tell: (progress: Progress) => void,
): Promise<Found> {
  const source = await findModel(experiment.model, files.models[0])
  const planned = await sidesOf(experiment, source, files)
  const formats = experiment.beside === 'formats'
  const sides: Side[] = []
  const failures: string[] = []
  const clock = clockResolution()
  const runners: Runner[] = []
  try {
    const loading: Jank[] = []
    for (const [i, side] of planned.entries()) {
      const { title, job } = side
      const onFraction = (fraction: number): void => {
        tell({ state: `${title}: loading the model…`, fraction: (LOADED * (i + fraction)) / planned.length })
      }
      onFraction(0)
      jank.start()
      try {
        const runner = await load(job, signal, onFraction)
        runners.push(runner)
        if (formats) checkPorts(runner, runners[0])
        sides.push(side)
        loading.push(jank.stop())
      } catch (error) {
        // A format that one engine does not take is no reason to measure none.
        if (!formats || signal.aborted || sides.length === 0) throw error
        runners.splice(sides.length).forEach((runner) => {
          runner.dispose()
        })
        failures.push(`${title}: ${sentenceOf(error)}`)
      }
    }
    const inputs = await inputsOf(experiment, source, files, runners[0])
    tell({ state: 'Warming up…', fraction: LOADED })
    jank.start()
    const times = await race(runners, inputs, {
      ...{ n: experiment.n, rounds: experiment.rounds, resolution: clock, signal },
      onRound: (round, soFar) => {
        tell({
          state: `Round ${round} of ${experiment.rounds}…`,
          fraction: LOADED + ((RACED - LOADED) * round) / experiment.rounds,
          lanes: soFar.map(({ samples }, i) => ({ title: sides[i]?.title ?? '', samples })),
        })
      },
    })
    const running = jank.stop()
    const nodes = (await runners[0]?.profile(inputs, PROFILED_RUNS, signal)) ?? []
    const told = await runners[0]?.explain()
    const reference =
      source.digits && runners[0] !== undefined
        ? await checkSamples(runners[0], formats || experiment.model === 'digits' ? 'float' : 'int8', signal)
        : undefined
    const compared = formats
      ? await compareFormats(
          sides,
          runners,
          times,
          await comparedInputs(experiment, source, files, inputs, runners[0], signal),
          signal,
        )
      : []
    const memory = await Promise.all(runners.map((runner) => runner.memory()))
    // Of many sides the first predictions would take minutes.
    const visits = formats ? [] : await visitsOf(sides, inputs, signal, tell)
    const [a, b] = [times[0], times.length > 1 ? times.at(-1) : undefined]
    tell({ state: 'What the device can do…', fraction: VISITED })
    const peaks = await devicePeaks(signal)
    const result: Result = {
      address: location.href,
      model: formats
        ? sides
            .flatMap(({ variant, job }) => (variant !== undefined && job.engine === 'nearside' ? [variant.title] : []))
            .join(', ')
        : source.title,
      experiment,
      environment: {
        time: new Date().toISOString(),
        agent: navigator.userAgent,
        cores: navigator.hardwareConcurrency,
        isolated: crossOriginIsolated,
        clock,
        versions: VERSIONS,
      },
      inputs: Object.entries(inputs).map(([name, { type, dims }]) => ({ name, type, dims })),
      sides: sides.map(({ title }, i) => {
        const [runner, own] = [runners[i], times[i]]
        if (runner === undefined || own === undefined) throw new Error(`${title} was not measured.`)
        const { cold, warm } = visits[i] ?? {}
        return {
          ...summary(title, runner, own),
          ...{ memory: memory[i] ?? 0, cold, warm, loading: loading[i] ?? running, threads: sides[i]?.job.threads },
        }
      }),
      formats: compared,
      failures,
      differences: formats || a === undefined || b === undefined ? [] : compare(a.answer.outputs, b.answer.outputs),
      running,
      peaks,
      support: told && supportOf(told.explanation),
      reference,
      operators: byOperator(nodes, told === undefined ? undefined : peakFor(told.explanation.nodes, told.engine, peaks)),
      nodes: nodes.map(({ name, op, dims, macs, min, mean }) => ({ name, op, dims, macs, ms: min > 0 ? min : mean })),
    }
    return { result, plan: told?.explanation.plan }
  } finally {
    for (const runner of runners) runner.dispose()
  }
}

/** Loads the experiment's first side alone. */
export async function open(
  experiment: Experiment,
  files: Files,
  signal: AbortSignal,
): Promise<{ readonly runner: Runner; readonly inputs: Values }> {
  const source = await findModel(experiment.model, files.models[0])
  const { variant, threads, worker } = experiment
  const job: LoadJob = { engine: 'nearside', variant, threads, worker, model: pick(source, experiment.form) }
  const runner = await load(job, signal, () => {})
  try {
    return { runner, inputs: await inputsOf(experiment, source, files, runner) }
  } catch (error) {
    runner.dispose()
    throw error
  }
}

function summary(
  title: string,
  runner: Runner,
  times: Times,
): Omit<SideResult, 'memory' | 'cold' | 'warm' | 'loading' | 'threads'> {
  const { samples, compute, first, batch, answer } = times
  return {
    title,
    description: runner.description,
    load: runner.loadMs,
    firstRun: first,
    p10: quantile(samples, 0.1),
    median: quantile(samples, 0.5),
    p90: quantile(samples, 0.9),
    compute: compute.length === 0 ? undefined : quantile(compute, 0.5),
    samples,
    batch,
    notes: runner.notes,
    top: topEntries(answer.outputs),
  }
}

async function sidesOf(experiment: Experiment, source: Source, files: Files): Promise<Side[]> {
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

function pick({ title, onnx, plan }: Source, form: Experiment['form']): string | Blob {
  const found = form === 'plan' ? (plan ?? onnx) : (onnx ?? plan)
  if (found === undefined) throw new Error(`${title} has no file.`)
  return found
}

async function inputsOf(experiment: Experiment, source: Source, files: Files, runner: Runner | undefined): Promise<Values> {
  const ports = runner?.ports ?? []
  if (files.inputs !== undefined) return parseInputs(await files.inputs.text(), ports, experiment.dims)
  if (source.digits && Object.keys(experiment.dims).length === 0) {
    const data = prepare(new Rasterizer().raster(EXAMPLES[DIGIT] ?? []))
    if (data !== undefined) return { image: { type: 'float32', dims: [1, 1, 28, 28], data } }
  }
  const unknown = Object.keys(experiment.dims).filter((name) => !openDims(ports).includes(name))
  if (unknown.length > 0) {
    const open = openDims(ports).join(', ')
    throw new Error(`The model has no open dimension '${unknown.join("', '")}'; it has ${open === '' ? 'none' : open}.`)
  }
  return randomInputs(ports, experiment.dims, experiment.seed)
}

type Visits = { readonly cold: First; readonly warm: First }

async function visitsOf(
  sides: readonly Side[],
  inputs: Values,
  signal: AbortSignal,
  tell: (progress: Progress) => void,
): Promise<Visits[]> {
  const out: Visits[] = []
  for (const [i, { title, job }] of sides.entries()) {
    tell({ state: `${title}: first prediction…`, fraction: RACED + ((VISITED - RACED) * i) / sides.length })
    const visit = (fresh: string | undefined): Promise<First> => measureFirst({ ...job, inputs, fresh }, signal)
    const cold = await visit(crypto.randomUUID())
    // The visit that fills the caches is not counted.
    await visit(undefined)
    out.push({ cold, warm: await visit(undefined) })
  }
  return out
}

function devicePeaks(signal: AbortSignal): Promise<Peaks> {
  const worker = new Worker(new URL('./peaks-worker.ts', import.meta.url), { type: 'module' })
  return new Promise<Peaks>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Peaks>) => {
      resolve(data)
    }
    worker.onerror = ({ message }) => {
      reject(new Error(`The device could not be measured: ${message}`))
    }
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error)
    })
  }).finally(() => {
    worker.terminate()
  })
}
