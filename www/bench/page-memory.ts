/** What the whole page takes of memory, with its frames and Workers, as the browser counts it: without a model, and with it. */

import { load, type Runner } from './engines'
import type { Values } from './inputs'
import type { Side } from './sides'

/** The browser's count, in bytes. */
export type Count = () => Promise<{ readonly bytes: number }>

declare global {
  interface Performance {
    measureUserAgentSpecificMemory?: Count
  }
}

/** How long a count may take, in milliseconds: it waits for a garbage collection. */
const PATIENCE = 90_000
/** A Worker that ends while the browser counts is waited for for a minute, so those of the side before get this many milliseconds to end. */
const FAREWELL = 1500
/** Runs of a model before it counts. */
const RUNS = 10

/** One side; all in bytes. */
export interface PageMemory {
  readonly title: string
  /** The page before the model was loaded. */
  readonly before: number
  /** The page with the model, after some runs. */
  readonly loaded: number
  /** WebAssembly's part of it, as the engine tells. */
  readonly wasm: number
}

/** What this page can ask, or why it cannot, as a sentence. */
export function countOf({
  crossOriginIsolated,
  performance,
}: {
  readonly crossOriginIsolated: boolean
  readonly performance: Pick<Performance, 'measureUserAgentSpecificMemory'>
}): Count | string {
  if (performance.measureUserAgentSpecificMemory === undefined)
    return crossOriginIsolated
      ? 'This browser does not tell how much memory a page takes; Chrome, Edge and others made of Chromium do.'
      : 'How much memory a page takes is told only to pages that are cross-origin isolated, by the headers COOP and COEP; this one is not.'
  return performance.measureUserAgentSpecificMemory.bind(performance)
}

/** Counts once. A count cannot be called off, but is no longer waited for. */
export async function pageBytes(count: Count, signal: AbortSignal, patience = PATIENCE): Promise<number> {
  signal.throwIfAborted()
  const over = new AbortController()
  const given = new Promise<never>((_, reject) => {
    const late = new Error(`The browser did not tell the page's memory within ${patience / 1000} seconds; try again.`)
    const timer = setTimeout(reject, patience, late)
    over.signal.addEventListener('abort', () => {
      clearTimeout(timer)
    })
    signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: over.signal })
  })
  try {
    return (await Promise.race([count(), given])).bytes
  } finally {
    over.abort()
  }
}

export interface Counting {
  readonly count: Count
  readonly signal: AbortSignal
  /** Says what it is busy with. */
  readonly tell: (sentence: string) => void
  /** Called with the sides so far. */
  readonly onSide: (measured: readonly PageMemory[]) => void
  readonly inputsOf: (first: Runner) => Promise<Values>
}

/** Loads each side alone, and counts before and after. */
export async function measurePageMemory(sides: readonly Side[], options: Counting): Promise<PageMemory[]> {
  const { count, signal, tell, onSide, inputsOf } = options
  const measured: PageMemory[] = []
  let inputs: Values | undefined
  for (const [i, { title, job }] of sides.entries()) {
    if (i > 0) await new Promise((resolve) => setTimeout(resolve, FAREWELL))
    tell(`${title}: counting without it, which can take up to a minute…`)
    const before = await pageBytes(count, signal)
    tell(`${title}: loading the model…`)
    const runner = await load(job, signal, () => {})
    try {
      inputs ??= await inputsOf(runner)
      for (let run = 0; run < RUNS; run++) {
        signal.throwIfAborted()
        await runner.run(inputs)
      }
      tell(`${title}: counting with it, which can take up to a minute…`)
      const loaded = await pageBytes(count, signal)
      measured.push({ title, before, loaded, wasm: await runner.memory() })
    } finally {
      runner.dispose()
    }
    onSide(measured)
  }
  return measured
}
