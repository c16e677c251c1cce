/** Threads in real browsers, through the package as it is published: the same bytes, and one thread where there can be no more. */

import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Handler, serve } from '../../benches/web/server.mjs'
import { Reports } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')

interface Report {
  isolated: boolean
  /** What each load was asked for and what came of it. */
  loads: { asked: number | 'auto' | undefined; threads: number; same: boolean; warnings: string[] }[]
  failure?: string
}

/** Loads and runs the model on one thread, then as asked. Runs in the page, so it stands for itself. */
async function compare(library: string, variants: Nearside.Variant[], asked: (number | 'auto' | undefined)[]): Promise<Report> {
  const report: Report = { isolated: crossOriginIsolated, loads: [] }
  try {
    const { Model, Tensor } = (await import(library)) as typeof Nearside
    const plan = new Uint8Array(await (await fetch('/public/digits.int8.plan')).arrayBuffer())
    // Enough images for all threads, none like another.
    const pixels = Float32Array.from({ length: 96 * 784 }, (_, i) => ((i * 2654435761) % 4096) / 4096)
    const image = new Tensor('float32', pixels, [96, 1, 28, 28])
    for (const variant of variants) {
      const scores = async (threads: number | 'auto' | undefined, onWarning: (text: string) => void) => {
        const model = await Model.load(plan.slice(), { variant, threads, onWarning })
        const results: string[] = []
        for (let i = 0; i < 20; i++) results.push(String((await model.run({ image }))['logits']?.data))
        const count = model.engine.threads
        model.dispose()
        return { threads: count, results: new Set(results) }
      }
      const [alone] = (await scores(1, () => {})).results
      for (const wanted of asked) {
        const warnings: string[] = []
        const { threads, results } = await scores(wanted, (text) => warnings.push(text))
        const same = results.size === 1 && results.has(alone ?? '')
        report.loads.push({ asked: wanted, threads, same, warnings })
      }
    }
  } catch (failure) {
    report.failure = String(failure)
  }
  return report
}

let server: Awaited<ReturnType<typeof serve>>
const reports = new Reports()

/** Pages by what their headers allow. */
const pages: Handler = (request, response) => {
  const [, kind = '', variants = ''] = /^\/compare\/(\w+)\/([\w,]+)$/.exec(request.url ?? '') ?? []
  if (kind !== '') {
    response.setHeader('Content-Type', 'text/html')
    if (kind === 'plain') {
      response.removeHeader('Cross-Origin-Opener-Policy')
      response.removeHeader('Cross-Origin-Embedder-Policy')
    }
    const asked = kind === 'strict' ? '[2]' : "[2, 3, 'auto', undefined]"
    const script = `(${compare.toString()})('/package/index.js', ${JSON.stringify(variants.split(','))}, ${asked}).then((r) => fetch('/report', { method: 'POST', body: JSON.stringify(r) }))`
    const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'nonce-here'; worker-src 'self'; connect-src 'self'"
    if (kind === 'strict') response.setHeader('Content-Security-Policy', policy)
    response.end(`<!doctype html><script nonce="here">${script}</script>`)
    return true
  }
  if (request.url !== '/report') return false
  reports.take(request, response)
  return true
}

test.beforeAll(async () => {
  server = await serve(
    {
      '/package/': join(ROOT, 'pkg/dist'),
      '/public/': join(ROOT, 'www/public'),
      '/': join(import.meta.dirname, 'blank'),
    },
    pages,
  )
})
test.afterAll(() => {
  server.close()
})

for (const browser of ['chromium', 'firefox'] as const) {
  const visit = async (path: string) => (await reports.visit(browser, `${server.url}${path}`)) as Report

  test(`${browser}: an isolated page gets its threads, and the same bytes`, async () => {
    const { isolated, loads, failure } = await visit('/compare/isolated/simd,relaxed')
    expect(failure).toBeUndefined()
    expect(isolated).toBe(true)
    for (const { asked, threads, same, warnings } of loads) {
      expect.soft(same, `${String(asked)} threads`).toBe(true)
      expect.soft(warnings).toEqual([])
      if (typeof asked === 'number') expect.soft(threads).toBe(asked)
    }
    expect(loads).toHaveLength(8)
  })

  test(`${browser}: other pages get one thread, and a note where they asked for more`, async () => {
    const { isolated, loads, failure } = await visit('/compare/plain/simd')
    expect(failure).toBeUndefined()
    expect(isolated).toBe(false)
    for (const { asked, threads, same, warnings } of loads) {
      expect.soft(same).toBe(true)
      expect.soft(threads).toBe(1)
      expect.soft(warnings.join()).toMatch(typeof asked === 'number' ? /not cross-origin isolated/ : /^$/)
    }
  })

  test(`${browser}: threads work under a strict Content-Security-Policy`, async () => {
    const { loads, failure } = await visit('/compare/strict/simd')
    expect(failure).toBeUndefined()
    expect(loads).toEqual([{ asked: 2, threads: 2, same: true, warnings: [] }])
  })
}
