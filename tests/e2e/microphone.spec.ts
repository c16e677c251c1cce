/** The benchmark page takes what the microphone hears as the input of models for sound. */

import { encodeOnnx } from '../../pkg/test/onnx.ts'
import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'
import { expect, test } from './fixtures'

interface Result {
  readonly inputs: unknown
  readonly sides: readonly { readonly top: readonly { readonly value: number }[] }[]
}

test.use({
  permissions: ['microphone'],
  launchOptions: { executablePath: CHROMIUM, args: [...CHROMIUM_ARGS, '--use-fake-device-for-media-stream'] },
})

test('a sound is the input, beside others, and the microphone is off after it was taken', async ({ page }) => {
  await page.addInitScript(() => {
    const { mediaDevices } = navigator
    const open = mediaDevices.getUserMedia.bind(mediaDevices)
    mediaDevices.getUserMedia = async (constraints) => {
      const stream = await open(constraints)
      Object.assign(globalThis, { stream })
      return stream
    }
  })
  await page.goto('/bench/?n=2&rounds=1&model=file')
  await page.getByTestId('microphone-open').click()
  // Chromium's device beeps for a moment, once a second: looked at with every frame.
  await page.waitForFunction(() => (document.querySelector('#microphone-level') as HTMLMeterElement).value > 0.1)
  await page.getByTestId('microphone-take').click()
  await expect(page.getByTestId('microphone-state')).toHaveText(/^These .* are the input .* the microphone is off\.$/)
  await expect(page.getByTestId('microphone-level')).toBeHidden()
  expect(await page.evaluate(() => (globalThis as unknown as { stream: MediaStream }).stream.active)).toBe(false)

  const model = encodeOnnx({
    inputs: { state: [1, 2], x: ['batch', 'samples'] },
    outputs: { y: ['batch', 'samples'], next: [1, 2] },
    nodes: [
      { op: 'Relu', inputs: ['x'], outputs: ['y'] },
      { op: 'Relu', inputs: ['state'], outputs: ['next'] },
    ],
  })
  await page.getByTestId('file').setInputFiles({ name: 'relu.onnx', mimeType: '', buffer: Buffer.from(model) })
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText('Measured.', { timeout: 60_000 })
  const { inputs, sides } = await page.evaluate(() => (globalThis as unknown as { result: Result }).result)
  expect(inputs).toEqual([
    { name: 'state', type: 'float32', dims: [1, 2] },
    { name: 'x', type: 'float32', dims: [1, expect.any(Number)] },
  ])
  expect(sides[0]?.top[0]?.value).toBeGreaterThan(0.1)

  const flat = encodeOnnx({ inputs: { x: [3] }, outputs: { y: [3] }, nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }] })
  await page.getByTestId('file').setInputFiles({ name: 'flat.onnx', mimeType: '', buffer: Buffer.from(flat) })
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText(/^The model has no single input for the samples .*forget the sound\.$/)
  await page.getByTestId('microphone-forget').click()
  await page.getByTestId('run').click()
  await expect(page.getByTestId('state')).toHaveText('Measured.', { timeout: 60_000 })
})

test('a microphone that is refused or missing is a sentence, and can be tried again', async ({ page }) => {
  await page.addInitScript(() => {
    const names = ['NotAllowedError', 'NotFoundError']
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', names.shift()))
  })
  await page.goto('/bench/')
  await page.getByTestId('microphone-open').click()
  await expect(page.getByTestId('microphone-state')).toHaveText(/^The microphone was not allowed; allow it/)
  await page.getByTestId('microphone-open').click()
  await expect(page.getByTestId('microphone-state')).toHaveText(/^The microphone was not found; connect one/)
  await expect(page.getByTestId('microphone-level')).toBeHidden()
})
