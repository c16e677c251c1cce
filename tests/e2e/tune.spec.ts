/** Tuning in real browsers: it is aborted without a trace, makes a model faster or leaves it as it is, and is remembered. */

import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Handler, serve } from '../../benches/web/server.mjs'
import { encodeOnnx } from '../../pkg/test/onnx.ts'
import { Reports } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')

const CHANNELS = 128
/** Fewer than the runtime's own rules take Winograd's method for, though it is faster with so many on the other side. */
const FEW = 12
const weights = Array.from({ length: CHANNELS * FEW * 9 }, (_, i) => ((i * 2654435761) % 4096) / 65536 - 1 / 32)
const attributes = { pads: [1, 1, 1, 1], kernel_shape: [3, 3] }
const MODEL = encodeOnnx({
  inputs: { x: [1, CHANNELS, 28, 28] },
  outputs: { y: [1, CHANNELS, 28, 28] },
  constants: {
    a: { dims: [FEW, CHANNELS, 3, 3], data: weights },
    b: { dims: [CHANNELS, FEW, 3, 3], data: weights.toReversed() },
  },
  nodes: [
    { op: 'Conv', inputs: ['x', 'a'], outputs: ['h'], attributes },
    { op: 'Conv', inputs: ['h', 'b'], outputs: ['y'], attributes },
  ],
})

interface Report {
  tuned?: Nearside.TuneReport
  /** What `explain` said: at first, after an abort, after tuning, after loading again, and with a record that is damaged. */
  said: { tuned: boolean; cached: boolean }[]
  /** Largest difference of each result to the first one, in units of its largest element. */
  differences: number[]
  aborted: string
  fractions: number[]
  ranBetween: boolean
  failure?: string
}

/** Runs in the page, so it stands for itself. */
async function visit(library: string): Promise<Report> {
  const report: Report = { said: [], differences: [], aborted: '', fractions: [], ranBetween: false }
  try {
    const { Model } = (await import(library)) as typeof Nearside
    const x = Float32Array.from({ length: 128 * 28 * 28 }, (_, i) => ((i * 40503) % 1000) / 500 - 1)
    let first: Float32Array | undefined
    const load = () => Model.load('/model.onnx', { timeout: 0 })
    const look = async (model: Nearside.Model): Promise<void> => {
      const y = (await model.run({ x }))['y']?.data as Float32Array
      first ??= y
      const most = (all: Float32Array) => all.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
      report.differences.push(most(y.map((v, i) => v - (first?.[i] ?? 0))) / most(first))
      report.said.push({ tuned: (await model.explain()).tuned, cached: model.timings.cached })
    }
    /** What the cache keeps, when it does. */
    const kept = async (): Promise<Request> => {
      for (;;) {
        const cache = await caches.open('nearside-models')
        const entry = (await cache.keys()).find(({ url }) => !url.endsWith('/index'))
        if (entry !== undefined) return entry
        await new Promise((go) => setTimeout(go, 50))
      }
    }

    const model = await load()
    await look(model)
    const entry = await kept()
    const control = new AbortController()
    const given = model.tune({ x }, { signal: control.signal, onProgress: () => control.abort(new Error('enough')) })
    report.aborted = String(await given.catch((error: unknown) => error))
    await look(model)

    const tuning = model.tune({ x }, { budget: 1500, onProgress: (fraction) => report.fractions.push(fraction) })
    await model.run({ x })
    report.ranBetween = report.fractions.at(-1) !== 1
    report.tuned = await tuning
    // A busy machine hides what is faster.
    for (let i = 0; i < 3 && !report.tuned.kept; i += 1) report.tuned = await model.tune({ x }, { budget: 3000 })
    await look(model)
    model.dispose()

    const again = await load()
    await look(again)
    again.dispose()

    const cache = await caches.open('nearside-models')
    const bytes = new Uint8Array((await (await cache.match(entry))?.arrayBuffer()) ?? new ArrayBuffer(0))
    bytes[bytes.length - 1] = 0xff
    await cache.put(entry, new Response(bytes))
    const damaged = await load()
    await look(damaged)
    damaged.dispose()
  } catch (failure) {
    report.failure = String(failure)
  }
  return report
}

const reports = new Reports()
const pages: Handler = (request, response) => {
  if (request.url === '/visit') {
    const script = `(${visit.toString()})('/package/index.js').then((r) => fetch('/report', { method: 'POST', body: JSON.stringify(r) }))`
    response.setHeader('Content-Type', 'text/html')
    response.end(`<!doctype html><script>${script}</script>`)
    return true
  }
  if (request.url === '/model.onnx') {
    response.setHeader('ETag', '"one"')
    response.setHeader('Cache-Control', 'no-cache')
    response.end(MODEL)
    return true
  }
  if (request.url !== '/report') return false
  reports.take(request, response)
  return true
}

for (const browser of ['chromium', 'firefox']) {
  test(`a model is tuned, and is so at the next visit: ${browser}`, async () => {
    const server = await serve({ '/package/': join(ROOT, 'pkg/dist'), '/': join(import.meta.dirname, 'blank') }, pages)
    try {
      const { tuned, said, differences, aborted, fractions, ranBetween, failure } = (await reports.visit(
        browser,
        `${server.url}/visit`,
      )) as Report
      expect(failure).toBeUndefined()
      expect(aborted).toBe('Error: enough')
      expect(ranBetween).toBe(true)
      expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
      expect(fractions.at(-1)).toBe(1)
      expect(tuned?.nodes.map(({ op }) => op)).toEqual(['Conv', 'Conv'])
      const kept = tuned?.kept ?? false
      if (browser === 'chromium') expect(kept).toBe(true)
      if (kept) expect(tuned?.after).toBeLessThan(tuned?.before ?? 0)
      expect(tuned?.stored).toBe(kept)
      expect(said.map((s) => s.tuned)).toEqual([false, false, kept, kept, false])
      // Without a record, the damaged byte is the plan's.
      expect(said.map((s) => s.cached)).toEqual([false, false, false, true, kept])
      // Two convolutions of depth 9 · 128 or less: each errs by at most 8 · (128 + 36) · 2⁻²⁴ of its absolute products, some 20 times its largest result.
      for (const difference of differences) expect(difference).toBeLessThan(2 * 20 * 8 * (CHANNELS + 36) * 2 ** -24)
      // The same kernels give the same bytes.
      expect(differences[3]).toBe(differences[2])
      expect(differences.filter((d) => d === 0).length).toBeGreaterThanOrEqual(3)
    } finally {
      server.close()
    }
  })
}
