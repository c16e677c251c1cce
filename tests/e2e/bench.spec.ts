/** The benchmark page: measures by itself, beside another engine, a file of the visitor's; says what is wrong; can be cancelled. */

import { join } from 'node:path'

import type { Page } from '@playwright/test'

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
  readonly differences: readonly { readonly output: string; readonly largest: number }[]
  readonly peaks: { readonly float: number }
  readonly operators: readonly { readonly op: string }[]
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
  const { sides, experiment, environment, peaks, operators } = await measured(page)
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
  const { model, inputs, sides } = await measured(page)
  expect(model).toBe('digits.int8.onnx')
  expect(inputs).toEqual([{ name: 'image', type: 'float32', dims: [1, 1, 28, 28] }])
  expect(sides[0]?.cold?.steps.map(({ name }) => name)).toContain('Compile model')
})

test('shows what more threads bring, and saves where the time goes', async ({ page }) => {
  await page.goto('/bench/?auto=1&n=3&rounds=2&beside=threads')
  const { sides, differences } = await measured(page)
  expect(sides.slice(0, 2).map(({ title }) => title)).toEqual(['One thread', '2 threads'])
  expect(differences[0]?.largest, 'threads change no result').toBe(0)
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
