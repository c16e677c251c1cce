/** A drawing as strokes and a picture, on a sheet whose sides are 0 to 1, and its raster. */

import type { Raster } from './ink'

export interface Point {
  readonly x: number
  readonly y: number
}

export type Stroke = readonly Point[]

/** What is on the sheet. */
export interface Drawing {
  readonly strokes: readonly Stroke[]
  /** Below the strokes: a picture's ink, as opacity. */
  readonly picture?: HTMLCanvasElement | undefined
}

/** The pen's width, as a part of the sheet. */
const PEN = 0.065

/** Side of the raster that the models see: the same on every screen, so that they see the same everywhere. */
export const RASTER_SIDE = 280

/** Draws strokes with a round pen; curves go through the middles of the given points, so that a quick hand has no corners. */
export function paint(context: CanvasRenderingContext2D, strokes: readonly Stroke[], side: number): void {
  context.lineWidth = PEN * side
  context.lineCap = 'round'
  context.lineJoin = 'round'
  for (const stroke of strokes) {
    const [first] = stroke
    if (first === undefined) continue
    context.beginPath()
    context.moveTo(first.x * side, first.y * side)
    for (let i = 1; i < stroke.length - 1; i++) {
      const [at, next] = [stroke[i] ?? first, stroke[i + 1] ?? first]
      context.quadraticCurveTo(at.x * side, at.y * side, ((at.x + next.x) / 2) * side, ((at.y + next.y) / 2) * side)
    }
    const last = stroke.at(-1) ?? first
    // A dot needs some length to be drawn.
    const dot = stroke.length === 1 ? 0.01 : 0
    context.lineTo(last.x * side + dot, last.y * side)
    context.stroke()
  }
}

/** Keeps a raster of the drawing, off the screen. */
export class Rasterizer {
  readonly #context: CanvasRenderingContext2D

  constructor() {
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = RASTER_SIDE
    const context = canvas.getContext('2d', { willReadFrequently: true })
    if (context === null) throw new Error('This browser gives the page no canvas to draw on.')
    this.#context = context
  }

  raster({ strokes, picture }: Drawing): Raster {
    this.#context.clearRect(0, 0, RASTER_SIDE, RASTER_SIDE)
    if (picture !== undefined) this.#context.drawImage(picture, 0, 0)
    paint(this.#context, strokes, RASTER_SIDE)
    const { data } = this.#context.getImageData(0, 0, RASTER_SIDE, RASTER_SIDE)
    const ink = new Uint8Array(RASTER_SIDE * RASTER_SIDE)
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i + 3] ?? 0
    return { width: RASTER_SIDE, height: RASTER_SIDE, ink }
  }
}
