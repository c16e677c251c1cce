/** How many threads share the work: a pure function of what the page may use. */

import { InputError } from './errors.js'
import { isNode } from './files.js'
import { describeValue } from './tensor.js'

/** What the page may use. */
export interface Parallelism {
  /** Whether it may share memory between threads. */
  readonly isolated: boolean
  /** Threads that the device runs at once. */
  readonly cores: number
}

/** The most that is of use to convolutions on the devices of visitors, and leaves some to the page. */
const MOST_BY_ITSELF = 4
/** The most that the runtime takes. */
const MOST = 64

/** Asks the browser, or Node.js, where programs may always share memory. */
export function measureParallelism(): Parallelism {
  const { crossOriginIsolated = isNode(), navigator } = globalThis as Partial<typeof globalThis>
  return {
    isolated: crossOriginIsolated && typeof SharedArrayBuffer !== 'undefined',
    cores: navigator?.hardwareConcurrency ?? 1,
  }
}

/** Threads for a model, and why there are fewer than were asked for. */
export function pickThreads(
  { isolated, cores }: Parallelism,
  worker: boolean,
  wanted: 'auto' | number = 'auto',
): { threads: number; note?: string } {
  if (wanted === 'auto') return { threads: worker && isolated ? Math.min(Math.ceil(cores / 2), MOST_BY_ITSELF) : 1 }
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new InputError(`The option threads is ${describeValue(wanted)}; use 'auto' or a whole number from 1 on.`)
  if (wanted === 1 || (worker && isolated)) return { threads: Math.min(wanted, MOST) }
  const why = worker
    ? 'this page is not cross-origin isolated: it lacks the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
    : 'they need a Worker: leave out { worker: false }'
  return { threads: 1, note: `The model runs on one thread instead of ${wanted}, because ${why}.` }
}
