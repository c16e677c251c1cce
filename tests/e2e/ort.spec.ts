/** Applications written for onnxruntime-web, unchanged but for one alias of their bundler, in a real browser. */

import { cp, mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { expect, type Page, test } from '@playwright/test'
import type * as Ort from 'nearside/ort'

import { serve } from '../../benches/web/server.mjs'
import { buildApp, type Engine, OUTPUT } from '../ort/build.ts'
import { ASSETS } from './cards.ts'

const ROOT = join(import.meta.dirname, '../..')
const MINILM = join(ASSETS ?? '', 'real/all_minilm_l6_v2')

const require = createRequire(import.meta.url)
const ENGINE = dirname(require.resolve('onnxruntime-web'))

/** Where transformers.js finds the onnxruntime-web that it wants. */
const OWN_ENGINE = dirname(createRequire(require.resolve('@huggingface/transformers')).resolve('onnxruntime-web/webgpu'))

let server: { url: string; close: () => void }

test.beforeAll(async () => {
  const models = join(OUTPUT, 'models')
  await mkdir(join(models, 'all_minilm/onnx'), { recursive: true })
  if (ASSETS !== undefined) {
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'])
      await cp(join(MINILM, name), join(models, 'all_minilm', name))
    await cp(join(MINILM, 'dyn.onnx'), join(models, 'all_minilm/onnx/model_quantized.onnx'))
  }
  for (const name of ['digits.onnx', 'digits.int8.onnx']) await cp(join(ROOT, 'models', name), join(models, name))
  server = await serve({
    ...{ '/models/': models, '/ort/': ENGINE, '/ort-of-transformers/': OWN_ENGINE },
    ...{ '/nearside/': join(ROOT, 'pkg/dist'), '/blank/': join(import.meta.dirname, 'blank'), '/': OUTPUT },
  })
})
test.afterAll(() => {
  server.close()
})

/** Opens a built application and collects the addresses that it asks for. */
async function open(page: Page, name: string): Promise<string[]> {
  const requests: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('pageerror', (error) => {
    throw error
  })
  await page.goto(`${server.url}/${name}/index.html`)
  return requests
}

/** Requests for files of onnxruntime-web, under any name that bundlers give them, and requests to other servers. */
function foreign(requests: readonly string[]): string[] {
  const pages = requests.filter((url) => !/^(data|blob):/.test(url))
  return pages.filter((url) => !url.startsWith(server.url) || /\/ort[-./]|onnxruntime-web/.test(url))
}

// What the applications put into their pages.
declare function classify(url: string, pixels: Float32Array): Promise<{ digit: number; logits: number[]; dims: number[] }>
declare function embed(sentences: string[]): Promise<{ dims: number[]; data: number[] }>
declare function enlarge(values: number[]): Promise<number[]>
declare function useWasmAt(path: string): void
declare const ort: typeof Ort

/** The largest difference between two lists of numbers. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length)
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? NaN))))
}

for (const model of ['digits.onnx', 'digits.int8.onnx']) {
  test(`an application gets the same from ${model} through the alias`, async ({ browser }) => {
    const results: Awaited<ReturnType<typeof classify>>[] = []
    for (const engine of ['onnxruntime', 'nearside'] as const) {
      const tab = await browser.newPage()
      const requests = await open(tab, await buildApp('app', engine))
      const run = (url: string) => {
        // A coarse seven.
        const pixels = new Float32Array(784)
        for (let i = 7; i < 21; i++) pixels.fill(1, 6 * 28 + i, 6 * 28 + i + 1)
        for (let i = 6; i < 23; i++) pixels.fill(1, i * 28 + 24 - i, i * 28 + 27 - i)
        return classify(url, pixels)
      }
      await tab.waitForFunction(() => 'classify' in globalThis)
      results.push(await tab.evaluate(run, `${server.url}/models/${model}`))
      // The list is empty because nothing was asked for, not because nothing is found.
      expect(foreign(requests).length > 0, requests.join()).toBe(engine === 'onnxruntime')
      await tab.close()
    }
    const [theirs, ours] = results
    if (theirs === undefined || ours === undefined) throw new Error('no results')
    expect([ours.digit, ours.dims]).toEqual([theirs.digit, theirs.dims])
    const largest = Math.max(...theirs.logits.map(Math.abs))
    // Two roundings of the output's own 8 bits for the quantized model.
    expect(distance(ours.logits, theirs.logits)).toBeLessThanOrEqual(
      model === 'digits.onnx' ? 1e-5 * largest : (2 * largest) / 127,
    )
  })
}

test('without a bundler an import map takes the place of the alias', async ({ page: tab }) => {
  const requests: string[] = []
  tab.on('request', (request) => requests.push(request.url()))
  await tab.goto(`${server.url}/blank/`)
  await tab.setContent(
    `<script type="importmap">{ "imports": { "onnxruntime-web": "/nearside/ort/index.js" } }</script>
    <script type="module">import * as ort from 'onnxruntime-web'; Object.assign(globalThis, { ort })</script>`,
  )
  await tab.waitForFunction(() => 'ort' in globalThis)
  const dims = await tab.evaluate(async () => {
    const session = await ort.InferenceSession.create('/models/digits.int8.onnx')
    const { logits } = await session.run({ image: new ort.Tensor('float32', new Float32Array(784), [1, 1, 28, 28]) })
    return logits?.dims
  })
  expect(dims).toEqual([1, 10])
  expect(foreign(requests.filter((url) => !url.includes('/nearside/ort/')))).toEqual([])
})

test('pictures come from everything that a page draws, scaled', async ({ page: tab }) => {
  await open(tab, await buildApp('app', 'nearside'))
  await tab.waitForFunction(() => 'ort' in globalThis)
  const found = await tab.evaluate(async () => {
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = 4
    const context = canvas.getContext('2d')
    if (context === null) throw new Error('no canvas')
    context.fillStyle = 'rgb(255, 51, 0)'
    context.fillRect(0, 0, 4, 4)
    const data = context.getImageData(0, 0, 4, 4)
    const url = canvas.toDataURL()
    const image = new Image()
    image.src = url
    const offscreen = new OffscreenCanvas(4, 4)
    offscreen.getContext('2d')?.drawImage(canvas, 0, 0)
    const bitmap = await createImageBitmap(canvas)
    const blob = await new Promise<Blob | null>((resolve) => {
      canvas.toBlob(resolve)
    })
    const frame = new VideoFrame(canvas, { timestamp: 0 })
    const half = { resizedWidth: 2, resizedHeight: 2 }
    const sources = { data, url, image, canvas, offscreen, bitmap, blob, frame }
    const results: Record<string, unknown> = {}
    for (const [name, source] of Object.entries(sources)) {
      const tensor = await ort.Tensor.fromImage(source as ImageData, half)
      results[name] = [tensor.dims, Array.from(tensor.data).map((v) => Math.round(v * 5) / 5)]
    }
    const video = document.createElement('video')
    video.srcObject = canvas.captureStream()
    video.muted = true
    // A canvas that does not change sends no frame.
    const drawing = setInterval(() => {
      context.fillRect(0, 0, 4, 4)
    }, 30)
    await video.play()
    clearInterval(drawing)
    results['video'] = (await ort.Tensor.fromImage(video)).dims
    const back = (await ort.Tensor.fromImage(data)).toDataURL()
    results['back'] = back === url
    const failed = await ort.Tensor.fromImage('/nothing.png').catch((error: Error) => error.message)
    results['missing'] = failed
    const empty = await ort.Tensor.fromImage(document.createElement('video')).catch((error: Error) => error.message)
    results['empty'] = empty
    return results
  })
  const rgb = [1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0, 0, 0, 0]
  for (const name of ['data', 'url', 'canvas', 'offscreen', 'bitmap', 'blob', 'frame'])
    expect(found[name], name).toEqual([[1, 3, 2, 2], rgb])
  expect(found['image']).toEqual([
    [1, 4, 2, 2],
    [...rgb, 1, 1, 1, 1],
  ])
  expect(found['video']).toEqual([1, 3, 4, 4])
  expect(found['back']).toBe(true)
  expect(found['missing']).toMatch(/^The image '\/nothing.png' could not be loaded/)
  expect(found['empty']).toMatch(/^The image has no pixels yet/)
})

test('transformers.js gives the same embeddings through the alias', async ({ browser }) => {
  test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
  const SENTENCES = ['Neural networks can run in the browser with WebAssembly.', 'A man is eating food.']
  const results: { engine: Engine; embeddings: Awaited<ReturnType<typeof embed>>[]; enlarged: number[] }[] = []
  for (const engine of ['onnxruntime', 'nearside'] as const) {
    const tab = await browser.newPage()
    const requests = await open(tab, await buildApp('transformers', engine))
    await tab.waitForFunction(() => 'embed' in globalThis)
    if (engine === 'onnxruntime')
      await tab.evaluate((path) => {
        useWasmAt(path)
      }, `${server.url}/ort-of-transformers/`)
    // One at a time: in a batch the padding would be part of what is quantized.
    const embeddings = []
    for (const sentence of SENTENCES) embeddings.push(await tab.evaluate((text) => embed([text]), sentence))
    const enlarged = await tab.evaluate(() => enlarge([0, 1, 2, 3]))
    results.push({ engine, embeddings, enlarged })
    // The list is empty because nothing was asked for, not because nothing is found.
    expect(foreign(requests).length > 0, requests.join()).toBe(engine === 'onnxruntime')
    await tab.close()
  }
  const [theirs, ours] = results
  if (theirs === undefined || ours === undefined) throw new Error('no results')
  SENTENCES.forEach((sentence, i) => {
    const [own, their] = [ours.embeddings[i], theirs.embeddings[i]]
    expect(own?.dims).toEqual([1, 384])
    const difference = distance(own?.data ?? [], their?.data ?? [])
    console.log(`${sentence} differs by ${difference.toExponential(2)}`)
    expect(difference).toBeLessThanOrEqual(1e-3)
  })
  expect(distance(ours.enlarged, theirs.enlarged)).toBeLessThanOrEqual(1e-6)
})
