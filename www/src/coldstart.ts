/** The first answer taken apart: from the package's own spans, and the browser's record of each download. */

import type { EngineInfo, LoadTimings, SpanName } from 'nearside'

export interface Step {
  readonly name: string
  readonly kind: 'page' | 'download' | 'work'
  /** Milliseconds since navigation. */
  readonly from: number
  readonly ms: number
}

export interface ColdStart {
  /** Milliseconds from navigation to the first answer. */
  readonly firstAnswer: number
  /** The part of it since the model's load began. */
  readonly load: number
  readonly steps: readonly Step[]
  /** Bytes of runtime, model and Worker that came over the network, compressed as they were. */
  readonly downloaded: number
  /** What runs the model, as a sentence. */
  readonly engine: string
}

/** A download, as the browser recorded it. */
export type Download = Pick<PerformanceResourceTiming, 'name' | 'startTime' | 'responseEnd' | 'transferSize'>

const STEPS: { readonly [S in SpanName]?: string } = {
  compileWasm: 'Compile runtime',
  instantiate: 'Start in a Worker',
  compileCompiler: 'Compile compiler',
  compileModel: 'Compile model',
  bind: 'Bind the model',
  firstRun: 'First run',
}

/** The name of the whole in the browser's record. */
export const FIRST_ANSWER = 'First answer'

/** What the file of a download is. */
function titleOf(url: string): string | undefined {
  const path = url.split('?')[0] ?? ''
  if (/\/compiler[-.\w]*\.wasm$/.test(path)) return 'Download compiler'
  if (path.endsWith('.wasm')) return 'Download runtime'
  if (/\.(plan|onnx)$/.test(path)) return 'Download model'
  if (/\/worker[-.\w]*\.js$/.test(path)) return 'Download Worker'
  return undefined
}

/**
 * @param loadStart milliseconds from navigation to the load, to which `timings` are relative
 */
export function describeColdStart(
  timings: Pick<LoadTimings, 'spans'>,
  engine: EngineInfo,
  downloads: readonly Download[],
  loadStart: number,
  firstAnswer: number,
): ColdStart {
  const wanted = downloads.filter(
    // Chromium's record of a Worker's script sometimes starts after its end: such a one says nothing.
    ({ name, startTime, responseEnd }) => titleOf(name) !== undefined && startTime <= responseEnd && responseEnd <= firstAnswer,
  )
  const steps: Step[] = [
    { name: 'Open the page', kind: 'page', from: 0, ms: loadStart },
    ...wanted.map(({ name, startTime, responseEnd }): Step => {
      return { name: titleOf(name) ?? '', kind: 'download', from: startTime, ms: responseEnd - startTime }
    }),
    ...timings.spans.flatMap(({ name, start, duration }): Step[] => {
      const title = STEPS[name]
      return title === undefined ? [] : [{ name: title, kind: 'work', from: loadStart + start, ms: duration }]
    }),
  ]
  const place = engine.worker ? 'in a Worker' : 'in the page'
  return {
    firstAnswer,
    load: firstAnswer - loadStart,
    steps: steps.sort((a, b) => a.from - b.from),
    downloaded: wanted.reduce((sum, { transferSize }) => sum + transferSize, 0),
    engine: `It runs ${place} on the ${engine.variant === 'relaxed' ? 'relaxed SIMD' : 'SIMD'} binary, integers by ${engine.integerPath}.`,
  }
}

/** Leaves the steps and the whole in the browser's own record of the page, where its tools and `cargo xtask bench --cold-start` see them. */
export function recordColdStart({ steps, firstAnswer }: ColdStart): void {
  for (const { name, from, ms } of steps) performance.measure(name, { start: from, duration: ms })
  performance.measure(FIRST_ANSWER, { start: 0, end: firstAnswer })
}
