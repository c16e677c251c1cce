/** Names what the camera sees: MobileNetV2, trained on ImageNet. */

import { Model } from 'nearside'
import { softmax, topK } from 'nearside/post'

import { fetchJson, openMedia, sentence, startBy } from '../failures'

const query = new URLSearchParams(location.search)
const MODEL = query.get('model') ?? '../models/mobilenet_v2.int8.onnx'
const LABELS = query.get('labels') ?? '../models/imagenet_labels.json'

/** What the network was trained on: the side of its picture, and colours by ImageNet's mean and deviation. */
const SIDE = 244
const MEAN = [0.485, 0.456, 0.406]
const DEVIATION = [0.229, 0.224, 0.225]
const SHOWN = 3

const loading = new AbortController()
const video = document.querySelector('video') as HTMLVideoElement
const start = document.querySelector('button') as HTMLButtonElement
const answers = document.querySelector('ol') as HTMLOListElement
const state = document.querySelector('#state') as HTMLElement

async function main(): Promise<void> {
  const [model, labels] = await Promise.all([
    Model.load(MODEL, {
      signal: loading.signal,
      onProgress: ({ fraction }) => (state.textContent = `Loading: ${Math.round(100 * fraction)} %`),
    }),
    fetchJson(LABELS) as Promise<string[]>,
  ])
  state.textContent = 'Ready.'

  const watch = async (): Promise<void> => {
    video.srcObject = await openMedia({ video: { facingMode: 'environment' } })
    await video.play()
    for (;;) {
      // One frame at a time: the next one is taken when the answer to this one is there.
      await new Promise(requestAnimationFrame)
      // The middle square of the frame.
      const outputs = await model.run({ image: video, size: SIDE, fit: 'cover', mean: MEAN, std: DEVIATION })
      const scores = softmax(outputs[model.outputs[0]?.name ?? ''])
      const lines = topK(scores, SHOWN, { labels }).map(({ label, score }) => {
        const line = document.createElement('li')
        line.textContent = `${label}, ${(100 * score).toFixed(0)} %`
        return line
      })
      answers.replaceChildren(...lines)
      state.textContent = `${model.lastTiming?.total.toFixed(1)} ms`
    }
  }
  startBy(start, watch, fail)
}

function fail(error: unknown): void {
  state.textContent = sentence(error)
}

start.disabled = true
main().catch((error: unknown) => {
  // Without its labels the model need not go on loading, nor tell of it.
  loading.abort()
  fail(error)
})
