/** What an experiment found, and the same as text. */

import type { EngineInfo, GraphNode, NodeProfile } from 'nearside'

import { formatBytes, formatMs, formatRatio } from '../src/format'
import type { Experiment } from './experiment'
import type { First } from './first'
import { describeFastest, type FormatResult, formatLines } from './formats'
import type { Jank } from './jank'
import type { Difference } from './measure'
import type { Peaks } from './peaks'
import type { Reference } from './reference'
import { describeSupport, type Support } from './support'

/** One side; times in milliseconds, memory in bytes. */
export interface SideResult {
  readonly title: string
  readonly description: string
  readonly load: number
  readonly firstRun: number
  readonly p10: number
  readonly median: number
  readonly p90: number
  /** The median part of a run that was computing, where the engine tells. */
  readonly compute: number | undefined
  readonly samples: readonly number[]
  /** Runs per sample. */
  readonly batch: number
  readonly memory: number
  readonly notes: readonly string[]
  readonly top: readonly { readonly index: number; readonly value: number }[]
  readonly cold: First | undefined
  readonly warm: First | undefined
  readonly loading: Jank
  /** Threads that were asked for; 0 where the engine chose. */
  readonly threads: number | undefined
}

export interface Environment {
  readonly time: string
  readonly agent: string
  readonly cores: number
  readonly isolated: boolean
  /** Smallest step of the page's clock, in milliseconds. */
  readonly clock: number
  readonly versions: { readonly nearside: string; readonly 'onnxruntime-web': string }
}

export interface Result {
  readonly address: string
  /** The first side's model. */
  readonly model: string
  readonly experiment: Experiment
  readonly environment: Environment
  readonly inputs: readonly { readonly name: string; readonly type: string; readonly dims: readonly number[] }[]
  readonly sides: readonly SideResult[]
  /** Of the last side's answer to the first's; empty with one side. */
  readonly differences: readonly Difference[]
  /** The model's formats on both engines; empty where none are compared. */
  readonly formats: readonly FormatResult[]
  /** Why a format is not among them, as sentences. */
  readonly failures: readonly string[]
  /** Right answers of a digit model, beside those of another engine that ran natively. */
  readonly reference: Reference | undefined
  readonly running: Jank
  readonly peaks: Peaks
  /** What runs the first side's model, where the engine tells. */
  readonly support: Support | undefined
  readonly operators: readonly OperatorTime[]
  /** In the order in which they run. */
  readonly nodes: readonly NodeTime[]
}

/** One node; time in milliseconds, by its fastest run. */
export interface NodeTime {
  readonly name: string
  readonly op: string
  readonly dims: readonly number[]
  readonly macs: number
  readonly ms: number
}

/** The nodes one after the other, as chrome://tracing and Perfetto read them. */
export function traceOf(nodes: readonly NodeTime[]): string {
  let ts = 0
  const traceEvents = nodes.map(({ name, op, dims, macs, ms }) => {
    const event = { name: op, cat: op, ph: 'X', ts, dur: ms * 1000, pid: 1, tid: 1, args: { node: name, shape: dims, macs } }
    ts += event.dur
    return event
  })
  return JSON.stringify({ traceEvents, displayTimeUnit: 'ns' })
}

/** All nodes of one operator together; time per run. */
export interface OperatorTime {
  readonly op: string
  readonly nodes: number
  readonly ms: number
  /** Of the time of all nodes. */
  readonly share: number
  readonly gmacs: number
  readonly gbs: number
  /** Of what the instruction can do in as many threads; 0 for operators without products. */
  readonly ofPeak: number
}

/** Adds nodes up by operator, the slowest first. Each node counts with its fastest run: what disturbs a run is not its own. */
export function byOperator(nodes: readonly NodeProfile[], peak: (node: NodeProfile) => number = () => Infinity): OperatorTime[] {
  const time = ({ min, mean }: NodeProfile): number => (min > 0 ? min : mean)
  const groups = new Map<string, NodeProfile[]>()
  for (const node of nodes) groups.set(node.op, [...(groups.get(node.op) ?? []), node])
  const all = nodes.reduce((sum, node) => sum + time(node), 0)
  return Array.from(groups, ([op, own]) => {
    const ms = own.reduce((sum, node) => sum + time(node), 0)
    const sum = (key: 'macs' | 'bytes'): number => own.reduce((total, node) => total + node[key], 0)
    const rate = (count: number): number => (ms > 0 ? count / ms / 1e6 : 0)
    const least = own.reduce((total, node) => total + node.macs / peak(node) / 1e6, 0)
    const ofPeak = ms > 0 ? least / ms : 0
    return { op, nodes: own.length, ms, share: ms / all, gmacs: rate(sum('macs')), gbs: rate(sum('bytes')), ofPeak }
  }).sort((a, b) => b.ms - a.ms)
}

/** What a node's instruction can do at most, in GMAC/s: by the numbers that it computes on, times the threads that share the work. */
export function peakFor(graph: readonly GraphNode[], engine: EngineInfo, peaks: Peaks): (node: NodeProfile) => number {
  const integers = /relaxed/.test(engine.integerPath) ? (peaks.dot8 ?? peaks.dot16) : peaks.dot16
  return ({ index }) => engine.threads * (graph[index]?.type.startsWith('float') === false ? integers : peaks.float)
}

/** How the last side's median compares. */
export function describeRatio(sides: readonly SideResult[]): string {
  const [first, second] = [sides[0], sides.at(-1)]
  if (first === undefined || second === undefined || first === second) return ''
  const ratio = second.median / first.median
  if (Math.abs(Math.log(ratio)) < Math.log(1.03)) return `about as fast as ${second.title}`
  return ratio > 1
    ? `${formatRatio(ratio)} times as fast as ${second.title}`
    : `${formatRatio(1 / ratio)} times slower than ${second.title}`
}

export function describeDifference({ output, largest, scale, steps, identical }: Difference): string {
  if (identical) return `${output}: the same numbers, bit for bit`
  if (Number.isNaN(largest)) return `${output}: of another shape`
  const apart = steps === undefined ? '' : `, at most ${steps.toLocaleString('en')} ULP apart`
  return `${output}: the largest difference is ${largest.toPrecision(2)}, the largest value ${scale.toPrecision(3)}${apart}`
}

export function describeReference({ samples, right, largest }: Reference): string {
  return `${right} of ${samples} samples are recognised; the largest difference of a logit from ONNX Runtime, run natively, is ${largest.toPrecision(2)}`
}

export function describeEnvironment({ agent, cores, isolated, clock, versions }: Environment): string {
  const shared = isolated ? 'cross-origin isolated' : 'not cross-origin isolated (one thread, coarse clock)'
  return `Nearside ${versions.nearside}, onnxruntime-web ${versions['onnxruntime-web']}. ${agent}. ${cores} processors, ${shared}, clock in steps of ${Math.round(clock * 1000)} µs.`
}

export function describePeaks({ float, floatBy, dot16, dot8 }: Peaks): [string, number][] {
  const rows: [string, number][] = [
    [`32-bit float (${floatBy})`, float],
    ['16-bit integers (dot_i16x8)', dot16],
  ]
  if (dot8 !== undefined) rows.push(['8-bit integers (relaxed dot)', dot8])
  return rows
}

export function resultText(result: Result): string {
  const { sides, inputs, differences, operators, running, peaks, environment, address } = result
  const ratio = result.formats.length > 0 ? '' : describeRatio(sides)
  const visit = (name: string, first: First | undefined): string[] =>
    first === undefined ? [] : [`  ${name}: ${formatMs(first.firstAnswer)}, ${formatBytes(first.downloaded)} over the network`]
  return [
    'Nearside: measured on this device',
    address,
    describeEnvironment(environment),
    '',
    `Model: ${result.model}`,
    `Inputs: ${inputs.map(({ name, type, dims }) => `${name} ${type} [${dims.join(', ')}]`).join('; ')}`,
    ...sides.flatMap((side) => [
      '',
      `${side.title} (${side.description})`,
      `  median ${formatMs(side.median)}, 10 to 90 percent ${formatMs(side.p10)} to ${formatMs(side.p90)}, ${side.samples.length} samples of ${side.batch} runs`,
      `  load ${formatMs(side.load)}, first run ${formatMs(side.firstRun)}, memory ${formatBytes(side.memory)}`,
      ...visit('first prediction of a cold visit', side.cold),
      ...visit('of a warm visit', side.warm),
      ...side.notes.map((note) => `  ${note}`),
    ]),
    ...(ratio === '' ? [] : ['', `${sides[0]?.title ?? ''} is ${ratio}.`]),
    ...(result.formats.length === 0 ? [] : ['', ...formatLines(result.formats), `${describeFastest(result.formats)}.`]),
    ...result.failures,
    ...differences.map((difference) => describeDifference(difference)),
    ...(result.reference === undefined ? [] : [`${describeReference(result.reference)}.`]),
    ...(result.support === undefined ? [] : [describeSupport(result.support)]),
    '',
    `Longest frame while running: ${formatMs(running.longestFrame)}; tasks over 50 ms: ${running.longTasks}`,
    `Peaks of one thread: ${describePeaks(peaks)
      .map(([name, rate]) => `${name} ${rate.toFixed(0)} GMAC/s`)
      .join(', ')}`,
    ...operators
      .slice(0, 8)
      .map(({ op, nodes, ms, gmacs }) => `  ${op} × ${nodes}: ${formatMs(ms)}${gmacs > 0 ? `, ${gmacs.toFixed(1)} GMAC/s` : ''}`),
  ].join('\n')
}
