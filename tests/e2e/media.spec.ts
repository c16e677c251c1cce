/**
 * Pictures of every kind that a page has, and sounds, in real browsers through the package as it is published: the numbers of the documented formulas, in a
 * Worker and in the page; what cannot be read is a typed error, and the next picture works.
 */

import { createServer } from 'node:http'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Handler, serve } from '../../benches/web/server.mjs'
import { resample } from '../../pkg/ts/audio/resampler.ts'
import { place } from '../../pkg/ts/fit.ts'
import { reference } from '../../pkg/test/media/reference.ts'
import { encodeOnnx } from '../../pkg/test/onnx.ts'
import { Reports } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Pixels of the page's picture. */
const [WIDTH, HEIGHT] = [24, 16]
/** Pixels that the model takes. */
const [SEEN_WIDTH, SEEN_HEIGHT] = [10, 12]

interface Report {
  /** What the model saw of each source. */
  seen: { source: string; dims: readonly number[]; data: number[] }[]
  errors: { mistake: string; name: string; message: string; worksAfterwards: boolean }[]
  /** Whether what belongs to the page stayed open. */
  open: boolean
  /** Width and height of a turned JPEG, and what is at its four corners. */
  turned: { dims: readonly number[]; corners: number[][] }
  /** What became of an `AudioBuffer`. */
  sound: number[]
  /** Which of several calls with `latest` were answered. */
  answered: boolean[]
  failure?: string
}

/** Shows the models everything. Runs in the page, so it stands for itself. */
async function show(library: string, worker: boolean, stranger: string, [width, height]: [number, number]): Promise<Report> {
  const report: Report = { seen: [], errors: [], open: true, turned: { dims: [], corners: [] }, sound: [], answered: [] }
  try {
    const { Model } = (await import(library)) as typeof Nearside
    const model = await Model.load('/models/fixed.onnx', { worker })
    const own = await Model.load('/models/open.onnx', { worker })
    const draw = <C extends HTMLCanvasElement | OffscreenCanvas>(canvas: C): C => {
      const context = canvas.getContext('2d') as CanvasRenderingContext2D
      const data = context.createImageData(width, height)
      data.data.forEach((_, i) => {
        data.data[i] = i % 4 === 3 ? 255 : (i * i * 7 + (i >> 3)) % 256
      })
      context.putImageData(data, 0, 0)
      return canvas
    }
    const sheet = (): HTMLCanvasElement => Object.assign(document.createElement('canvas'), { width, height })
    const canvas = draw(sheet())
    const blobOf = (of: HTMLCanvasElement, type: string): Promise<Blob> =>
      new Promise((resolve, reject) => {
        of.toBlob((blob) => {
          if (blob === null) reject(new Error('no blob'))
          else resolve(blob)
        }, type)
      })
    const png = await blobOf(canvas, 'image/png')
    const image = new Image()
    image.src = URL.createObjectURL(png)
    const bitmap = await createImageBitmap(canvas)
    const pixels = (canvas.getContext('2d') as CanvasRenderingContext2D).getImageData(0, 0, width, height)
    const frame = typeof VideoFrame === 'undefined' ? undefined : new VideoFrame(canvas, { timestamp: 0 })
    const see = async (source: string, feed: Nearside.LocalFeed) => {
      const { y } = await model.run({ x: feed })
      report.seen.push({ source, dims: y?.dims ?? [], data: Array.from(y?.data as Float32Array) })
    }
    // The very first call, before the part for pictures is there.
    const short = await createImageBitmap(canvas)
    const [running] = [see('ImageBitmap that is closed at once', short), short.close()]
    await running
    await see('ImageData', pixels)
    await see('HTMLCanvasElement', canvas)
    await see('OffscreenCanvas', draw(new OffscreenCanvas(width, height)))
    await see('HTMLImageElement that loads', image)
    await see('HTMLImageElement', image)
    await see('ImageBitmap', bitmap)
    await see('ImageBitmap again', bitmap)
    await see('Blob', png)
    await see('File', new File([png], 'picture.png', { type: 'image/png' }))
    if (frame !== undefined) {
      await see('VideoFrame', frame)
      await see('VideoFrame again', frame)
      report.open &&= frame.codedWidth > 0
      frame.close()
    }
    report.open &&= bitmap.width === width

    // What is drawn over while the run waits was captured before.
    const reused = draw(sheet())
    const [first] = [model.run({ x: reused }), reused.getContext('2d')?.fillRect(0, 0, width, height)]
    report.seen.push({ source: 'canvas drawn over', dims: [], data: Array.from((await first)['y']?.data as Float32Array) })

    // A video of the canvas, one frame for ever.
    const video = Object.assign(document.createElement('video'), { muted: true })
    const attempt = async (mistake: string, feed: () => Nearside.LocalFeed | Promise<Nearside.LocalFeed>) => {
      try {
        await model.run({ x: await feed() })
        report.errors.push({ mistake, name: '', message: '', worksAfterwards: false })
      } catch (error) {
        const { name, message } = error as Error
        const works = await model.run({ x: pixels }).then(
          ({ y }) => String(y?.data) === String(report.seen[0]?.data),
          () => false,
        )
        report.errors.push({ mistake, name, message, worksAfterwards: works })
      }
    }
    await attempt('a video without a frame', () => video)
    video.srcObject = canvas.captureStream(30)
    const redraw = setInterval(() => draw(canvas), 20)
    await video.play()
    while (video.readyState < 2 || video.videoWidth === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    await see('HTMLVideoElement', video)
    clearInterval(redraw)

    // Half transparent grey, and nothing.
    const glass = sheet()
    const pen = glass.getContext('2d') as CanvasRenderingContext2D
    pen.fillStyle = 'rgba(200, 100, 50, 0.5)'
    pen.fillRect(0, 0, width, height / 2)
    await see('transparent', glass)
    await see('transparent on white', { image: glass, background: [255, 255, 255] })

    bitmap.close()
    await attempt('a closed bitmap', () => bitmap)
    if (frame !== undefined) await attempt('a closed frame', () => frame)
    await attempt('an empty canvas', () => Object.assign(document.createElement('canvas'), { width: 0, height: 5 }))
    await attempt('an image that is not there', async () => {
      const broken = new Image()
      broken.src = '/missing.png'
      await broken.decode().catch(() => {})
      return broken
    })
    await attempt('bytes that are no picture', () => new Blob(['no picture'], { type: 'image/png' }))
    const foreign = new Image()
    foreign.src = stranger
    await foreign.decode()
    await attempt("a stranger's image", () => foreign)
    await attempt("a canvas with a stranger's image", () => {
      const tainted = sheet()
      tainted.getContext('2d')?.drawImage(foreign, 0, 0, width, height)
      return tainted
    })

    // A JPEG with a red left and a blue right half, of which its EXIF data say that it was taken with the camera turned.
    const halves = sheet()
    const brush = halves.getContext('2d') as CanvasRenderingContext2D
    brush.fillStyle = 'red'
    brush.fillRect(0, 0, width / 2, height)
    brush.fillStyle = 'blue'
    brush.fillRect(width / 2, 0, width / 2, height)
    const jpeg = new Uint8Array(await (await blobOf(halves, 'image/jpeg')).arrayBuffer())
    const exif = [
      0x45, 0x78, 0x69, 0x66, 0, 0, 0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0,
    ]
    // After the segment that canvases write first.
    const start = 2 + 2 + (jpeg[5] ?? 0)
    const parts = [jpeg.slice(0, start), Uint8Array.of(0xff, 0xe1, 0, exif.length + 2, ...exif), jpeg.slice(start)]
    const turned = new Blob(parts, { type: 'image/jpeg' })
    const { y } = await own.run({ x: turned })
    const [, , h = 0, w = 0] = y?.dims ?? []
    const at = (row: number, column: number) => [0, 1, 2].map((c) => Number(y?.data[(c * h + row) * w + column]))
    report.turned = { dims: y?.dims ?? [], corners: [at(0, 0), at(0, w - 1), at(h - 1, 0), at(h - 1, w - 1)] }

    const hearing = await Model.load('/models/sound.onnx', { worker })
    const audio = new AudioBuffer({ length: 4410, sampleRate: 44100, numberOfChannels: 2 })
    for (const channel of [0, 1]) {
      audio.copyToChannel(
        Float32Array.from({ length: 4410 }, (_, i) => Math.sin(i / (9 + 4 * channel))),
        channel,
      )
    }
    const heard = await hearing.run({ x: { audio, sampleRate: 16000 } })
    report.sound = Array.from(heard['y']?.data as Float32Array)

    const calls = Array.from({ length: 8 }, () => model.run({ x: video }, { latest: true }))
    report.answered = (await Promise.all(calls)).map((outputs) => outputs !== undefined)

    model.dispose()
    own.dispose()
    hearing.dispose()
  } catch (failure) {
    report.failure = `${String(failure)} ${(failure as Error).stack ?? ''}`
  }
  return report
}

/** What the page's picture is. */
const PIXELS = Uint8ClampedArray.from({ length: WIDTH * HEIGHT * 4 }, (_, i) =>
  i % 4 === 3 ? 255 : (i * i * 7 + (i >> 3)) % 256,
)

function expected(pixels: ArrayLike<number>, background = [0, 0, 0]): Float32Array {
  const [picture, seen] = [
    { width: WIDTH, height: HEIGHT },
    { width: SEEN_WIDTH, height: SEEN_HEIGHT },
  ]
  const third = [1 / 255, 1 / 255, 1 / 255]
  const recipe = { ...place(picture, seen, 'fill', 1), seen, background, scale: third, offset: [0, 0, 0] }
  return reference(pixels, picture, { ...recipe, channels: 'RGB', layout: 'NCHW' })
}

function judge(report: Report): void {
  expect(report.failure).toBeUndefined()
  const want = expected(PIXELS)
  const largest = (data: readonly number[], of: Float32Array): number =>
    Math.max(...data.map((v, i) => Math.abs(v - (of[i] ?? NaN))))
  for (const { source, data } of report.seen) {
    if (source.startsWith('transparent')) {
      const glass = Uint8ClampedArray.from({ length: WIDTH * HEIGHT * 4 }, (_, i) =>
        i < WIDTH * HEIGHT * 2 ? ([200, 100, 50, 128][i % 4] ?? 0) : 0,
      )
      // Canvases keep colours multiplied by alpha, in 8 bits: half a step there, and one when they are flattened.
      const bound = 2 / 255
      expect
        .soft(largest(data, expected(glass, source.endsWith('white') ? [255, 255, 255] : [0, 0, 0])), source)
        .toBeLessThanOrEqual(bound)
    } else if (source === 'HTMLVideoElement') {
      // Browsers may keep frames as luma and chroma, the latter at half the size: of this noise only the mean is certain.
      const mean = (list: ArrayLike<number>): number => Array.from(list).reduce((a, b) => a + b, 0) / list.length
      expect.soft(Math.abs(mean(data) - mean(want)), source).toBeLessThan(0.05)
    } else {
      expect.soft(largest(data, want), source).toBe(0)
    }
  }
  expect(report.seen.map(({ source }) => source)).toEqual(
    expect.arrayContaining(['ImageData', 'Blob', 'HTMLVideoElement', 'canvas drawn over']),
  )
  expect(report.open).toBe(true)

  const words: Record<string, RegExp> = {
    'a video without a frame': /^The video of input 'x' has no frame yet; wait for its event loadeddata/,
    'a closed bitmap': /^The ImageBitmap of input 'x' is closed or was transferred; give one that is open\.$/,
    'a closed frame': /^The VideoFrame of input 'x' is closed; close it after the call of run\.$/,
    'an empty canvas': /^The canvas of input 'x' is 0×5 pixels; give one that is at least 1×1/,
    'an image that is not there': /^The image of input 'x', 'http.*missing\.png', could not be loaded/,
    'bytes that are no picture': /^A picture of type 'image\/png' could not be read \(.*\); give one that this browser shows/,
    "a stranger's image": /origin.*CORS/,
    "a canvas with a stranger's image": /origin.*CORS/,
  }
  for (const { mistake, name, message, worksAfterwards } of report.errors) {
    expect.soft(name, mistake).toBe('InputError')
    expect.soft(message, mistake).toMatch(words[mistake] ?? /^$/)
    expect.soft(worksAfterwards, mistake).toBe(true)
  }
  expect(report.errors.length).toBeGreaterThanOrEqual(7)

  const channels = [0, 1].map((channel) => Float32Array.from({ length: 4410 }, (_, i) => Math.sin(i / (9 + 4 * channel))))
  const heard = resample(channels, 44100, 16000)
  expect(report.sound.length).toBe(heard.length)
  // Browsers differ in the last bit of a sine.
  expect(largest(report.sound, heard)).toBeLessThan(1e-6)

  // The last one is, and at most the one before it that had begun.
  expect(report.answered.at(-1)).toBe(true)
  expect(report.answered.slice(1, -1)).toEqual(Array<boolean>(6).fill(false))

  // Turned by a quarter to the right: what was left is above.
  expect(report.turned.dims).toEqual([1, 3, WIDTH, HEIGHT])
  const [a = [], b = [], c = [], d = []] = report.turned.corners
  for (const [red = 0, , blue = 0] of [a, b]) expect(red - blue).toBeGreaterThan(0.8)
  for (const [red = 0, , blue = 0] of [c, d]) expect(blue - red).toBeGreaterThan(0.8)
}

let server: Awaited<ReturnType<typeof serve>>
let stranger: ReturnType<typeof createServer>
let strangerUrl = ''
const reports = new Reports()

const models: Readonly<Record<string, Uint8Array>> = Object.fromEntries(
  Object.entries({ fixed: [1, 3, SEEN_HEIGHT, SEEN_WIDTH], open: [1, 3, 'h', 'w'], sound: [1, 'samples'] }).map(
    ([name, dims]) => [
      `/models/${name}.onnx`,
      encodeOnnx({ inputs: { x: dims }, outputs: { y: dims }, nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }] }),
    ],
  ),
)

const pages: Handler = (request, response) => {
  const [, place] = /^\/show\/(worker|page)$/.exec(request.url ?? '') ?? []
  const model = models[request.url ?? '']
  if (model !== undefined) {
    response.end(model)
    return true
  }
  if (place !== undefined) {
    // An isolated page would not even load a stranger's image.
    response.removeHeader('Cross-Origin-Embedder-Policy')
    response.setHeader('Content-Type', 'text/html')
    const size = JSON.stringify([WIDTH, HEIGHT])
    const call = `(${show.toString()})('/package/index.js', ${String(place === 'worker')}, '${strangerUrl}', ${size})`
    response.end(
      `<!doctype html><script>${call}.then((r) => fetch('/report', { method: 'POST', body: JSON.stringify(r) }))</script>`,
    )
    return true
  }
  if (request.url !== '/report') return false
  reports.take(request, response)
  return true
}

/** A picture of one pixel. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

test.beforeAll(async () => {
  stranger = createServer((_, response) => {
    response.setHeader('Content-Type', 'image/png').end(Buffer.from(PNG, 'base64'))
  })
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
  const address = stranger.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  strangerUrl = `http://127.0.0.1:${address.port}/picture.png`
  server = await serve({ '/package/': join(ROOT, 'pkg/dist'), '/': join(import.meta.dirname, 'blank') }, pages)
})
test.afterAll(() => {
  server.close()
  stranger.close()
})

for (const browser of ['chromium', 'firefox'] as const) {
  for (const place of ['worker', 'page'] as const) {
    test(`${browser}, ${place}`, async () => {
      judge((await reports.visit(browser, `${server.url}/show/${place}`)) as Report)
    })
  }
}
