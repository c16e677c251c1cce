/** From a raster of ink to the model's input, by the rules of `models/digits.md`: crop, resample, centre. */

/** Width and height of the model's input. */
export const SIDE = 28

/** The longer side of the digit inside of it. */
const FIT = 20

/** Pixels with less ink than this are paper. */
const PAPER = 0.1

/** A grey raster, row by row. */
export interface Raster {
  readonly width: number
  readonly height: number
  /** Ink from 0 to 255 per pixel. */
  readonly ink: Uint8Array | Uint8ClampedArray
}

interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** The model's input `[1, 1, 28, 28]`; `undefined` when nothing is drawn. */
export function prepare(raster: Raster): Float32Array<ArrayBuffer> | undefined {
  const box = boundingBox(raster)
  if (box === undefined) return undefined
  const scale = FIT / Math.max(box.width, box.height)
  const width = Math.max(1, Math.floor(box.width * scale + 0.5))
  const height = Math.max(1, Math.floor(box.height * scale + 0.5))
  const small = resample(raster, box, width, height)
  return centre(small, width, height)
}

function boundingBox({ width, height, ink }: Raster): Box | undefined {
  let [left, right, top, bottom] = [width, -1, height, -1]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((ink[y * width + x] ?? 0) / 255 <= PAPER) continue
      left = Math.min(left, x)
      right = Math.max(right, x)
      top = Math.min(top, y)
      bottom = y
    }
  }
  return right < 0 ? undefined : { left, top, width: right - left + 1, height: bottom - top + 1 }
}

/** Which source pixels make up a cell, and how much of each. */
function coverage(cell: number, cells: number, pixels: number): { first: number; weights: number[] } {
  const from = (cell * pixels) / cells
  const to = ((cell + 1) * pixels) / cells
  const first = Math.floor(from)
  const weights: number[] = []
  for (let p = first; p < Math.min(Math.ceil(to), pixels); p++) {
    weights.push((Math.min(to, p + 1) - Math.max(from, p)) / (to - from))
  }
  return { first, weights }
}

/** Area averaging: columns first, then rows. */
function resample(raster: Raster, box: Box, width: number, height: number): Float64Array {
  const columns = Array.from({ length: width }, (_, j) => coverage(j, width, box.width))
  const rows = Array.from({ length: height }, (_, i) => coverage(i, height, box.height))
  const narrow = new Float64Array(width * box.height)
  for (let y = 0; y < box.height; y++) {
    const line = (box.top + y) * raster.width + box.left
    columns.forEach(({ first, weights }, j) => {
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += (weights[k] ?? 0) * (raster.ink[line + first + k] ?? 0)
      narrow[y * width + j] = sum / 255
    })
  }
  const out = new Float64Array(width * height)
  rows.forEach(({ first, weights }, i) => {
    for (let j = 0; j < width; j++) {
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += (weights[k] ?? 0) * (narrow[(first + k) * width + j] ?? 0)
      out[i * width + j] = sum
    }
  })
  return out
}

/** Stretches to full ink, and puts the centre of mass in the middle as far as the digit stays inside. */
function centre(small: Float64Array, width: number, height: number): Float32Array<ArrayBuffer> {
  const peak = small.reduce((a, b) => Math.max(a, b), 0)
  let [sum, sumX, sumY] = [0, 0, 0]
  small.forEach((v, at) => {
    sum += v
    sumX += v * ((at % width) + 0.5)
    sumY += v * (Math.floor(at / width) + 0.5)
  })
  const left = clamp(Math.floor(SIDE / 2 - sumX / sum + 0.5), SIDE - width)
  const top = clamp(Math.floor(SIDE / 2 - sumY / sum + 0.5), SIDE - height)
  const out = new Float32Array(SIDE * SIDE)
  small.forEach((v, at) => {
    out[(top + Math.floor(at / width)) * SIDE + left + (at % width)] = v / peak
  })
  return out
}

function clamp(value: number, max: number): number {
  return Math.min(Math.max(value, 0), max)
}
