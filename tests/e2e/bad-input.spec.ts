/**
 * What users may do wrong, in real browsers through the package as it is published: each is an error of a class that says what
 * it is, with a sentence that names the thing and the remedy, and the next good call works.
 */

import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { launch } from '../../benches/web/browsers.mjs'
import { type Handler, serve } from '../../benches/web/server.mjs'
import { takeReport } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')

/** What came of one mistake. */
interface Outcome {
  mistake: string
  error: { name: string; reason: string; message: string } | undefined
  /** Whether the next good call gave the right numbers. */
  worksAfterwards: boolean
}

interface Report {
  outcomes: Outcome[]
  /** What stopped the report, if anything did. */
  failure?: string
}

/** Makes every mistake once. Runs in the page, so it stands for itself. */
async function makeMistakes(library: string, worker: boolean): Promise<Report> {
  const outcomes: Outcome[] = []
  try {
    const { Model, Tensor } = (await import(library)) as typeof Nearside
    const fetched = async (url: string) => new Uint8Array(await (await fetch(url)).arrayBuffer())
    const [onnx, plan] = [await fetched('/models/digits.int8.onnx'), await fetched('/public/digits.int8.plan')]
    const changed = (at: number, value: number) => plan.map((byte, i) => (i === at ? value : byte))
    const ink = Float32Array.from({ length: 784 }, (_, i) => (i % 28 > 12 && i % 28 < 16 ? 1 : 0))
    const load = (source: Nearside.ModelSource, options: Nearside.LoadOptions = {}) => Model.load(source, { worker, ...options })
    const model = await load(plan.slice())
    const scores = async (of: Nearside.Model) => String((await of.run({ image: ink }))['logits']?.data)
    const expected = await scores(model)

    const attempt = async (mistake: string, work: () => Promise<unknown>, good: () => Promise<boolean>) => {
      let error: Outcome['error']
      try {
        await work()
      } catch (thrown) {
        const { name, message, reason = '' } = thrown as Error & { reason?: string }
        error = { name, message, reason }
      }
      outcomes.push({ mistake, error, worksAfterwards: await good().catch(() => false) })
    }
    const loading = (mistake: string, work: () => Promise<Nearside.Model>) =>
      attempt(
        mistake,
        async () => (await work()).dispose(),
        async () => {
          const next = await load(plan.slice())
          const same = (await scores(next)) === expected
          next.dispose()
          return same && (await scores(model)) === expected
        },
      )
    const running = (mistake: string, feeds: () => unknown) =>
      attempt(
        mistake,
        () => model.run(feeds() as Nearside.Feeds),
        async () => (await scores(model)) === expected,
      )
    const later = (ms: number, reason: Error) => {
      const stop = new AbortController()
      setTimeout(() => {
        stop.abort(reason)
      }, ms)
      return { signal: stop.signal }
    }

    await loading('text', () => load(new TextEncoder().encode('this is no model, whatever it may be')))
    await loading('nothing', () => load(new Uint8Array(0)))
    await loading('a number', () => load(42 as unknown as string))
    await loading('half a model', () => load(onnx.slice(0, onnx.length >> 1)))
    await loading('half a plan', () => load(plan.slice(0, plan.length >> 1)))
    await loading('a plan with a wrong bit', () => load(changed(1000, (plan[1000] ?? 0) ^ 1)))
    await loading('a plan of a newer version', () => load(changed(8, 200)))
    await loading('404 with a page', () => load('/missing/digits.onnx'))
    await loading('200 with a page', () => load('/page/digits.onnx'))
    await loading('a server that hangs', () => load('/hang/digits.onnx', { timeout: 300 }))
    await loading('a server that hangs halfway', () => load('/stall/digits.onnx', { timeout: 300 }))
    await loading('a connection that breaks', () => load('/cut/digits.onnx'))
    await loading('no server', () => load('http://127.0.0.1:9/digits.onnx'))
    await loading('another file than promised', () => load(plan.slice(), { integrity: '0'.repeat(64) }))
    await loading('aborted while it hangs', () => load('/hang/digits.onnx', later(50, new Error('no longer wanted'))))
    await loading('aborted before', () => load(onnx.slice(), { signal: AbortSignal.abort() }))
    await loading('WebAssembly that is not there', () => load(plan.slice(), { wasmBase: '/missing/wasm' }))
    if (worker) await loading('a Worker that is not there', () => load(plan.slice(), { urls: { worker: '/missing/worker.js' } }))

    const image = (dims: number[]) => new Float32Array(dims.reduce((a, b) => a * b, 1))
    await running('no input', () => ({}))
    await running('another input', () => ({ picture: ink }))
    await running('an input too many', () => ({ image: ink, mask: ink }))
    await running('a wrong shape', () => ({ image: new Tensor('float32', image([1, 1, 28, 27]), [1, 1, 28, 27]) }))
    await running('a wrong rank', () => ({ image: new Tensor('float32', image([784]), [784]) }))
    await running('an element too few', () => ({ image: image([783]) }))
    await running('a wrong type', () => ({ image: new Int32Array(784) }))
    await running('words', () => ({ image: 'a three' }))
    await running('not a number', () => ({ image: new Float32Array(784).fill(NaN) }))
    await running('infinity', () => ({ image: new Float32Array(784).fill(Infinity) }))
    await attempt(
      'a run that is aborted',
      () => model.run(ink, { signal: AbortSignal.abort() }),
      async () => (await scores(model)) === expected,
    )

    const connecting = (mistake: string, url: string, options: Nearside.RemoteOptions = {}) =>
      loading(mistake, async () => {
        const remote = await Model.connect(url, 'digits', options)
        return remote as unknown as Nearside.Model
      })
    await connecting('a page where the cloud should be', '/page')
    await connecting('nothing where the cloud should be', '/missing')
    await connecting('a cloud that hangs', '/hang', { timeout: 300 })

    model.dispose()
    await attempt(
      'a run after dispose',
      () => model.run(ink),
      async () => {
        const next = await load(plan.slice())
        return (await scores(next)) === expected
      },
    )
    return { outcomes }
  } catch (failure) {
    return { outcomes, failure: String(failure) }
  }
}

/** The class of each error, its reason where it has one, and what its sentence must say. */
const EXPECTED: { readonly [mistake: string]: readonly [string, ...RegExp[]] | undefined } = {
  text: ['ModelFormatError', /neither an ONNX model nor a compiled plan/],
  nothing: ['ModelFormatError', /is empty/],
  'a number': ['InputError', /cannot be loaded from .*42.*; give a URL/],
  'half a model': ['ModelFormatError', /./],
  'half a plan': ['PlanError', /truncated/, /download it again/],
  'a plan with a wrong bit': ['PlanError', /damaged/, /download it or compile the model again/],
  'a plan of a newer version': ['PlanError', /update nearside/],
  '404 with a page': ['NetworkError status', /missing\/digits\.onnx/, /404 .*with a web page/, /check the address/],
  '200 with a page': ['NetworkError html', /page\/digits\.onnx.* is a web page/, /check the address/],
  'a server that hangs': ['NetworkError timeout', /hang\/digits\.onnx.* sent nothing for 300 ms/, /raise the option timeout/],
  'a server that hangs halfway': ['NetworkError timeout', /stall\/digits\.onnx.* sent nothing for 300 ms/],
  'a connection that breaks': ['NetworkError unreachable', /cut\/digits\.onnx.* could not be fetched/],
  'no server': [
    'NetworkError unreachable',
    /127\.0\.0\.1:9.* could not be fetched/,
    /check the address, the connection, and CORS/,
  ],
  'another file than promised': ['IntegrityError', /./],
  'aborted while it hangs': ['Error', /^no longer wanted$/],
  'aborted before': ['AbortError', /./],
  'WebAssembly that is not there': ['NetworkError status', /missing\/wasm\/core/, /wasmBase/],
  'a Worker that is not there': ['WorkerError', /worker\.js is served/, /\{ worker: false \}/],
  'no input': ['InputError', /'image' is missing: give a float32 tensor of shape batch×1×28×28/],
  'another input': ['InputError', /'picture'/, /'?image'?/],
  'an input too many': ['InputError', /no input 'mask'/],
  'a wrong shape': ['InputError', /'image' has shape 1×1×28×27, the model takes batch×1×28×28/],
  'a wrong rank': ['InputError', /'image' has shape 784, the model takes batch×1×28×28/],
  'an element too few': ['InputError', /'image'.* 783 were given/],
  'a wrong type': ['InputError', /'image' takes float32, an Int32Array was given/],
  words: ['InputError', /'image'/],
  'not a number': undefined,
  infinity: undefined,
  'a run that is aborted': ['AbortError', /./],
  'a page where the cloud should be': ['NetworkError protocol', /\/page/],
  'nothing where the cloud should be': ['NetworkError status', /\/missing/],
  'a cloud that hangs': ['NetworkError timeout', /\/hang/],
  'a run after dispose': ['DisposedError', /was disposed; load it again/],
}

function judge({ outcomes, failure }: Report, worker: boolean): void {
  expect.soft(failure).toBeUndefined()
  expect(outcomes.map(({ mistake }) => mistake)).toEqual(
    Object.keys(EXPECTED).filter((mistake) => worker || mistake !== 'a Worker that is not there'),
  )
  for (const { mistake, error, worksAfterwards } of outcomes) {
    expect.soft(worksAfterwards, `the next good call after: ${mistake}`).toBe(true)
    const [kind, ...sentences] = EXPECTED[mistake] ?? []
    expect.soft(error === undefined ? undefined : `${error.name} ${error.reason}`.trim(), mistake).toBe(kind)
    for (const sentence of sentences) expect.soft(error?.message, mistake).toMatch(sentence)
    // Abort reasons are the caller's; all others are sentences of the package.
    if (kind !== undefined && kind !== 'Error' && kind !== 'AbortError')
      expect.soft(error?.message, mistake).toMatch(/^['A-Z].*\.$/s)
  }
}

/** Servers that misbehave, by the first part of the path; and the page for browsers without remote control. */
function misbehave(report: (body: string) => void): Handler {
  return (request, response) => {
    const [, first, ...rest] = (request.url ?? '').split('/')
    switch (first) {
      case 'hang':
        return true
      case 'stall':
        response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).write('half of it')
        return true
      case 'cut':
        response.writeHead(200, { 'Content-Length': 1000 }).write('half of it')
        setTimeout(() => response.destroy(), 20)
        return true
      case 'page':
        response.setHeader('Content-Type', 'text/html')
        response.end('<!doctype html><title>Welcome</title>')
        return true
      case 'missing':
        response.writeHead(404, { 'Content-Type': 'text/html' }).end('<!doctype html><title>Not found</title>')
        return true
      case 'mistakes': {
        response.setHeader('Content-Type', 'text/html')
        const call = `(${makeMistakes.toString()})('/package/index.js', ${String(rest[0] === 'worker')})`
        response.end(
          `<!doctype html><script>${call}.then((r) => fetch('/report', { method: 'POST', body: JSON.stringify(r) }))</script>`,
        )
        return true
      }
      case 'report':
        takeReport(request, response, report)
        return true
      default:
        return false
    }
  }
}

let server: Awaited<ReturnType<typeof serve>>
/** Settles with what the page of the running test reports. */
let reported: { promise: Promise<string>; resolve: (body: string) => void; reject: (error: Error) => void }

test.beforeAll(async () => {
  const folders = {
    '/package/': join(ROOT, 'pkg/dist'),
    '/models/': join(ROOT, 'models'),
    '/public/': join(ROOT, 'www/public'),
    '/': join(import.meta.dirname, 'blank'),
  }
  server = await serve(
    folders,
    misbehave((body) => {
      reported.resolve(body)
    }),
  )
})
test.beforeEach(() => {
  let [resolve, reject]: [(body: string) => void, (error: Error) => void] = [() => {}, () => {}]
  const promise = new Promise<string>((yes, no) => {
    ;[resolve, reject] = [yes, no]
  })
  reported = { promise, resolve, reject }
})
test.afterAll(() => {
  server.close()
})

for (const [place, worker] of [
  ['in a Worker', true],
  ['in the page', false],
] as const) {
  test(`Chromium, ${place}`, async ({ page }) => {
    await page.goto(`${server.url}/mistakes/${worker ? 'worker' : 'page'}`)
    judge(JSON.parse(await reported.promise) as Report, worker)
  })

  // Playwright drives only its own build of Firefox: the page reports by itself.
  test(`Firefox, ${place}`, async () => {
    const firefox = await launch('firefox')
    const close = await firefox.open(`${server.url}/mistakes/${worker ? 'worker' : 'page'}`, (text) => {
      reported.reject(new Error(text))
    })
    try {
      judge(JSON.parse(await reported.promise) as Report, worker)
    } finally {
      await close()
    }
  })
}
