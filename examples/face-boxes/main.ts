/** Boxes around faces, drawn over the video: Ultra-Light-Fast-Generic-Face-Detector. */

import { Model } from 'nearside'

const MODEL = new URLSearchParams(location.search).get('model') ?? '../models/version-RFB-320.onnx'

/** The picture that the network takes; colours are (value − 127) / 128. */
const WIDTH = 320
const HEIGHT = 240
/** Boxes below this probability are none, and of two that overlap more than this the less probable is dropped. */
const LEAST = 0.7
const MOST_OVERLAP = 0.3

interface Box {
  readonly score: number
  /** Corners as parts of the picture: left, top, right, bottom. */
  readonly corners: readonly [number, number, number, number]
}

const video = document.querySelector('video') as HTMLVideoElement
const boxes = document.querySelector('canvas') as HTMLCanvasElement
const start = document.querySelector('button') as HTMLButtonElement
const state = document.querySelector('#state') as HTMLElement

const canvas = new OffscreenCanvas(WIDTH, HEIGHT)
const context = canvas.getContext('2d', { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D

function prepare(frame: HTMLVideoElement): Float32Array {
  context.drawImage(frame, 0, 0, WIDTH, HEIGHT)
  const { data } = context.getImageData(0, 0, WIDTH, HEIGHT)
  const plane = WIDTH * HEIGHT
  const out = new Float32Array(3 * plane)
  for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) out[c * plane + i] = ((data[4 * i + c] ?? 0) - 127) / 128
  return out
}

/** Non-maximum suppression: the most probable box of each heap of boxes. */
function suppress(candidates: readonly Box[]): Box[] {
  const kept: Box[] = []
  for (const box of [...candidates].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => overlap(other, box) <= MOST_OVERLAP)) kept.push(box)
  }
  return kept
}

/** Intersection over union. */
function overlap({ corners: a }: Box, { corners: b }: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0])
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1])
  if (width <= 0 || height <= 0) return 0
  const area = (c: Box['corners']): number => (c[2] - c[0]) * (c[3] - c[1])
  return (width * height) / (area(a) + area(b) - width * height)
}

function draw(found: readonly Box[]): void {
  boxes.width = video.videoWidth
  boxes.height = video.videoHeight
  const pen = boxes.getContext('2d')
  if (pen === null) return
  pen.lineWidth = 4
  pen.strokeStyle = 'orange'
  for (const { corners } of found) {
    const [left, top, right, bottom] = corners
    const [w, h] = [boxes.width, boxes.height]
    pen.strokeRect(left * w, top * h, (right - left) * w, (bottom - top) * h)
  }
}

async function main(): Promise<void> {
  const model = await Model.load(MODEL)
  state.textContent = 'Ready.'
  start.disabled = false
  start.onclick = async () => {
    start.disabled = true
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user' } })
    await video.play()
    for (;;) {
      await new Promise(requestAnimationFrame)
      const { scores, boxes: corners } = await model.run({ input: prepare(video) })
      if (scores?.type !== 'float32' || corners?.type !== 'float32') throw new Error('The model gives no scores and boxes.')
      // Scores come in pairs: no face, face.
      const candidates: Box[] = []
      for (let i = 0; i < scores.size / 2; i++) {
        const score = scores.data[2 * i + 1] ?? 0
        const [left = 0, top = 0, right = 0, bottom = 0] = corners.data.subarray(4 * i, 4 * i + 4)
        if (score >= LEAST) candidates.push({ score, corners: [left, top, right, bottom] })
      }
      const found = suppress(candidates)
      draw(found)
      const places = found.map(({ corners: c }) => `[${c.map((v) => v.toFixed(2)).join(', ')}]`)
      const faces = found.length === 1 ? '1 face' : `${found.length} faces`
      state.textContent = `${faces} ${places.join(' ')}, ${model.lastTiming?.total.toFixed(1)} ms`
    }
  }
}

start.disabled = true
main().catch((error: unknown) => {
  state.textContent = String(error)
})
