/** The benchmark page counts the memory of the whole page where the browser tells it. */

import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'
import { expect, test } from './fixtures'

// Counts at once, where the browser else waits for a good moment.
test.use({
  launchOptions: {
    executablePath: CHROMIUM,
    args: [...CHROMIUM_ARGS, '--enable-blink-features=ForceEagerMeasureMemory'],
  },
})

test('tells what the page takes without each side and with it', async ({ page }) => {
  await page.goto('/bench/?beside=onnxruntime-web')
  await page.getByTestId('memory-start').click()
  await expect(page.getByTestId('run')).toBeDisabled()
  await expect(page.getByTestId('memory-state')).toHaveText('Counted.', { timeout: 60_000 })
  const rows = await page.getByTestId('memory').locator('tr').allInnerTexts()
  expect(rows.map((row) => row.split('\t')[0])).toEqual(['Nearside', 'onnxruntime-web'])
  for (const row of rows) {
    const [before = 0, loaded = 0, more = 0, wasm = 0] = row.split('\t').slice(1).map(bytesOf)
    expect(loaded).toBeGreaterThan(before)
    expect(more).toBeGreaterThan(0)
    expect(wasm).toBeGreaterThan(1e6)
  }
  await expect(page.getByTestId('run')).toBeEnabled()
  await expect(page.getByTestId('memory-start')).toBeEnabled()
})

test('says what it cannot load', async ({ page }) => {
  await page.goto('/bench/?model=file')
  await page.getByTestId('memory-start').click()
  await expect(page.getByTestId('memory-state')).toHaveText(/^No file was chosen yet/)
  await expect(page.getByTestId('memory-start')).toBeEnabled()
})

test('can be cancelled while the browser takes its time', async ({ page }) => {
  await page.addInitScript(() => {
    Object.assign(performance, { measureUserAgentSpecificMemory: () => new Promise(() => {}) })
  })
  await page.goto('/bench/')
  await page.getByTestId('memory-start').click()
  await expect(page.getByTestId('memory-state')).toHaveText(/up to a minute…$/)
  await page.getByTestId('memory-cancel').click()
  await expect(page.getByTestId('memory-state')).toHaveText('Cancelled.')
  await expect(page.getByTestId('run')).toBeEnabled()
})

test('says why there is nothing to count without the headers', async ({ page }) => {
  await page.goto('/bench/one-thread.html')
  await expect(page.getByTestId('memory-state')).toHaveText(/COOP and COEP; this one is not\.$/)
  await expect(page.getByTestId('memory-start')).toBeDisabled()
})

/** `1.2 MB` as a number. */
function bytesOf(text: string): number {
  const [value, unit] = text.split(' ')
  return Number(value) * ({ KB: 1e3, MB: 1e6 }[unit ?? ''] ?? 1)
}
