/** The benchmark page takes a frame of the camera as the input of models for pictures. */

import { encodeOnnx } from '../../pkg/test/onnx.ts'
import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'
import { expect, test } from './fixtures'

interface Result {
  readonly inputs: unknown
  readonly sides: readonly { readonly top: readonly { readonly value: number }[] }[]
}

test.use({
  permissions: ['camera'],
  launchOptions: { executablePath: CHROMIUM, args: [...CHROMIUM_ARGS, '--use-fake-device-for-media-stream'] },
})

test('a frame is the input, and the camera is off after it was taken', async ({ page }) => {
  await page.goto('/bench/?n=2&rounds=1&model=file')
  await page.getByTestId('camera-open').click()
  await expect(page.getByTestId('camera-preview')).toHaveJSProperty('paused', false)
  await expect(page.getByTestId('camera-preview')).not.toHaveJSProperty('videoWidth', 0)
  await page.getByTestId('camera-take').click()
  await expect(page.getByTestId('camera-state')).toHaveText(/^This frame is the input .* the camera is off\.$/)
  await expect(page.getByTestId('camera-preview')).toHaveJSProperty('srcObject', null)
  await expect(page.getByTestId('camera-frame')).toBeVisible()

  const dims = [1, 3, 8, 8]
  const model = encodeOnnx({ inputs: { x: dims }, outputs: { y: dims }, nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }] })
  await page.getByTestId('file').setInputFiles({ name: 'relu.onnx', mimeType: '', buffer: Buffer.from(model) })
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText('Measured.', { timeout: 60_000 })
  const { inputs, sides } = await page.evaluate(() => (globalThis as unknown as { result: Result }).result)
  expect(inputs).toEqual([{ name: 'x', type: 'float32', dims }])
  // The picture of Chromium's device is green.
  const values = sides[0]?.top.map(({ value }) => value) ?? []
  for (const value of values) {
    expect(value).toBeGreaterThan(0.3)
    expect(value).toBeLessThanOrEqual(1)
  }

  const flat = encodeOnnx({ inputs: { x: [3] }, outputs: { y: [3] }, nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }] })
  await page.getByTestId('file').setInputFiles({ name: 'flat.onnx', mimeType: '', buffer: Buffer.from(flat) })
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText(/^The model takes no single picture.*forget the frame\.$/)
  await page.getByTestId('camera-forget').click()
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText('Measured.', { timeout: 60_000 })
})

test('a camera that is refused or missing is a sentence, and can be tried again', async ({ page }) => {
  await page.addInitScript(() => {
    const names = ['NotAllowedError', 'NotFoundError']
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', names.shift()))
  })
  await page.goto('/bench/')
  await page.getByTestId('camera-open').click()
  await expect(page.getByTestId('camera-state')).toHaveText(/^The camera was not allowed; allow it/)
  await page.getByTestId('camera-open').click()
  await expect(page.getByTestId('camera-state')).toHaveText(/^The camera was not found; connect one/)
  await expect(page.getByTestId('camera-preview')).toBeHidden()
})
