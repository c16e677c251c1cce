/** Tuning: slice by slice, so that other calls have their turns between; the report, and what the device keeps of it. */

import { keepTuned } from './keep-tuned.js'
import type { Resident } from './engine/engine.js'
import type { WireInput } from './engine/protocol.js'
import { InputError, UnsupportedError, WorkerError } from './errors.js'
import type { TunedNode, TuneReport, Way } from './explanation.js'
import { headOf } from './file.js'
import { isPlan } from './magic.js'
import { cacheStorage } from './storage.js'
import { describeValue } from './tensor.js'
import type { TuneOptions } from './types.js'

const DEFAULT_BUDGET = 5000
/** Milliseconds for which a model that waits for its turn may wait. */
const SLICE = 50

const METHODS = ['rows', 'rows', 'windows', 'winograd'] as const
const INNERS = ['usual', 'low', 'shallow', 'wide'] as const
/** Numbers of the report's head, of a way and of a node. */
const HEAD = 3
const WAY = 4
const NODE = 3 + 2 * WAY

/** Models that are being tuned. */
const busy = new WeakSet<Resident>()

/** Tunes a model; see `LocalModel.tune`. */
export async function tune(
  resident: Resident,
  inputs: WireInput[] | Promise<WireInput[]>,
  { budget = DEFAULT_BUDGET, signal, onProgress, keep = true }: TuneOptions,
): Promise<TuneReport> {
  signal?.throwIfAborted()
  if (!(typeof budget === 'number' && budget > 0))
    throw new InputError(`The option budget is ${describeValue(budget)}; give a number of milliseconds.`)
  if (busy.has(resident)) throw new InputError('The model is being tuned; wait for that, or abort it by its signal.')
  busy.add(resident)
  try {
    const plan = await planOf(resident.file)
    await resident.ask(
      'tune',
      Promise.resolve(inputs).then((inputs) => ({ plan, inputs, budget })),
      signal,
    )
    const end = await measured(resident, signal, onProgress)
    return await conclude(resident, plan, end, keep)
  } finally {
    busy.delete(resident)
  }
}

/** A plan without the record that may follow it. */
async function planOf(file: Blob): Promise<Blob> {
  const head = await headOf(file)
  if (!isPlan(head))
    throw new UnsupportedError('Only models that run on the light runtime can be tuned, this one needs the fallback executor.')
  return file.slice(0, Number(new DataView(head.buffer).getBigUint64(24, true)))
}

type End = Awaited<ReturnType<typeof end>>

function end(resident: Resident, keep: boolean) {
  return resident.ask('tuneEnd', { keep })
}

async function measured(resident: Resident, signal?: AbortSignal, onProgress?: (fraction: number) => void): Promise<End> {
  try {
    for (let done = 0; done < 1; onProgress?.(done)) done = await resident.ask('tuneOn', { slice: SLICE }, signal)
    signal?.throwIfAborted()
  } catch (error) {
    // The model goes on as it was; if it is gone, so is what measured it.
    end(resident, false).catch(() => {})
    throw error
  }
  return end(resident, true)
}

async function conclude(resident: Resident, plan: Blob, { record, report }: End, keep: boolean): Promise<TuneReport> {
  const [kept, before, after] = report
  if (kept === undefined)
    throw new WorkerError('The Worker was restarted while the model was tuned, which then runs as before; call tune again.')
  let stored = false
  if (record.length > 0) {
    // Should the instance be lost, the model comes back as it is now.
    resident.file = new Blob([plan, record])
    stored = keep && (await keepTuned(cacheStorage(), plan, resident.file))
  }
  const { nodes } = await resident.ask('explain', {})
  const compared = before !== undefined && before > 0
  return {
    kept: kept === 1,
    stored,
    before: compared ? before : undefined,
    after: compared ? after : undefined,
    nodes: Array.from({ length: (report.length - HEAD) / NODE }, (_, i): TunedNode => {
      const [index = 0, before = 0, after = 0, ...ways] = report.subarray(HEAD + i * NODE)
      const { name, op } = nodes[index] ?? { name: '', op: '' }
      return { name, op, before: way(before, ways.slice(0, WAY)), after: way(after, ways.slice(WAY)) }
    }),
  }
}

function way(ms: number, [method = 0, inner = 0, first = 0, second = 0]: number[]): Way {
  return { ms, method: METHODS[method] ?? 'rows', inner: INNERS[inner] ?? 'usual', blocks: [first, second] }
}
