/**
 * How models reach the device and stay there, in real browsers: kept plans, offline, broken connections, changed files, damaged entries,
 * storage that is full or blocked.
 */

import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { expect, type Page, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Handler, serve } from '../../benches/web/server.mjs'
import { Reports, takeReport } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')
const ONNX = readFileSync(join(ROOT, 'models/digits.int8.onnx'))
const PLAN = readFileSync(join(ROOT, 'www/public/digits.int8.plan'))

const MB = 1 << 20
/** The model with a long description (field 6 of a ModelProto), of which nothing is left in its plan. */
const LARGE = Buffer.concat([ONNX, Buffer.from([0x32, 0x80, 0x80, 0x80, 0x08]), Buffer.from(randomBytes(8 * MB).toString('hex'))])
/** Bytes of the pieces in which a large file is kept while it arrives. */
const PIECE = 4 * MB

/** How the server behaves; a page changes it by a request. */
interface Conduct {
  offline: boolean
  /** What stands before the files' tags: another word is another version. */
  version: string
  /** After how many bytes the next answers break off. */
  breaks: number[]
  /** The header Cache-Control. */
  control: string
}

/** One load: what it came to, and which bytes the server sent for it. */
interface Load {
  readonly scores: string
  readonly cached: boolean
  readonly warnings: readonly string[]
  readonly sent: number
  readonly requests: number
}

interface Report {
  readonly loads: { readonly [step: string]: Load }
  readonly errors: { readonly [step: string]: string }
  readonly failure?: string
}

/** Runs in the page, so it stands for itself. */
async function makeVisits(library: string): Promise<Report> {
  const [loads, errors]: [{ [step: string]: Load }, { [step: string]: string }] = [{}, {}]
  try {
    const { Model } = (await import(library)) as typeof Nearside
    const ink = Float32Array.from({ length: 784 }, (_, i) => (i % 28 > 12 && i % 28 < 16 ? 1 : 0))
    const behave = async (conduct: Partial<Conduct>) => {
      await fetch('/behave', { method: 'POST', body: JSON.stringify(conduct) })
    }
    const traffic = async () => (await (await fetch('/traffic')).json()) as { sent: number; requests: number }
    const load = async (step: string, url: string, options: Nearside.LoadOptions = {}) => {
      const warnings: string[] = []
      const before = await traffic()
      try {
        const model = await Model.load(url, { onWarning: (text) => warnings.push(text), ...options })
        const scores = String((await model.run(ink))['logits']?.data)
        const { sent, requests } = await traffic()
        const { cached } = model.timings
        loads[step] = { scores, cached, warnings, sent: sent - before.sent, requests: requests - before.requests }
        model.dispose()
      } catch (error) {
        errors[step] = String(error)
      }
    }
    const entries = async () => {
      const cache = await caches.open('nearside-models')
      return (await cache.keys()).filter(({ url }) => !url.endsWith('/index'))
    }
    /** Plans are kept while the page goes on. */
    const kept = async (count: number) => {
      for (let i = 0; i < 100 && (await entries()).length !== count; i += 1) await new Promise((go) => setTimeout(go, 50))
      // The index follows the entry.
      await new Promise((go) => setTimeout(go, 100))
    }

    await load('plan, first', '/files/digits.plan')
    await kept(1)
    await load('plan, again', '/files/digits.plan')
    await load('plan, elsewhere', '/files/digits.plan?elsewhere')
    await behave({ offline: true })
    await load('plan, offline', '/files/digits.plan')
    await load('another, offline', '/files/another.plan')
    await behave({ offline: false, version: 'new' })
    await load('plan, new version', '/files/digits.plan')
    await load('onnx, first', '/files/digits.onnx')
    await kept(2)
    await load('onnx, again', '/files/digits.onnx')
    await behave({ offline: true })
    await load('onnx, offline', '/files/digits.onnx')
    await load('onnx, offline, uncached', '/files/digits.onnx', { cache: false })
    await behave({ offline: false })

    const cache = await caches.open('nearside-models')
    for (const { url } of await entries()) await cache.put(url, new Response(new Uint8Array(1000)))
    await load('damaged entries', '/files/digits.onnx')
    await kept(1)
    await load('after the damage', '/files/digits.onnx')

    await Model.clearCache()
    errors['after clearing'] = String((await entries()).length)
    await behave({ control: 'no-store' })
    await load('not to be stored', '/files/digits.plan')
    await load('with credentials', '/files/digits.plan', { request: { headers: { authorization: 'me' } } })
    await new Promise((go) => setTimeout(go, 300))
    errors['entries of what is not to be stored'] = String((await entries()).length)
    await behave({ control: '' })

    await behave({ breaks: [9000, 4000] })
    await load('broken twice', '/files/digits.plan')
    await behave({ breaks: [100, 100, 100, 100] })
    await load('broken four times', '/files/digits.plan?broken')
    const pieces = async () => (await entries()).filter(({ url }) => url.includes('/piece/')).length
    const cutOff = async (step: string, url: string) => {
      await behave({ breaks: [9 << 20, 100, 100, 100] })
      await load(step, url)
      await behave({ breaks: [] })
      for (let i = 0; i < 100 && (await pieces()) < 2; i += 1) await new Promise((go) => setTimeout(go, 50))
    }
    await cutOff('cut off', '/files/large.onnx')
    await load('after it was cut off', '/files/large.onnx')
    await cutOff('cut off, then changed', '/files/large.onnx?changed')
    await behave({ version: 'newest' })
    await load('changed after it was cut off', '/files/large.onnx?changed')
    for (let i = 0; i < 100 && (await pieces()) > 0; i += 1) await new Promise((go) => setTimeout(go, 50))
    errors['pieces of whole files'] = String(await pieces())

    await load('a budget of nothing', '/files/digits.plan?budget', { cache: { maxBytes: 0 } })
    await load('a budget that is none', '/files/digits.plan?budget', { cache: { maxBytes: -1 } })
    const blocked = () => Promise.reject(new DOMException('blocked', 'SecurityError'))
    Object.defineProperty(CacheStorage.prototype, 'open', { value: blocked })
    // Another address: browsers' own caches complete by themselves what broke off.
    await load('blocked storage', '/files/digits.plan?blocked')
    return { loads, errors }
  } catch (failure) {
    return { loads, errors, failure: String(failure) }
  }
}

function judge({ loads, errors, failure }: Report): void {
  expect(failure).toBeUndefined()
  const [first] = Object.values(loads)
  for (const [step, { scores }] of Object.entries(loads)) expect.soft(scores, step).toBe(first?.scores)
  // An answer of which we read the headers alone, Chromium's own cache may complete by one more request.
  const count = (step: string, requests: number) => (step === 'damaged entries' ? Math.min(requests, 2) : requests)
  const summary = Object.entries(loads).map(([step, { cached, requests }]) => [
    step,
    cached ? 'kept' : 'new',
    count(step, requests),
  ])
  expect(summary).toEqual([
    ['plan, first', 'new', 1],
    ['plan, again', 'kept', 1],
    ['plan, elsewhere', 'new', 1],
    ['plan, offline', 'kept', 0],
    ['plan, new version', 'new', 1],
    ['onnx, first', 'new', 1],
    ['onnx, again', 'kept', 1],
    ['onnx, offline', 'kept', 0],
    ['damaged entries', 'new', 2],
    ['after the damage', 'kept', 1],
    ['not to be stored', 'new', 1],
    ['with credentials', 'new', 1],
    ['broken twice', 'new', 3],
    ['after it was cut off', 'new', 2],
    ['changed after it was cut off', 'kept', 1],
    ['a budget of nothing', 'new', 1],
    ['blocked storage', 'new', 1],
  ])
  expect(loads['broken twice']?.sent).toBe(PLAN.length)
  // The first answer told the version, and was dropped; the server counts it as a whole.
  expect(loads['after it was cut off']?.sent).toBe(2 * LARGE.length - 2 * PIECE)
  expect(loads['changed after it was cut off']?.sent).toBe(LARGE.length)
  for (const step of ['cut off', 'cut off, then changed']) expect(errors[step]).toMatch(/^NetworkError: .* could not be fetched/)
  expect(errors['pieces of whole files']).toBe('0')
  for (const step of ['plan, offline', 'onnx, offline'])
    expect
      .soft(loads[step]?.warnings, step)
      .toEqual([expect.stringMatching(/could not be fetched .* The copy on this device is used\.$/)])
  expect(errors['another, offline']).toMatch(/^NetworkError: '\/files\/another\.plan' could not be fetched/)
  expect(errors['onnx, offline, uncached']).toMatch(/^NetworkError: /)
  expect(errors['broken four times']).toMatch(/^NetworkError: '\/files\/digits\.plan\?broken' could not be fetched/)
  expect(errors['a budget that is none']).toMatch(/^InputError: The option cache\.maxBytes is -1; give a number of bytes\.$/)
  expect(errors['after clearing']).toBe('0')
  expect(errors['entries of what is not to be stored']).toBe('0')
}

const FILES: { readonly [path: string]: Buffer } = {
  '/files/digits.onnx': ONNX,
  '/files/digits.plan': PLAN,
  '/files/another.plan': PLAN,
  '/files/large.onnx': LARGE,
}

/** A server of files that behaves as it is told. */
function files(reports: Reports): Handler {
  const conduct: Conduct = { offline: false, version: 'first', breaks: [], control: '' }
  let [sent, requests] = [0, 0]
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://localhost')
    if (pathname === '/behave') {
      takeReport(request, response, (body) => Object.assign(conduct, JSON.parse(body) as Partial<Conduct>))
      return true
    }
    if (pathname === '/traffic') {
      response.end(JSON.stringify({ sent, requests }))
      return true
    }
    if (pathname === '/report') {
      reports.take(request, response)
      return true
    }
    if (pathname === '/visits') {
      response.setHeader('Content-Type', 'text/html')
      const call = `(${makeVisits.toString()})('${LIBRARY}')`
      response.end(
        `<!doctype html><script>${call}.then((r) => fetch('/report', { method: 'POST', body: JSON.stringify(r) }))</script>`,
      )
      return true
    }
    const file = FILES[pathname]
    if (file === undefined) return false
    if (conduct.offline) {
      response.destroy()
      return true
    }
    requests += 1
    const tag = `"${conduct.version}-${createHash('md5').update(file).digest('hex')}"`
    const from = request.headers['if-range'] === tag ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0
    const body = file.subarray(from)
    response.removeHeader('Cache-Control')
    if (conduct.control !== '') response.setHeader('Cache-Control', conduct.control)
    response.writeHead(from > 0 ? 206 : 200, { ETag: tag, 'Content-Length': body.length })
    const end = conduct.breaks.shift() ?? body.length
    sent += end
    if (end === body.length) response.end(body)
    // A browser that has not read the headers by then asks again of its own accord.
    else response.write(body.subarray(0, end), () => setTimeout(() => response.destroy(), 250))
    return true
  }
}

const LIBRARY = '/package/index.js'
const FOLDERS = { '/package/': join(ROOT, 'pkg/dist'), '/': join(import.meta.dirname, 'blank') }

for (const browser of ['chromium', 'firefox']) {
  test(`models stay on the device: ${browser}`, async () => {
    const reports = new Reports()
    const server = await serve(FOLDERS, files(reports))
    try {
      judge((await reports.visit(browser, `${server.url}/visits`)) as Report)
    } finally {
      server.close()
    }
  })
}

test('a device that is full: the model works, a warning says that its plan was not kept', async ({ page, context }) => {
  const server = await serve(FOLDERS, files(new Reports()))
  try {
    await page.goto(server.url)
    const devtools = await context.newCDPSession(page)
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 1000 })
    const warnings = await page.evaluate(async (library) => {
      const { Model } = (await import(library)) as typeof Nearside
      const warnings: string[] = []
      const model = await Model.load('/files/digits.plan', { onWarning: (text) => warnings.push(text) })
      await model.run(new Float32Array(784))
      for (let i = 0; i < 40 && warnings.length === 0; i += 1) await new Promise((go) => setTimeout(go, 50))
      model.dispose()
      return warnings
    }, LIBRARY)
    expect(warnings).toEqual([expect.stringMatching(/could not be kept \(.*[Qq]uota.*\); it is made anew at the next visit/)])
  } finally {
    server.close()
  }
})

test('a page that is closed amid a download: the next visit asks for the rest', async ({ context }) => {
  const asked: string[] = []
  let [sent, silentAfter] = [0, 13 * MB]
  const large: Handler = (request, response) => {
    if (request.url !== '/large.onnx') return false
    const { range = '', 'if-range': condition = '' } = request.headers
    asked.push(`${range} ${String(condition)}`.trim())
    const from = condition === '"large"' ? Number(/^bytes=(\d+)-$/.exec(range)?.[1] ?? 0) : 0
    const body = LARGE.subarray(from, silentAfter)
    response.removeHeader('Cache-Control')
    response.writeHead(from > 0 ? 206 : 200, { ETag: '"large"', 'Content-Length': LARGE.length - from })
    // Of an answer that is not wanted, little travels.
    if (from > 0) sent += body.length
    if (from + body.length === LARGE.length) response.end(body)
    else response.write(body)
    return true
  }
  const server = await serve(FOLDERS, large)
  const pieces = (page: Page) =>
    page.evaluate(async () => {
      const keys = await (await caches.open('nearside-models')).keys()
      return keys.filter(({ url }) => url.includes('/piece/')).length
    })
  try {
    const first = await context.newPage()
    await first.goto(server.url)
    await first.evaluate((library) => {
      void import(library).then(({ Model }: typeof Nearside) => Model.load('/large.onnx'))
    }, LIBRARY)
    await expect.poll(() => pieces(first)).toBe(3)
    await first.close()

    ;[sent, silentAfter] = [0, LARGE.length]
    const second = await context.newPage()
    await second.goto(server.url)
    const integrity = `sha256-${createHash('sha256').update(LARGE).digest('base64')}`
    const report = await second.evaluate(
      async ([library, integrity]) => {
        const { Model } = (await import(library)) as typeof Nearside
        const seen: (number | undefined)[][] = []
        const model = await Model.load('/large.onnx', {
          integrity,
          onProgress: ({ loaded, total }) => seen.push([loaded, total]),
        })
        const { logits } = await model.run(new Float32Array(784))
        model.dispose()
        return { scores: logits?.data.length, begin: seen[0] }
      },
      [LIBRARY, integrity] as const,
    )
    expect(report).toEqual({ scores: 10, begin: [3 * PIECE, LARGE.length] })
    expect(asked).toEqual(['', '', `bytes=${3 * PIECE}- "large"`])
    expect(sent).toBe(LARGE.length - 3 * PIECE)
    await expect.poll(() => pieces(second)).toBe(0)
  } finally {
    server.close()
  }
})

test('another origin that compresses, and hides it: its length is not that of the file', async ({ page }) => {
  const packed = gzipSync(PLAN)
  const server = await serve(FOLDERS, (request, response) => {
    if (request.url !== '/packed.plan') return false
    const headers = { 'Access-Control-Allow-Origin': '*', 'Content-Encoding': 'gzip', 'Content-Length': packed.length }
    response.writeHead(200, headers).end(packed)
    return true
  })
  try {
    await page.goto(server.url)
    const report = await page.evaluate(
      async ([library, url]) => {
        const { Model } = (await import(library)) as typeof Nearside
        const fractions: number[] = []
        const model = await Model.load(url, { onProgress: ({ fraction }) => fractions.push(fraction) })
        const { logits } = await model.run(new Float32Array(784))
        model.dispose()
        return { scores: logits?.data.length, sorted: fractions.every((f, i) => f >= (fractions[i - 1] ?? 0)) }
      },
      [LIBRARY, `${server.url.replace('127.0.0.1', 'localhost')}/packed.plan`] as const,
    )
    expect(report).toEqual({ scores: 10, sorted: true })
  } finally {
    server.close()
  }
})

test('a sandboxed frame, which may not even ask for storage, runs a model without a Worker', async ({ page }) => {
  const server = await serve(FOLDERS, (request, response) => {
    response.setHeader('Access-Control-Allow-Origin', '*')
    if (request.url !== '/digits.plan') return false
    response.end(PLAN)
    return true
  })
  try {
    await page.goto(server.url)
    const said = await page.evaluate(async (base) => {
      const frame = document.createElement('iframe')
      frame.sandbox.add('allow-scripts')
      frame.srcdoc = `<script type="module">
        const say = (text) => parent.postMessage(text, '*')
        try {
          const { Model } = await import('${base}/package/index.js')
          const model = await Model.load('${base}/digits.plan', { worker: false })
          const { logits } = await model.run(new Float32Array(784))
          await Model.clearCache()
          say(String(logits.data.length))
        } catch (error) {
          say(String(error))
        }
      </script>`
      document.body.append(frame)
      return new Promise((resolve) => addEventListener('message', ({ data }) => resolve(data)))
    }, server.url)
    expect(said).toBe('10')
  } finally {
    server.close()
  }
})
