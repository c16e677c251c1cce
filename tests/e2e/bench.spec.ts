/** The benchmark page: measures by itself, beside another engine, a file of the visitor's; says what is wrong; can be cancelled. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Page } from '@playwright/test'

import { encodeOnnx } from '../../pkg/test/onnx.ts'
import { expect, test } from './fixtures'

/** What the tests look at of the result that the page leaves. */
interface Result {
  readonly model: string
  readonly experiment: { readonly n: number; readonly rounds: number }
  readonly environment: { readonly isolated: boolean }
  readonly inputs: unknown
  readonly sides: readonly {
    readonly title: string
    readonly samples: readonly number[]
    readonly median: number
    readonly memory: number
    readonly top: readonly { readonly index: number }[]
    readonly cold?: { readonly downloaded: number; readonly steps: readonly { readonly name: string }[] }
    readonly warm?: { readonly downloaded: number }
  }[]
  readonly formats: readonly {
    readonly title: string
    readonly format: string
    readonly engine: string
    readonly median: number
    readonly bytes: number
    readonly wire: number
    readonly agreement?: { readonly inputs: number; readonly same: number; readonly error: number }
  }[]
  readonly failures: readonly string[]
  readonly differences: readonly { readonly output: string; readonly largest: number }[]
  readonly peaks: { readonly float: number }
  readonly operators: readonly { readonly op: string; readonly ofPeak: number }[]
  readonly reference: { readonly samples: number; readonly right: number; readonly largest: number }
  readonly support: { readonly executor: string; readonly planBytes: number }
}

const MODELS = join(import.meta.dirname, '../../models')

async function measured(page: Page): Promise<Result> {
  await expect(page.getByTestId('state')).toHaveText('Measured.', { timeout: 60_000 })
  return page.evaluate(() => (globalThis as unknown as { result: Result }).result)
}

test('measures by itself and leaves the result for a program, with nothing from elsewhere', async ({ page, server }) => {
  const [strangers, complaints]: [string[], string[]] = [[], []]
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url)) strangers.push(request.url())
    if (/ort-/.test(request.url())) strangers.push(request.url())
  })
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  await page.goto('/bench/?auto=1&n=4&rounds=2')
  const { sides, experiment, environment, peaks, operators, reference } = await measured(page)
  const [side] = sides
  expect(sides.length).toBe(1)
  expect(side?.samples.length).toBe(8)
  expect(side?.median).toBeGreaterThan(0)
  expect(side?.top[0]?.index, 'the page draws a 3').toBe(3)
  expect(side?.cold?.downloaded).toBeGreaterThan(200_000)
  expect(side?.warm?.downloaded).toBeLessThan(10_000)
  expect(side?.memory).toBeGreaterThan(1e6)
  expect(environment.isolated).toBe(true)
  expect(peaks.float).toBeGreaterThan(0)
  expect(operators.map(({ op }) => op)).toContain('Conv')
  expect(operators.find(({ op }) => op === 'Conv')?.ofPeak).toBeGreaterThan(0)
  expect([reference.right, reference.samples]).toEqual([20, 20])
  // The reference has five digits; integers are the same everywhere.
  expect(reference.largest).toBeLessThan(1e-4)
  expect([experiment.n, experiment.rounds]).toEqual([4, 2])
  await expect(page.getByTestId('plot')).toHaveAttribute('aria-label', /Nearside: median .* ms/)
  expect(strangers).toEqual([])
  expect(complaints).toEqual([])
  // Nothing reaches beyond the screen of a phone.
  await page.setViewportSize({ width: 360, height: 740 })
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
})

test('compares with onnxruntime-web when the visitor asks, and copies what it found', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.goto('/')
  await page.getByTestId('bench-link').click()
  await page.getByTestId('beside').selectOption('onnxruntime-web')
  await page.getByLabel('Runs per round').fill('3')
  await page.getByLabel('Rounds').fill('2')
  await page.getByLabel('Rounds').blur()
  await expect(page).toHaveURL(/\?beside=onnxruntime-web&n=3&rounds=2$/)
  await page.getByTestId('run').click()
  const { sides, differences } = await measured(page)
  expect(sides.map(({ title }) => title)).toEqual(['Nearside', 'onnxruntime-web'])
  expect(differences.map(({ output }) => output)).toEqual(['logits'])
  expect(differences[0]?.largest).toBeLessThan(0.2)
  expect(sides[1]?.top[0]?.index).toBe(3)
  await page.getByTestId('copy-text').click()
  await expect(page.getByTestId('copy-text')).toHaveText('Copied')
  const text = await page.evaluate(() => navigator.clipboard.readText())
  expect(text).toMatch(/Nearside 0\.\S+, onnxruntime-web 1\.30\.0\./)
  expect(text).toMatch(/^Nearside is .* onnxruntime-web\.$/m)
})

test('compares the formats of the digits, on both engines in one run', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.goto('/bench/?n=2&rounds=2')
  await page.getByTestId('beside').selectOption('formats')
  await expect(page).toHaveURL(/\?beside=formats&n=2&rounds=2$/)
  await page.getByTestId('run').click()
  const { formats, failures, sides, differences, reference } = await measured(page)
  expect(formats.map(({ title, engine }) => `${title}, ${engine}`)).toEqual(
    ['float32', 'QDQ', 'QOperator', 'dynamic'].flatMap((title) => [`${title}, Nearside`, `${title}, onnxruntime-web`]),
  )
  expect([failures, differences]).toEqual([[], []])
  expect(sides.map(({ samples }) => samples.length)).toEqual(Array<number>(8).fill(4))
  expect(formats[0]?.agreement).toBeUndefined()
  expect(formats[1]?.agreement?.error, 'floats on both').toBeLessThan(1e-5)
  for (const { agreement, median, bytes, wire } of formats) {
    expect(median).toBeGreaterThan(0)
    expect(wire).toBeLessThan(bytes)
    expect([agreement?.inputs ?? 20, agreement?.same ?? 20]).toEqual([20, 20])
    expect(agreement?.error ?? 0).toBeLessThan(0.1)
  }
  expect(formats[2]?.agreement, 'QDQ and QOperator are the same integers here').toEqual(formats[4]?.agreement)
  expect((formats[0]?.wire ?? 0) / (formats[2]?.wire ?? 0)).toBeGreaterThan(2)
  expect(reference).toMatchObject({ samples: 20, right: 20 })
  for (const { title, cold, warm } of sides) {
    expect.soft(cold?.downloaded, `${title}, cold`).toBeGreaterThan(200_000)
    expect.soft(warm?.downloaded, `${title}, warm`).toBeLessThan(10_000)
  }
  const visits = page.getByTestId('first').locator('details')
  await expect(visits).toHaveCount(8)
  await visits.first().locator('summary').click()
  await expect(visits.first()).toContainText(
    /^float32, Nearside cold [\d.]+ m?s, warm [\d.]+ m?sCold: .*Download runtime.*Warm: /s,
  )
  await expect(page.getByTestId('formats-chart')).toHaveAttribute('aria-label', /dynamic on onnxruntime-web: .* ms\.$/)
  await expect(page.getByTestId('formats').locator('tr')).toHaveCount(8)
  await expect(page.getByTestId('formats')).toContainText('20 of 20')
  await page.getByTestId('copy-text').click()
  await expect(page.getByTestId('copy-text')).toHaveText('Copied')
  const text = await page.evaluate(() => navigator.clipboard.readText())
  expect(text).toMatch(/^QDQ \(QDQ\) on Nearside: median .* the same best entry for 20 of 20, relative error \d\.\d %$/m)
  // The next experiment has none of it.
  await page.getByTestId('beside').selectOption('simd')
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).not.toHaveText('Measured.')
  await measured(page)
  await expect(page.getByTestId('formats-chart')).toBeHidden()
  await page.setViewportSize({ width: 360, height: 740 })
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
})

test('takes several files for the formats of one model, whatever their order', async ({ page }) => {
  await page.goto('/bench/?n=2&rounds=1&worker=0')
  const files = ['digits.qop.onnx', 'digits.int8.onnx', 'digits.onnx'].map((name) => join(MODELS, name))
  await page.getByTestId('model').selectOption('file')
  await page.getByTestId('file').setInputFiles(files)
  await expect(page.getByTestId('beside')).toHaveValue('formats')
  await page.getByTestId('run').click()
  const { formats, model, sides } = await measured(page)
  expect(model).toBe('digits.onnx, digits.qop.onnx, digits.int8.onnx')
  expect(formats.map(({ format }) => format)).toEqual(['float', 'float', 'QOperator', 'QOperator', 'QDQ', 'QDQ'])
  // Six sessions in one thread, each of its own model.
  expect(new Set(sides.map(({ top }) => JSON.stringify(top))).size).toBeGreaterThan(2)
  for (const { agreement } of formats) expect(agreement?.inputs ?? 16).toBe(16)
  // However long its title is, a name stays clear of the median's line.
  await page.setViewportSize({ width: 360, height: 740 })
  const boxOf = async (selector: string) =>
    (await page.getByTestId('plot').locator(selector).boundingBox()) ?? { y: NaN, height: NaN }
  const [above, line] = [await boxOf('.name.edge'), await boxOf('.mark.edge')]
  expect(above.y + above.height).toBeLessThan(line.y)
  const [below, lower] = [await boxOf('.name.cloud'), await boxOf('.mark.cloud')]
  expect(lower.y + lower.height).toBeLessThan(below.y)
})

test('says what formats it needs, and goes on without one that an engine refuses', async ({ page }) => {
  const file = async (name: string) => ({ name, mimeType: '', buffer: await readFile(join(MODELS, name)) })
  await page.goto('/bench/?n=2&rounds=1&model=file&beside=formats')
  await page.getByTestId('file').setInputFiles([await file('digits.onnx')])
  await page.getByTestId('beside').selectOption('formats')
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText(/^Choose or drop two or more files/)
  const dropped = await page.evaluateHandle(() => {
    const data = new DataTransfer()
    for (const name of ['a.onnx', 'b.onnx']) data.items.add(new File(['no model'], name))
    return data
  })
  await page.getByTestId('beside').selectOption('nothing')
  await page.dispatchEvent('body', 'drop', { dataTransfer: dropped })
  await expect(page.getByTestId('state')).toHaveText('a.onnx, b.onnx are chosen: formats of one model.')
  await expect(page).toHaveURL(/beside=formats/)
  await page
    .getByTestId('file')
    .setInputFiles([
      await file('digits.onnx'),
      { name: 'broken.onnx', mimeType: '', buffer: Buffer.from('no model') },
      await file('digits.int8.onnx'),
    ])
  await page.getByTestId('run').click()
  const { formats, failures } = await measured(page)
  expect(formats.map(({ title }) => title)).toEqual([...['digits.onnx', 'digits.onnx', 'digits.int8.onnx', 'digits.int8.onnx']])
  expect(failures[0]).toMatch(/^broken\.onnx, Nearside: .* is neither an ONNX model nor a compiled plan/)
  expect(failures[1]).toMatch(/^broken\.onnx, onnxruntime-web: /)
})

test('takes a file, names what it cannot read, and measures the next one', async ({ page }) => {
  await page.goto('/bench/?n=2&rounds=1')
  await page.getByTestId('model').selectOption('file')
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText(/^No file was chosen yet/)
  await page.getByTestId('file').setInputFiles({ name: 'x.onnx', mimeType: '', buffer: Buffer.from('<!doctype html>') })
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText(/is a web page/)
  await page.getByTestId('file').setInputFiles(join(MODELS, 'digits.int8.onnx'))
  await page.getByTestId('run').click()
  const { model, inputs, sides, support } = await measured(page)
  expect(model).toBe('digits.int8.onnx')
  expect(inputs).toEqual([{ name: 'image', type: 'float32', dims: [1, 1, 28, 28] }])
  expect(sides[0]?.cold?.steps.map(({ name }) => name)).toContain('Compile model')
  await expect(page.getByTestId('support-note')).toHaveText(
    /The runtime runs all of it: \d+ nodes, made of \d+ of the ONNX model/,
  )
  await expect(page.getByTestId('support')).toContainText('Conv × 3')
  const download = page.waitForEvent('download')
  await page.getByTestId('save-plan').click()
  const plan = await download
  expect(plan.suggestedFilename()).toBe('digits.int8.plan')
  const bytes = await readFile(await plan.path())
  expect([bytes.subarray(0, 8).toString(), bytes.length]).toEqual(['NEARPLAN', support.planBytes])
})

test('names what needs the fallback', async ({ page }) => {
  const dims = [1, 1, 1, 1, 3]
  const model = encodeOnnx({
    inputs: { x: dims },
    outputs: { y: dims },
    constants: { w: { dims: [1, 1, 1, 1, 1], data: [2] } },
    nodes: [{ op: 'ConvTranspose', inputs: ['x', 'w'], outputs: ['y'] }],
  })
  await page.goto('/bench/?n=2&rounds=1&model=file')
  await page.getByTestId('file').setInputFiles({ name: 'up.onnx', mimeType: '', buffer: Buffer.from(model) })
  await page.getByTestId('run').click()
  const { support } = await measured(page)
  expect(support.executor).toBe('compiler')
  await expect(page.getByTestId('support')).toHaveText('ConvTranspose: fallback')
  await expect(page.getByTestId('save-plan')).toBeDisabled()
})

test('shows what more threads bring, and saves where the time goes', async ({ page }) => {
  await page.goto('/bench/?auto=1&n=3&rounds=2&beside=threads')
  const { sides, differences } = await measured(page)
  expect(sides.slice(0, 2).map(({ title }) => title)).toEqual(['One thread', '2 threads'])
  expect(differences[0]?.largest, 'threads change no result').toBe(0)
  await expect(page.getByTestId('scaling')).toHaveAttribute('aria-label', /^Speed by number of threads\. 1: .* ms, 1\.0 times/)
  const download = page.waitForEvent('download')
  await page.getByTestId('trace').click()
  expect((await download).suggestedFilename()).toBe('nearside-trace.json')
})

test('can be cancelled', async ({ page }) => {
  await page.goto('/bench/?auto=1&n=50&rounds=100')
  await expect(page.getByTestId('state')).toHaveText(/^(Warming up|Round)/, { timeout: 20_000 })
  await page.getByTestId('cancel').click()
  await expect(page.getByTestId('state')).toHaveText('Cancelled.')
  await expect(page.getByTestId('run')).toBeEnabled()
})

test('shows the experiment as code for several places', async ({ page }) => {
  await page.goto('/bench/?threads=2')
  const code = page.getByTestId('code')
  await expect(code).toContainText("Model.load('/models/digits.int8.plan', { threads: 2 })")
  await expect(page.getByTestId('code-headers')).toContainText('Cross-Origin-Opener-Policy')
  await page.getByTestId('code-place').selectOption('Vite')
  await expect(code).toContainText("from 'nearside/vite'")
  await page.getByTestId('model').selectOption('digits')
  await expect(code).toContainText("from './digits.onnx'")
})

test('with latest, answers of a source that is too fast do not get old', async ({ page }) => {
  await page.goto('/bench/')
  await page.getByTestId('live-start').click()
  await expect(page.getByTestId('live-state')).toHaveText(/^Watched: /, { timeout: 60_000 })
  const rows = await page.getByTestId('live').locator('tr').allInnerTexts()
  const [every = [], latest = []] = rows.map((row) => row.split('\t').slice(1, 4).map(Number))
  expect(every[0], 'each frame has its answer').toBe(every[1])
  expect(latest[0]).toBeGreaterThan(latest[1] ?? Infinity)
  expect(latest[2]).toBeGreaterThan(0)
})

test('works without the headers for threads, on one of them', async ({ page, request }) => {
  const headers = async (path: string) => (await request.get(path)).headers()
  expect(await headers('/bench/')).toHaveProperty('cross-origin-embedder-policy', 'require-corp')
  expect(await headers('/bench/')).toHaveProperty('cross-origin-opener-policy', 'same-origin')
  expect(await headers('/bench/one-thread.html')).not.toHaveProperty('cross-origin-embedder-policy')
  expect(await headers('/bench/one-thread.html')).not.toHaveProperty('cross-origin-opener-policy')
  await page.goto('/bench/?n=2&rounds=1')
  await page.getByTestId('other-headers').click()
  await expect(page).toHaveURL(/\/bench\/one-thread\.html\?n=2&rounds=1$/)
  await page.getByTestId('run').click()
  const { environment, sides } = await measured(page)
  expect(environment.isolated).toBe(false)
  expect(sides[0]?.cold?.downloaded).toBeGreaterThan(200_000)
  await expect(page.getByTestId('isolation')).toContainText('everything works, on one thread')
})
