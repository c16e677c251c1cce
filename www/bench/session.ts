/** One experiment from models to result. */

import type { Port } from 'nearside'

import { comparedInputs, compareFormats } from './compare-formats'
import { drawnDigit } from './digit'
import { load, type LoadJob, type Runner } from './engines'
import type { Experiment } from './experiment'
import type { Files } from './form'
import { openDims, parseInputs, randomInputs, type Values } from './inputs'
import type { Jank, JankMeter } from './jank'
import { clockResolution, compare, quantile, race, type Times, topEntries } from './measure'
import { findModel, type Source } from './models'
import type { Peaks } from './peaks'
import { digitInputs, pictureInputs } from './picture'
import { checkSamples } from './reference'
import { byOperator, type Environment, peakFor, type Result, type SideResult } from './result'
import { noSound, soundInput, soundShape } from './sound'
import { type LoadedSide, loadSides, pick, sidesOf } from './sides'
import { supportOf } from './support'
import { type Visits, visitSides } from './visits'

declare const VERSIONS: Environment['versions']

/** How the experiment goes on. */
export interface Progress {
  /** What it is busy with, as a sentence. */
  readonly state: string
  readonly fraction: number
  /** The times so far, side by side. */
  readonly lanes?: readonly { readonly title: string; readonly samples: readonly number[] }[]
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

/** What every step needs. */
interface Context {
  readonly experiment: Experiment
  readonly source: Source
  readonly files: Files
  readonly jank: JankMeter
  readonly signal: AbortSignal
  readonly tell: (progress: Progress) => void
}

export async function runExperiment(
  experiment: Experiment,
  files: Files,
  jank: JankMeter,
  signal: AbortSignal,
  tell: (progress: Progress) => void,
): Promise<Found> {
  const source = await findModel(experiment.model, files.models[0])
  const planned = await sidesOf(experiment, source, files)
  const sides: LoadedSide[] = []
  const onFraction = (title: string, fraction: number): void => {
    tell({ state: `${title}: loading the model…`, fraction: LOADED * fraction })
  }
  try {
    const failures = await loadSides(planned, sides, { jank, signal, onFraction })
    return await measureSides({ experiment, source, files, jank, signal, tell }, sides, failures)
  } finally {
    for (const { runner } of sides) runner.dispose()
  }
}

async function measureSides(context: Context, sides: readonly LoadedSide[], failures: readonly string[]): Promise<Found> {
  const { experiment, source, files, signal, tell } = context
  const runners = sides.map(({ runner }) => runner)
  const [first] = runners
  if (first === undefined) throw new Error('There is nothing to measure.')
  const inputs = await inputsOf(experiment, source, files, first)
  const clock = clockResolution()
  const { times, running } = await raceSides(context, sides, inputs, clock)
  const nodes = (await first.profile(inputs, PROFILED_RUNS, signal)) ?? []
  const told = await first.explain()
  const formats = experiment.beside === 'formats'
  const kind = formats || experiment.model === 'digits' ? 'float' : 'int8'
  const reference = source.digits ? await checkSamples(first, kind, signal) : undefined
  const compared = formats ? await comparedInputs(experiment, source, files, inputs, first, signal) : []
  const agreements = formats ? await compareFormats(sides, runners, times, compared, signal) : []
  const memory = await Promise.all(runners.map((runner) => runner.memory()))
  const visits = await visitSides(sides, inputs, {
    signal,
    onSide: (title, fraction) => {
      tell({ state: `${title}: first prediction…`, fraction: RACED + (VISITED - RACED) * fraction })
    },
  })
  tell({ state: 'What the device can do…', fraction: VISITED })
  const peaks = await devicePeaks(signal)
  const [a, b] = [times[0], times.length > 1 ? times.at(-1) : undefined]
  const ours = sides.flatMap(({ variant, job }) => (variant !== undefined && job.engine === 'nearside' ? [variant.title] : []))
  const result: Result = {
    address: location.href,
    model: formats ? ours.join(', ') : source.title,
    experiment,
    environment: environment(clock),
    inputs: Object.entries(inputs).map(([name, { type, dims }]) => ({ name, type, dims })),
    sides: sides.map((side, i) => resultOf(side, times[i], memory[i] ?? 0, visits[i])),
    formats: agreements,
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
}

async function raceSides(
  { experiment: { n, rounds }, jank, signal, tell }: Context,
  sides: readonly LoadedSide[],
  inputs: Values,
  resolution: number,
): Promise<{ readonly times: readonly Times[]; readonly running: Jank }> {
  tell({ state: 'Warming up…', fraction: LOADED })
  jank.start()
  const onRound = (round: number, soFar: readonly Times[]): void => {
    tell({
      state: `Round ${round} of ${rounds}…`,
      fraction: LOADED + ((RACED - LOADED) * round) / rounds,
      lanes: soFar.map(({ samples }, i) => ({ title: sides[i]?.title ?? '', samples })),
    })
  }
  const runners = sides.map(({ runner }) => runner)
  const times = await race(runners, inputs, { n, rounds, resolution, signal, onRound })
  return { times, running: jank.stop() }
}

function resultOf(side: LoadedSide, times: Times | undefined, memory: number, visits: Visits | undefined): SideResult {
  const { title, job, runner, loading } = side
  if (times === undefined) throw new Error(`${title} was not measured.`)
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
    memory,
    notes: runner.notes,
    top: topEntries(answer.outputs),
    cold: visits?.cold,
    warm: visits?.warm,
    loading,
    threads: job.threads,
  }
}

function environment(clock: number): Environment {
  return {
    time: new Date().toISOString(),
    agent: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    isolated: crossOriginIsolated,
    clock,
    versions: VERSIONS,
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

export async function inputsOf(experiment: Experiment, source: Source, files: Files, { ports }: Runner): Promise<Values> {
  const shape = files.sound === undefined ? undefined : soundShape(ports, experiment.dims)
  if (files.sound !== undefined && shape !== undefined) {
    // What lies beside the sound, such as a state, is as without it.
    const others = ports.filter(({ name }) => name !== shape.name)
    return { ...(await givenInputs(experiment, files, others)), ...soundInput(files.sound, shape) }
  }
  if (files.picture !== undefined)
    return source.digits ? digitInputs(files.picture) : pictureInputs(files.picture, ports, experiment.dims)
  if (files.sound !== undefined) throw noSound(ports)
  if (files.inputs !== undefined) return givenInputs(experiment, files, ports)
  if (source.digits && Object.keys(experiment.dims).length === 0) {
    const data = drawnDigit()
    if (data !== undefined) return { image: { type: 'float32', dims: [1, 1, 28, 28], data } }
  }
  const unknown = Object.keys(experiment.dims).filter((name) => !openDims(ports).includes(name))
  if (unknown.length > 0) {
    const open = openDims(ports).join(', ')
    throw new Error(`The model has no open dimension '${unknown.join("', '")}'; it has ${open === '' ? 'none' : open}.`)
  }
  return givenInputs(experiment, files, ports)
}

/** From the visitor's file, or random. */
async function givenInputs({ dims, seed }: Experiment, { inputs }: Files, ports: readonly Port[]): Promise<Values> {
  return inputs === undefined ? randomInputs(ports, dims, seed) : parseInputs(await inputs.text(), ports, dims)
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
