/**
 * Real models from raw ONNX to outputs in real browsers, through the package as it is published: against references, and the binaries
 * and browsers against each other.
 */

import { join } from 'node:path'

import { expect, test } from '@playwright/test'

import { launch } from '../../benches/web/browsers.mjs'
import { type Handler, serve } from '../../benches/web/server.mjs'
import { ASSETS, type Job, jobs } from './cards.ts'
import { check, type Checked } from './checker.ts'
import { takeReport } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')
const LIBRARY = '/package/index.js'
const all = jobs()
/** What the quantized models gave in Chromium. A failed test ends this process, and takes what it knew along. */
const digests = new Set<string>()
let report: (body: string) => void = () => {}
let server: { url: string; close: () => void }

/** A page that checks the quantized models by itself, for a browser without remote control. */
const pages: Handler = (request, response) => {
  if (request.url === '/report') {
    takeReport(request, response, report)
    return true
  }
  if (request.url !== '/quantized') return false
  const quantized = all.filter(isCompared)
  const script = `${check.toString()}
    const out = []
    for (const job of ${JSON.stringify(quantized)}) for (const variant of ['simd', 'relaxed']) {
      const options = { variant, worker: true }
      out.push([job.model + ' ' + job.variant, await check({ library: '${LIBRARY}', job, options }).catch(String)])
    }
    await fetch('/report', { method: 'POST', body: JSON.stringify(out) })`
  response.setHeader('Content-Type', 'text/html')
  response.end(`<!doctype html><script type="module">${script.replaceAll('</', '<\\/')}</script>`)
  return true
}

/**
 * Quantized models without float operators of their own between the integer ones. Those compute with fused multiply-add where the binary
 * has it, so that the last bits differ: layer norm (bert), instance norm (style), sigmoid and float resize (ppocr).
 */
function isCompared({ model, variant }: Job): boolean {
  return ['qdq', 'qop', 'qdq_s8s8', 'qdq_orig'].includes(variant) && !/^(bert|style|ppocr)_/.test(model)
}

test.beforeAll(async () => {
  const folders = {
    '/package/': join(ROOT, 'pkg/dist'),
    '/assets/': ASSETS ?? join(ROOT, 'models'),
    '/models/': join(ROOT, 'models'),
    '/': join(import.meta.dirname, 'blank'),
  }
  server = await serve(folders, pages)
})
test.afterAll(() => {
  server.close()
})

for (const job of all) {
  test(`${job.model} ${job.variant}`, async ({ page }) => {
    await page.goto(`${server.url}/index.html`)
    for (const variant of isCompared(job) ? (['relaxed', 'simd'] as const) : (['relaxed'] as const)) {
      const result = await page.evaluate(check, { library: LIBRARY, job, options: { variant } })
      expect(result.failures).toEqual([])
      expect(result.fallback).toEqual([])
      expect(result.compared).toBeGreaterThan(0)
      digests.add(`${job.model} ${job.variant} ${result.digest}`)
      // One binary to a thread: the next one gets a fresh page.
      await page.reload()
    }
  })
}

test('quantized models give the same in every binary and browser', async () => {
  test.setTimeout(600_000)
  const reported = new Promise<string>((resolve) => (report = resolve))
  const firefox = await launch('firefox')
  const close = await firefox.open(`${server.url}/quantized`, () => {})
  try {
    const results = JSON.parse(await reported) as [string, Checked | string][]
    for (const [name, result] of results) {
      if (typeof result === 'string') throw new Error(`${name}: ${result}`)
      expect(result.failures, name).toEqual([])
      digests.add(`${name} ${result.digest}`)
    }
    const models = all.filter(isCompared).map(({ model, variant }) => `${model} ${variant}`)
    for (const name of models) {
      const different = [...digests].filter((line) => line.startsWith(`${name} `))
      expect(different, `${name} gives one result everywhere`).toHaveLength(1)
    }
  } finally {
    await close()
  }
})

test('models of the assets', () => {
  test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
})
