/** Boxes around faces, drawn over the video: Ultra-Light-Fast-Generic-Face-Detector. */

import { Model } from 'nearside'
import { type Detection, nms } from 'nearside/post'

import { openMedia, sentence, startBy } from '../failures'

const MODEL = new URLSearchParams(location.search).get('model') ?? '../models/version-RFB-320.onnx'

/** What the network was trained on: colours are (value − 127) / 128. */
const COLOURS = { scale: 1, mean: 127, std: 128 }
/** Boxes below this probability are none, and of two that overlap more than this the less probable is dropped. */
const THRESHOLDS = { scoreThreshold: 0.7, iouThreshold: 0.3 }

const video = document.querySelector('video') as HTMLVideoElement
const boxes = document.querySelector('canvas') as HTMLCanvasElement
const start = document.querySelector('button') as HTMLButtonElement
const state = document.querySelector('#state') as HTMLElement

function draw(found: readonly Detection[]): void {
  boxes.width = video.videoWidth
  boxes.height = video.videoHeight
  const pen = boxes.getContext('2d')
  if (pen === null) return
  pen.lineWidth = 4
  pen.strokeStyle = 'orange'
  for (const { box } of found) {
    // Corners are parts of the picture.
    const [left, top, right, bottom] = box
    const [w, h] = [boxes.width, boxes.height]
    pen.strokeRect(left * w, top * h, (right - left) * w, (bottom - top) * h)
  }
}

async function main(): Promise<void> {
  const model = await Model.load(MODEL)
  state.textContent = 'Ready.'
  const watch = async (): Promise<void> => {
    video.srcObject = await openMedia({ video: { facingMode: 'user' } })
    await video.play()
    for (;;) {
      await new Promise(requestAnimationFrame)
      const { scores, boxes: corners } = await model.run({ image: video, ...COLOURS })
      if (scores?.type !== 'float32') throw new Error('The model gives no scores.')
      // Scores come in pairs: no face, face.
      const faces = scores.data.filter((_, i) => i % 2 === 1)
      const found = nms(corners, faces, THRESHOLDS)
      draw(found)
      const places = found.map(({ box }) => `[${box.map((v) => v.toFixed(2)).join(', ')}]`)
      const count = found.length === 1 ? '1 face' : `${found.length} faces`
      state.textContent = `${count} ${places.join(' ')}, ${model.lastTiming?.total.toFixed(1)} ms`
    }
  }
  startBy(start, watch, fail)
}

function fail(error: unknown): void {
  state.textContent = sentence(error)
}

start.disabled = true
main().catch(fail)
