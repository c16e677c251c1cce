/** The sheet of paper: drawn on with mouse, pen, finger or the arrow keys; examples draw themselves, pictures lie below. */

import { type Drawing, paint, type Point } from './drawing'
import { EXAMPLES } from './examples'

/** What the sheet tells. */
export interface PadListener {
  /** The drawing changed; called at most once per frame. */
  onChange(drawing: Drawing): void
}

/** How far an arrow key moves the pen, as a part of the sheet. */
const KEY_STEP = 0.035

const ARROWS: { readonly [key: string]: readonly [number, number] } = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
}

/** Points that an example grows by in each frame. */
const EXAMPLE_PACE = 2

export class Pad {
  readonly #canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D
  readonly #listener: PadListener
  #strokes: Point[][] = []
  #picture: HTMLCanvasElement | undefined
  #pointer: number | undefined
  #pen: { x: number; y: number; down: boolean; shown: boolean } = { x: 0.5, y: 0.3, down: false, shown: false }
  #frame = 0
  #changed = false
  #example = 0

  constructor(canvas: HTMLCanvasElement, listener: PadListener) {
    const context = canvas.getContext('2d')
    if (context === null) throw new Error('This browser gives the page no canvas to draw on.')
    this.#canvas = canvas
    this.#context = context
    this.#listener = listener
    this.#listenToPointer()
    canvas.addEventListener('keydown', (event) => this.#onKey(event))
    canvas.addEventListener('blur', () => this.#liftPen(false))
    new ResizeObserver(() => this.#resize()).observe(canvas)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw())
  }

  clear(): void {
    this.#stopExample()
    this.#pointer = undefined
    this.#pen.down = false
    this.#strokes = []
    this.#picture = undefined
    this.#invalidate()
  }

  /** Lays a picture's ink onto the empty sheet, where it can be drawn on. */
  showPicture(picture: HTMLCanvasElement): void {
    this.clear()
    this.#picture = picture
  }

  /** Draws an example, stroke by stroke, or at once for those who do not want motion. */
  showExample(digit: number): void {
    this.clear()
    const example = EXAMPLES[digit] ?? []
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
      this.#strokes = example.map((stroke) => [...stroke])
      this.#invalidate()
      return
    }
    const points = example.flatMap((stroke, at) => stroke.map((point) => ({ at, point })))
    const grow = (): void => {
      for (const { at, point } of points.splice(0, EXAMPLE_PACE)) (this.#strokes[at] ??= []).push(point)
      this.#invalidate()
      this.#example = points.length > 0 ? requestAnimationFrame(grow) : 0
    }
    this.#example = requestAnimationFrame(grow)
  }

  #stopExample(): void {
    cancelAnimationFrame(this.#example)
    this.#example = 0
  }

  #listenToPointer(): void {
    const canvas = this.#canvas
    canvas.addEventListener('pointerdown', (event) => {
      if (this.#pointer !== undefined || event.button !== 0) return
      if (this.#example !== 0) this.clear()
      this.#pointer = event.pointerId
      this.#pen.shown = false
      canvas.setPointerCapture(event.pointerId)
      this.#strokes.push([this.#place(event)])
      this.#invalidate()
    })
    canvas.addEventListener('pointermove', (event) => {
      if (event.pointerId !== this.#pointer) return
      // Browsers give one event per frame; the positions between are in it.
      const events = event.getCoalescedEvents?.() ?? []
      for (const part of events.length > 0 ? events : [event]) this.#strokes.at(-1)?.push(this.#place(part))
      this.#invalidate()
    })
    const end = (event: PointerEvent): void => {
      if (event.pointerId !== this.#pointer) return
      this.#pointer = undefined
    }
    canvas.addEventListener('pointerup', end)
    canvas.addEventListener('pointercancel', end)
  }

  #place(event: PointerEvent): Point {
    const box = this.#canvas.getBoundingClientRect()
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height }
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const arrow = ARROWS[event.key]
    if (arrow !== undefined) this.#movePen(arrow, event.shiftKey)
    else if (event.key === ' ') this.#togglePen()
    else return
    event.preventDefault()
  }

  #movePen([dx, dy]: readonly [number, number], fine: boolean): void {
    const pen = this.#pen
    const step = fine ? KEY_STEP / 3 : KEY_STEP
    pen.shown = true
    pen.x = Math.min(1, Math.max(0, pen.x + dx * step))
    pen.y = Math.min(1, Math.max(0, pen.y + dy * step))
    if (pen.down) this.#strokes.at(-1)?.push({ x: pen.x, y: pen.y })
    this.#invalidate()
  }

  #togglePen(): void {
    if (this.#pen.down) return this.#liftPen(true)
    if (this.#example !== 0) this.clear()
    this.#pen = { ...this.#pen, down: true, shown: true }
    this.#strokes.push([{ x: this.#pen.x, y: this.#pen.y }])
    this.#invalidate()
  }

  #liftPen(shown: boolean): void {
    this.#pen = { ...this.#pen, down: false, shown }
    this.#invalidate(false)
  }

  #resize(): void {
    const side = Math.round(this.#canvas.clientWidth * devicePixelRatio)
    if (side === 0 || side === this.#canvas.width) return
    this.#canvas.width = this.#canvas.height = side
    this.#draw()
  }

  /** Draws with the next frame, and tells the listener if the drawing is another than before. */
  #invalidate(changed = true): void {
    this.#changed ||= changed
    if (this.#frame !== 0) return
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0
      this.#draw()
      if (this.#changed) this.#listener.onChange({ strokes: this.#strokes, picture: this.#picture })
      this.#changed = false
    })
  }

  #draw(): void {
    const context = this.#context
    const side = this.#canvas.width
    const style = getComputedStyle(this.#canvas)
    context.clearRect(0, 0, side, side)
    context.strokeStyle = context.fillStyle = style.getPropertyValue('--ink')
    if (this.#picture !== undefined) {
      context.drawImage(this.#picture, 0, 0, side, side)
      context.globalCompositeOperation = 'source-in'
      context.fillRect(0, 0, side, side)
      context.globalCompositeOperation = 'source-over'
    }
    paint(context, this.#strokes, side)
    if (!this.#pen.shown) return
    const { x, y, down } = this.#pen
    context.beginPath()
    context.arc(x * side, y * side, side * 0.0325, 0, 2 * Math.PI)
    context.lineWidth = side * 0.008
    context.strokeStyle = context.fillStyle = style.getPropertyValue('--focus')
    if (down) context.fill()
    context.stroke()
  }
}
