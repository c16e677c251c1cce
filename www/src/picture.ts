/** Pictures of a digit, pasted, dropped or chosen: what of them is ink goes onto the sheet. */

import { RASTER_SIDE } from './drawing'

/** Less than this part of the darkest ink is paper: shadows, and the paper's own grain. */
const FAINT = 0.35

/** Where no grey is this far from the paper's, of 255, there is no ink. */
const LEAST = 32

/** The picture's ink as the opacity of a square, as large as the raster; throws a sentence for what is no picture. */
export async function inkOfPicture(file: Blob | ImageBitmap): Promise<HTMLCanvasElement> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error('This browser cannot read that as a picture; take a PNG or a JPEG.')
  })
  const scale = RASTER_SIDE / Math.max(bitmap.width, bitmap.height)
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale))) as [number, number]
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = RASTER_SIDE
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (context === null) throw new Error('This browser gives the page no canvas to draw on.')
  const [left, top] = [(RASTER_SIDE - width) >> 1, (RASTER_SIDE - height) >> 1]
  // Transparent parts are paper.
  context.fillStyle = 'white'
  context.fillRect(left, top, width, height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, left, top, width, height)
  bitmap.close()
  const pixels = context.getImageData(left, top, width, height)
  const ink = inkOf(greyOf(pixels.data), width, height)
  for (let i = 0; i < ink.length; i++) pixels.data[4 * i + 3] = ink[i] ?? 0
  context.clearRect(0, 0, RASTER_SIDE, RASTER_SIDE)
  context.putImageData(pixels, left, top)
  return canvas
}

function greyOf(rgba: Uint8ClampedArray): Uint8ClampedArray {
  const grey = new Uint8ClampedArray(rgba.length / 4)
  for (let i = 0; i < grey.length; i++)
    grey[i] = 0.299 * (rgba[4 * i] ?? 0) + 0.587 * (rgba[4 * i + 1] ?? 0) + 0.114 * (rgba[4 * i + 2] ?? 0)
  return grey
}

/** Ink from 0 to 255: how far each pixel is from the paper's grey, which is the median along the edges. Dark on light as well as light on dark. */
export function inkOf(grey: Uint8ClampedArray, width: number, height: number): Uint8ClampedArray {
  const edge = grey.filter((_, at) => at % width === 0 || at % width === width - 1 || at < width || at >= width * (height - 1))
  const paper = edge.sort()[edge.length >> 1] ?? 255
  const darkest = grey.reduce((most, value) => Math.max(most, Math.abs(value - paper)), LEAST)
  return grey.map((value) => ((Math.abs(value - paper) / darkest - FAINT) / (1 - FAINT)) * 255)
}
