/** A page that lives long with models: no leak, no jank, and it goes on after a Worker died or the page was frozen. */

import { join } from 'node:path'

import { expect, test, type Page } from '@playwright/test'
import type * as Nearside from 'nearside'

import { serve } from '../../benches/web/server.mjs'
import { ASSETS } from './cards.ts'

const ROOT = join(import.meta.dirname, '../..')
const FOLDERS = {
  '/package/': join(ROOT, 'pkg/dist'),
  '/models/': join(ROOT, 'models'),
  '/public/': join(ROOT, 'www/public'),
  '/assets/': ASSETS ?? join(import.meta.dirname, 'empty'),
  '/': join(import.meta.dirname, 'blank'),
}

let server: Awaited<ReturnType<typeof serve>>
test.beforeAll(async () => {
  server = await serve(FOLDERS)
})
test.afterAll(() => {
  server.close()
})
test.beforeEach(async ({ page }) => {
  await page.goto(server.url)
  await page.evaluate(async (library) => {
    const nearside = (await import(library)) as typeof Nearside
    Object.assign(globalThis, { nearside })
  }, '/package/index.js')
})

/** What the page's scripts find there. */
declare const nearside: typeof Nearside

/** Bytes that the page's own JavaScript holds. */
async function heap(page: Page): Promise<number> {
  const devtools = await page.context().newCDPSession(page)
  for (let i = 0; i < 3; i += 1) await devtools.send('HeapProfiler.collectGarbage')
  const { usedSize } = await devtools.send('Runtime.getHeapUsage')
  await devtools.detach()
  return usedSize
}

for (const worker of [true, false]) {
  test(`200 models come and go and leave nothing, ${worker ? 'in a Worker' : 'in the page'}`, async ({ page }) => {
    const round = (count: number) =>
      page.evaluate(
        async ({ count, worker }) => {
          const { Model } = nearside
          const plan = new Uint8Array(await (await fetch('/public/digits.int8.plan')).arrayBuffer())
          // One stays, so that the instance does, too: its memory must not grow.
          const stays = await Model.load(plan.slice(), { worker })
          const image = new Float32Array(784).fill(0.5)
          for (let i = 0; i < count; i += 1) {
            const model = await Model.load(plan.slice(), { worker })
            await model.run(image)
            model.dispose()
          }
          await stays.run(image)
          const { wasm } = await stays.memory()
          stays.dispose()
          return wasm
        },
        { count, worker },
      )
    const sizes: { wasm: number; heap: number }[] = []
    for (const count of [20, 60, 60, 60]) {
      const wasm = await round(count)
      sizes.push({ wasm, heap: await heap(page) })
    }
    const growths = (what: 'wasm' | 'heap') => sizes.slice(1).map((size, i) => size[what] - (sizes[i]?.[what] ?? 0))
    expect(growths('wasm')).toEqual([0, 0, 0])
    // The browser's own tables grow now and then. A model that was kept would leave its file, 60 kB, and one object of it some hundred bytes.
    expect(Math.min(...growths('heap'))).toBeLessThan(60 * 1000)
  })
}

test('models that are forgotten without dispose give their memory back', async ({ page }) => {
  const devtools = await page.context().newCDPSession(page)
  await page.evaluate(async () => {
    const { Model } = nearside
    const plan = new Uint8Array(await (await fetch('/public/digits.int8.plan')).arrayBuffer())
    const stays = await Model.load(plan.slice())
    Object.assign(globalThis, { plan, stays })
  })
  const forget = () =>
    page.evaluate(async () => {
      const { plan, stays } = globalThis as unknown as { plan: Uint8Array<ArrayBuffer>; stays: Nearside.Model }
      const image = new Float32Array(784).fill(0.5)
      for (let i = 0; i < 30; i += 1) await (await nearside.Model.load(plan.slice())).run(image)
      return (await stays.memory()).wasm
    })
  const sizes: number[] = []
  for (let i = 0; i < 6; i += 1) {
    sizes.push(await forget())
    await devtools.send('HeapProfiler.collectGarbage')
    // Finalizers run as tasks of their own.
    await page.waitForTimeout(200)
  }
  expect(sizes.at(-1)).toBe(sizes[1])
})

test('two models share one Worker, and the last one to go ends it', async ({ page }) => {
  const load = () =>
    page.evaluate(async () => {
      const { Model } = nearside
      const [a, b] = await Promise.all([Model.load('/public/digits.int8.plan'), Model.load('/public/digits.int8.plan')])
      const models = (globalThis as unknown as { models?: Nearside.Model[] }).models ?? []
      Object.assign(globalThis, { models: [...models, a, b] })
    })
  await load()
  expect(page.workers().length).toBe(1)
  await page.evaluate(() => (globalThis as unknown as { models: Nearside.Model[] }).models.forEach((model) => model.dispose()))
  await expect.poll(() => page.workers().length).toBe(0)
  await load()
  expect(page.workers().length).toBe(1)
})

test('a Worker that dies is reported, and the next call starts another', async ({ page }) => {
  const outcome = await page.evaluate(async () => {
    const started: Worker[] = []
    const Original = globalThis.Worker
    globalThis.Worker = class extends Original {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options)
        started.push(this)
      }
    }
    const model = await nearside.Model.load('/public/digits.int8.plan')
    const image = new Float32Array(784).fill(0.5)
    const scores = async () => String((await model.run(image))['logits']?.data)
    const expected = await scores()
    started[0]?.dispatchEvent(new ErrorEvent('error', { message: 'killed by a test' }))
    const error = await scores().catch(String)
    return { error, same: (await scores()) === expected, started: started.length }
  })
  expect(outcome).toEqual({ error: expect.stringMatching(/^WorkerError: .*died \(killed by a test\)/), same: true, started: 2 })
})

test('a page that was frozen goes on', async ({ page, context }) => {
  const devtools = await context.newCDPSession(page)
  await page.evaluate(async () => {
    const model = await nearside.Model.load('/public/digits.int8.plan')
    const image = new Float32Array(784).fill(0.5)
    const state = { runs: 0, failures: [] as string[], stop: false, model }
    Object.assign(globalThis, { state })
    void (async () => {
      while (!state.stop) {
        await model.run(image).then(
          () => (state.runs += 1),
          (error: unknown) => state.failures.push(String(error)),
        )
        await new Promise((go) => setTimeout(go, 10))
      }
    })()
  })
  type State = { runs: number; failures: string[] }
  const state = () => page.evaluate(() => ({ ...(globalThis as unknown as { state: State }).state, model: undefined }))
  await expect.poll(async () => (await state()).runs).toBeGreaterThan(3)
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
  await new Promise((go) => setTimeout(go, 1500))
  await devtools.send('Page.setWebLifecycleState', { state: 'active' })
  const { runs } = await state()
  await expect.poll(async () => (await state()).runs).toBeGreaterThan(runs + 3)
  expect((await state()).failures).toEqual([])
})

for (const [name, url, runs] of [
  ['a model', '/models/digits.int8.onnx', 300],
  ['a large model', '/assets/real/mobilenet_v2_imagenet/qdq.onnx', 10],
] as const) {
  test(`the page stays smooth while ${name} loads, compiles and runs`, async ({ page }) => {
    test.skip(url.startsWith('/assets/') && ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
    const visit = () =>
      page.evaluate(
        async ({ url, runs }) => {
          let [longest, shifts, frames, going] = [0, 0, 0, true]
          const tasks = new PerformanceObserver((list) => {
            for (const { duration } of list.getEntries()) longest = Math.max(longest, duration)
          })
          tasks.observe({ type: 'longtask' })
          const layouts = new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) shifts += (entry as PerformanceEntry & { value: number }).value
          })
          layouts.observe({ type: 'layout-shift' })
          const count = (): void => {
            frames += 1
            if (going) requestAnimationFrame(count)
          }
          count()
          const model = await nearside.Model.load(url, { cache: false })
          const sides = model.inputs[0]?.dims.map((dim) => (typeof dim === 'number' ? dim : 1)) ?? []
          const image = new Float32Array(sides.reduce((a, b) => a * b, 1)).fill(0.5)
          for (let i = 0; i < runs; i += 1) await model.run(image)
          await new Promise((go) => setTimeout(go, 100))
          model.dispose()
          tasks.disconnect()
          layouts.disconnect()
          going = false
          return { longest, shifts, frames }
        },
        { url, runs },
      )
    // Tasks count as long from 50 ms on; the observer reports no other. A busy machine can make any task long, but not in each of three visits.
    const visits = [await visit(), await visit(), await visit()]
    expect(Math.min(...visits.map(({ longest }) => longest))).toBe(0)
    for (const { shifts, frames } of visits) {
      expect(shifts).toBe(0)
      expect(frames).toBeGreaterThan(10)
    }
  })
}
