/** Names what the camera sees: MobileNetV2, trained on ImageNet. */

import { Model } from 'nearside'

const query = new URLSearchParams(location.search)
const MODEL = query.get('model') ?? '../models/mobilenet_v2.int8.onnx'
const LABELS = query.get('labels') ?? '../models/imagenet_labels.json'

/** What the network was trained on: the side of its picture, and colours by ImageNet's mean and deviation. */
const SIDE = 244
const MEAN = [0.485, 0.456, 0.406]
const DEVIATION = [0.229, 0.224, 0.225]
const SHOWN = 3

const video = document.querySelector('video') as HTMLVideoElement
const start = document.querySelector('button') as HTMLButtonElement
const answers = document.querySelector('ol') as HTMLOListElement
const state = document.querySelector('#state') as HTMLElement

const canvas = new OffscreenCanvas(SIDE, SIDE)
const context = canvas.getContext('2d', { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D

/** The middle square of a frame, as planes of red, green and blue. */
function prepare(frame: HTMLVideoElement): Float32Array {
  const { videoWidth: width, videoHeight: height } = frame
  const side = Math.min(width, height)
  context.drawImage(frame, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE)
  const { data } = context.getImageData(0, 0, SIDE, SIDE)
  const plane = SIDE * SIDE
  const out = new Float32Array(3 * plane)
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      out[c * plane + i] = ((data[4 * i + c] ?? 0) / 255 - (MEAN[c] ?? 0)) / (DEVIATION[c] ?? 1)
    }
  }
  return out
}

/** The classes with the largest scores, and their probabilities. */
function best(scores: Float32Array): { index: number; share: number }[] {
  const peak = scores.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = scores.map((score) => Math.exp(score - peak))
  const sum = powers.reduce((a, b) => a + b, 0)
  return Array.from(powers, (power, index) => ({ index, share: power / sum }))
    .sort((a, b) => b.share - a.share)
    .slice(0, SHOWN)
}

async function main(): Promise<void> {
  const [model, labels] = await Promise.all([
    Model.load(MODEL, { onProgress: ({ fraction }) => (state.textContent = `Loading: ${Math.round(100 * fraction)} %`) }),
    fetch(LABELS).then((response) => response.json() as Promise<string[]>),
  ])
  state.textContent = 'Ready.'

  start.disabled = false
  start.onclick = async () => {
    start.disabled = true
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } })
    await video.play()
    for (;;) {
      // One frame at a time: the next one is taken when the answer to this one is there.
      await new Promise(requestAnimationFrame)
      const outputs = await model.run({ [model.inputs[0]?.name ?? '']: prepare(video) })
      const scores = outputs[model.outputs[0]?.name ?? '']?.data as Float32Array
      const lines = best(scores).map(({ index, share }) => {
        const line = document.createElement('li')
        line.textContent = `${labels[index] ?? index}, ${(100 * share).toFixed(0)} %`
        return line
      })
      answers.replaceChildren(...lines)
      state.textContent = `${model.lastTiming?.total.toFixed(1)} ms`
    }
  }
}

start.disabled = true
main().catch((error: unknown) => {
  state.textContent = String(error)
})
