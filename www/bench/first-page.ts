/** The frame's side of `first.ts`. */

import { Model, Tensor } from 'nearside'
import relaxed from 'nearside/core.relaxed.wasm?url'
import relaxedThreads from 'nearside/core.relaxed.threads.wasm?url'
import simd from 'nearside/core.simd.wasm?url'
import simdThreads from 'nearside/core.simd.threads.wasm?url'
import compiler from 'nearside/compiler.wasm?url'

import { describeColdStart, type Step } from '../src/coldstart'
import type { First, FirstJob, FirstMessage } from './first'

// `JOB` of first.ts, whose module would be one more download of the frame.
// A copy, so that its arrays and files are of this page's own classes.
const job = structuredClone((parent as unknown as { nearsideFirstJob: FirstJob }).nearsideFirstJob)

function fresh(url: string): string {
  return job.fresh === undefined ? url : `${url}${url.includes('?') ? '&' : '?'}fresh=${job.fresh}`
}

const model = typeof job.model === 'string' ? fresh(job.model) : job.model

async function nearside(): Promise<First> {
  const absolute = (url: string): string => fresh(new URL(url, import.meta.url).href)
  const loadStart = performance.now()
  const loaded = await Model.load(model, {
    variant: job.variant,
    threads: job.threads === 0 ? 'auto' : job.threads,
    worker: job.worker,
    // A plan of ONNX stays for the second visit, as it would for a visitor's.
    cache: job.fresh === undefined,
    urls: {
      simd: absolute(simd),
      relaxed: absolute(relaxed),
      simdThreads: absolute(simdThreads),
      relaxedThreads: absolute(relaxedThreads),
      compiler: absolute(compiler),
    },
    onWarning: () => {},
  })
  const inputs = Object.entries(job.inputs).map(([name, { type, dims, data }]) => [
    name,
    new Tensor(type as 'float32', data as Float32Array<ArrayBuffer>, dims),
  ])
  await loaded.run(Object.fromEntries(inputs) as Record<string, Tensor<'float32'>>)
  const firstAnswer = performance.now()
  const { steps, downloaded } = describeColdStart(loaded.timings, loaded.engine, resources(), loadStart, firstAnswer)
  return { steps, downloaded, firstAnswer, memory: (await loaded.memory()).wasm }
}

async function onnxruntime(): Promise<First> {
  const start = performance.now()
  const { OrtSession } = await import('./ort-session')
  const session = new OrtSession()
  const imported = performance.now()
  await session.answer({ kind: 'load', model, threads: job.threads === 0 ? 1 : job.threads, fresh: job.fresh })
  const loaded = performance.now()
  await session.answer({ kind: 'run', inputs: job.inputs })
  const firstAnswer = performance.now()
  const downloads = resources().filter(({ name }) => /\.(wasm|onnx)($|\?)/.test(name))
  const steps: Step[] = [
    { name: 'Open the page', kind: 'page', from: 0, ms: start },
    { name: 'Fetch its script', kind: 'download', from: start, ms: imported - start },
    ...downloads.map(({ name, startTime, responseEnd }): Step => {
      const title = name.includes('.wasm') ? 'Download runtime' : 'Download model'
      return { name: title, kind: 'download', from: startTime, ms: responseEnd - startTime }
    }),
    { name: 'Create the session', kind: 'work', from: imported, ms: loaded - imported },
    { name: 'First run', kind: 'work', from: loaded, ms: firstAnswer - loaded },
  ]
  return {
    steps: steps.sort((a, b) => a.from - b.from),
    downloaded: downloads.reduce((sum, { transferSize }) => sum + transferSize, 0),
    firstAnswer,
    memory: (await session.answer({ kind: 'memory' })).bytes ?? 0,
  }
}

function resources(): PerformanceResourceTiming[] {
  return performance.getEntriesByType('resource') as PerformanceResourceTiming[]
}

const told = job.engine === 'nearside' ? nearside() : onnxruntime()
told.then(
  (first) => {
    parent.postMessage({ first } satisfies FirstMessage, location.origin)
  },
  (error: unknown) => {
    const message: FirstMessage = { error: error instanceof Error ? error.message : String(error) }
    parent.postMessage(message, location.origin)
  },
)
