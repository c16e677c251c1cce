/** The examples, built as their readers would, with real models, a camera and a microphone that play files. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, type Page, test } from '@playwright/test'
import { build } from 'vite'

import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'
import { serve } from '../../benches/web/server.mjs'
import { ASSETS } from './cards.ts'
import { type Outcome, scriptOf, type Step, type Visit } from './drive.ts'
import { Reports } from './reports.ts'

const ROOT = join(import.meta.dirname, '../..')
const media = mkdtempSync(join(tmpdir(), 'nearside-media-'))
const [camera, microphone] = [join(media, 'camera.mjpeg'), join(media, 'microphone.wav')]
const missing = ASSETS === undefined
const MISSING = 'the folder of test models is missing (set NEARSIDE_ASSETS)'

if (ASSETS !== undefined) {
  // One picture for ever: a portrait of somebody in uniform.
  writeFileSync(camera, readFileSync(join(ASSETS, 'images/grace_hopper.jpg')))
  writeFileSync(microphone, wav(readFileSync(join(ASSETS, 'real/silero_vad_v6/io/real_a.i16.bin'))))
}

test.use({
  permissions: ['camera', 'microphone'],
  launchOptions: {
    executablePath: CHROMIUM,
    args: [
      ...CHROMIUM_ARGS,
      '--use-fake-device-for-media-stream',
      ...(missing ? [] : [`--use-file-for-fake-video-capture=${camera}`, `--use-file-for-fake-audio-capture=${microphone}`]),
    ],
  },
})

/** Samples of 16 bits at 16 kHz as a file. */
function wav(samples: Buffer): Buffer {
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.writeUInt32LE(36 + samples.length, 4)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(16_000, 24)
  head.writeUInt32LE(32_000, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36)
  head.writeUInt32LE(samples.length, 40)
  return Buffer.concat([head, samples])
}

let server: { url: string; close: () => void }
const reports = new Reports()
/** What the pages of Firefox do by themselves, each at the address with its number. */
let visits: readonly Visit[] = []

test.beforeAll(async () => {
  await build({ root: join(ROOT, 'examples'), configFile: join(ROOT, 'examples/vite.config.ts'), logLevel: 'warn' })
  server = await serve(
    { '/test-models/': ASSETS ?? join(ROOT, 'models'), '/digits/': join(ROOT, 'models'), '/': join(ROOT, 'examples/dist') },
    (request, response) => {
      if (request.url === '/report') {
        reports.take(request, response)
        return true
      }
      const address = new URL(request.url ?? '/', 'http://localhost')
      const visit = address.searchParams.get('visit')
      if (visit !== null) {
        const page = readFileSync(join(ROOT, 'examples/dist', address.pathname), 'utf8')
        response.setHeader('Content-Type', 'text/html; charset=utf-8')
        response.end(page.replace('<head>', `<head>${scriptOf(visits, Number(visit))}`))
        return true
      }
      if (request.url?.startsWith('/page-for-everything/') !== true) return false
      response.setHeader('Content-Type', 'text/html')
      response.end('<!doctype html><title>Welcome</title>')
      return true
    },
  )
})
test.afterAll(() => {
  server.close()
})

/** Opens an example, with addresses below the folder of test models; returns what it asks of other servers. */
async function open(page: Page, name: string, models: Readonly<Record<string, string>>): Promise<string[]> {
  const strangers: string[] = []
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(server.url)) strangers.push(request.url())
  })
  page.on('pageerror', (error) => {
    throw error
  })
  const query = new URLSearchParams(Object.entries(models).map(([key, path]) => [key, `/test-models/${path}`]))
  await page.goto(`${server.url}/${name}/index.html?${query.toString()}`)
  return strangers
}

test('a camera sees a uniform', async ({ page }) => {
  test.skip(missing, MISSING)
  const folder = 'real/mobilenet_v2_imagenet'
  const strangers = await open(page, 'camera-classification', { model: `${folder}/qdq.onnx`, labels: `${folder}/labels.json` })
  await page.getByRole('button').click()
  await expect(page.getByRole('listitem').first()).toContainText(/uniform|mortarboard|vest|jersey/, { timeout: 20_000 })
  await expect(page.getByRole('listitem')).toHaveCount(3)
  await expect(page.getByRole('status')).toHaveText(/^\d+\.\d ms$/)
  expect(strangers).toEqual([])
})

test('a camera sees one face', async ({ page }) => {
  test.skip(missing, MISSING)
  await open(page, 'face-boxes', { model: 'real/ultraface_rfb_320/f32.onnx' })
  await page.getByRole('button').click()
  await expect(page.getByRole('status')).toHaveText(/^1 face \[/, { timeout: 20_000 })
  const box =
    /\[(.*?)\]/
      .exec(await page.getByRole('status').innerText())?.[1]
      ?.split(', ')
      .map(Number) ?? []
  const [left = 0, top = 0, right = 0, bottom = 0] = box
  // The camera crops the portrait to its own form: the face stays in the middle third.
  expect(Math.abs((left + right) / 2 - 0.5)).toBeLessThan(1 / 6)
  expect((top + bottom) / 2).toBeGreaterThan(0.2)
  expect((top + bottom) / 2).toBeLessThan(0.7)
  expect(right - left).toBeGreaterThan(0.1)
})

test('sentences are found by their meaning', async ({ page }) => {
  test.skip(missing, MISSING)
  const folder = 'real/all_minilm_l6_v2'
  await open(page, 'sentence-search', { model: `${folder}/dyn.onnx`, tokenizer: folder })
  await expect(page.getByRole('status')).toHaveText('Ready: 8 sentences.', { timeout: 30_000 })
  const search = async (text: string): Promise<string> => {
    await page.getByRole('searchbox').fill(text)
    await page.getByRole('button').click()
    await expect(page.getByRole('status')).toHaveText(/ms$/)
    return page.getByRole('listitem').first().innerText()
  }
  expect(await search('Somebody has lunch')).toMatch(/^A man is eating a piece of bread\./)
  await expect(page.getByRole('listitem')).toHaveCount(8)
  await page.getByRole('searchbox').fill('machine learning on the web')
  await page.getByRole('button').click()
  await expect(page.getByRole('listitem').first()).toContainText('Neural networks')
})

test('a microphone hears speech, and its end', async ({ page }) => {
  test.skip(missing, MISSING)
  await open(page, 'voice-activity', { model: 'real/silero_vad_v6/f32.onnx' })
  await expect(page.getByRole('status')).toHaveText('Ready.', { timeout: 20_000 })
  await page.getByRole('button').click()
  await expect(page.getByRole('status')).toHaveText('Somebody is speaking.')
  await expect(page.getByRole('status')).toHaveText('Nobody is speaking.', { timeout: 20_000 })
})

test('a form answers at every change', async ({ page }) => {
  test.skip(missing, MISSING)
  await open(page, 'tabular-form', { model: 'arch/gbt_classifier_wine/f32.onnx' })
  await expect(page.locator('#answer')).toHaveText(/^Barbera, \d+ %$/)
  const values = [11.79, 2.13, 2.78, 28.5, 92, 2.13, 2.24, 0.58, 1.76, 3, 0.97, 2.44, 466]
  const fields = await page.getByRole('spinbutton').all()
  for (const [i, field] of fields.entries()) await field.fill(String(values[i]))
  await expect(page.locator('#answer')).toHaveText('Grignolino, 100 %')
  await fields[0]?.fill('')
  await expect(page.locator('#answer')).toHaveText('Fill in every field.')
})

test.describe('says in a sentence', () => {
  test.use({ permissions: [] })
  const [model, list] = ['/digits/digits.int8.onnx', '/digits/digits.samples.json']
  const [missingFile, page404] = ['/digits/none', '/page-for-everything/none']

  for (const [what, name, query, said] of [
    [
      'that the tokenizer is a web page',
      'sentence-search',
      { model, tokenizer: page404 },
      /none\/tokenizer\w*\.json is a web page; check that/,
    ],
    [
      'that the tokenizer is missing',
      'sentence-search',
      { model, tokenizer: missingFile },
      /: the server answered 404; put the file there\.$/,
    ],
    [
      'that the labels are missing',
      'camera-classification',
      { model, labels: missingFile },
      /^\/digits\/none: the server answered 404/,
    ],
    ['that a model is a web page', 'face-boxes', { model: `${page404}.onnx` }, /none\.onnx'.* web page/],
    [
      'that a model is missing',
      'voice-activity',
      { model: missingFile },
      /the server answered 404 Not Found instead of the model/,
    ],
    ['that a model is another one', 'tabular-form', { model }, /^The model has no input 'X'; its input is 'image'/],
  ] as const) {
    test(what, async ({ page }) => {
      await page.goto(`${server.url}/${name}/index.html?${new URLSearchParams(query).toString()}`)
      await expect(page.getByRole('status')).toHaveText(said)
    })
  }

  test('that no server answers', async ({ page }) => {
    await page.route('**/tokenizer*.json', (route) => route.abort())
    await page.goto(`${server.url}/sentence-search/index.html?${new URLSearchParams({ model, tokenizer: '/digits' }).toString()}`)
    await expect(page.getByRole('status')).toHaveText(/tokenizer\w*\.json could not be fetched; check the connection\.$/)
  })

  for (const [name, query, device] of [
    ['camera-classification', { model, labels: list }, 'camera'],
    ['face-boxes', { model }, 'camera'],
    ['voice-activity', { model }, 'microphone'],
  ] as const) {
    test(`that the ${device} was refused: ${name}`, async ({ page }) => {
      await page.goto(`${server.url}/${name}/index.html?${new URLSearchParams(query).toString()}`)
      await expect(page.getByRole('status')).toHaveText('Ready.')
      await page.getByRole('button').click()
      await expect(page.getByRole('status')).toHaveText(new RegExp(`^The ${device} was not allowed; allow it beside`))
      await expect(page.getByRole('button')).toBeEnabled()
      // Where the connection is no secret, browsers have none to give.
      await page.evaluate(() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined }))
      await page.getByRole('button').click()
      await expect(page.getByRole('status')).toHaveText(`This page may not use a ${device}: open it by https, or from localhost.`)
    })
  }
})

// Firefox is not driven: its pages do by themselves what is done to those of Chromium, one after the other.
test.describe('Firefox', () => {
  const devices = {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
  }
  const refused = { 'media.navigator.streams.fake': true, 'permissions.default.camera': 2, 'permissions.default.microphone': 2 }
  const status = (matches: string): Step => ({ until: '#state', matches })
  const press: Step = { click: 'button' }
  const [model, labels] = ['/digits/digits.int8.onnx', '/digits/digits.samples.json']

  async function expectVisits(
    planned: readonly (readonly [name: string, query: Readonly<Record<string, string>>, ...steps: Step[]])[],
    preferences: Readonly<Record<string, boolean | number>>,
  ): Promise<void> {
    visits = planned.map(([name, query, ...steps], i) => ({
      name: `${i}: ${name}`,
      url: `${server.url}/${name}/index.html?${new URLSearchParams({ ...query, visit: String(i) }).toString()}`,
      steps,
    }))
    const outcomes = (await reports.visit('firefox', visits[0]?.url ?? '', preferences)) as Outcome[]
    expect(outcomes).toEqual(visits.map(({ name }) => ({ name })))
  }

  test('runs the examples', async () => {
    test.skip(missing, MISSING)
    const of = (path: string): string => `/test-models/real/${path}`
    const [mobilenet, minilm] = [of('mobilenet_v2_imagenet'), of('all_minilm_l6_v2')]
    await expectVisits(
      [
        // Firefox's own camera shows colours that change; no file can take its place, so what is seen is not known.
        [
          'camera-classification',
          { model: `${mobilenet}/qdq.onnx`, labels: `${mobilenet}/labels.json` },
          ...[status('^Ready'), press, { until: 'li', count: 3 }, status('^\\d+\\.\\d ms$')],
        ],
        ['face-boxes', { model: of('ultraface_rfb_320/f32.onnx') }, status('^Ready'), press, status('^0 faces , [\\d.]+ ms$')],
        // Without a device for sound Firefox's AudioContext does not run, so nothing can be heard: the model loads.
        ['voice-activity', { model: of('silero_vad_v6/f32.onnx') }, status('^Ready')],
        [
          'sentence-search',
          { model: `${minilm}/dyn.onnx`, tokenizer: minilm },
          ...[status('^Ready: 8'), { fill: 'input', values: ['Somebody has lunch'] }, press],
          { until: 'li', matches: '^A man is eating a piece of bread\\.' },
        ],
        [
          'tabular-form',
          { model: '/test-models/arch/gbt_classifier_wine/f32.onnx' },
          { until: '#answer', matches: '^Barbera, \\d+ %$' },
          { fill: 'input', values: [11.79, 2.13, 2.78, 28.5, 92, 2.13, 2.24, 0.58, 1.76, 3, 0.97, 2.44, 466].map(String) },
          { until: '#answer', matches: '^Grignolino, 100 %$' },
        ],
      ],
      devices,
    )
  })

  test('says in a sentence what is wrong', async () => {
    const denied = (device: string): Step[] => [
      ...[status('^Ready'), press, status(`^The ${device} was not allowed; allow it beside`)],
      ...([{ without: 'mediaDevices' }, press] as const),
      status(`^This page may not use a ${device}: open it by https, or from localhost\\.$`),
    ]
    await expectVisits(
      [
        ['sentence-search', { model, tokenizer: '/page-for-everything/none' }, status('is a web page; check that')],
        ['sentence-search', { model, tokenizer: '/digits/none' }, status(': the server answered 404; put the file there\\.$')],
        ['camera-classification', { model, labels: '/digits/none' }, status('^/digits/none: the server answered 404')],
        ['face-boxes', { model: '/page-for-everything/none.onnx' }, status("none\\.onnx'.* web page")],
        ['voice-activity', { model: '/digits/none' }, status('the server answered 404 Not Found instead of the model')],
        ['tabular-form', { model }, status("^The model has no input 'X'; its input is 'image'")],
        ['camera-classification', { model, labels }, ...denied('camera')],
        ['face-boxes', { model }, ...denied('camera')],
        ['voice-activity', { model }, ...denied('microphone')],
      ],
      refused,
    )
  })
})
