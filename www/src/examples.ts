/** One way of writing each digit, as a pen moves: the strokes that the keys 0 to 9 draw. */

import type { Point, Stroke } from './drawing'

/** An arc of an ellipse; angles in turns, clockwise from the right. */
function arc(cx: number, cy: number, rx: number, ry: number, from: number, to: number): Point[] {
  const steps = Math.max(2, Math.ceil(Math.abs(to - from) * 28))
  return Array.from({ length: steps + 1 }, (_, i) => {
    const angle = (from + ((to - from) * i) / steps) * 2 * Math.PI
    return { x: cx + rx * Math.cos(angle), y: cy + ry * Math.sin(angle) }
  })
}

/** Straight lines through points, with positions as close as a slow hand's. */
function lines(...corners: readonly (readonly [number, number])[]): Point[] {
  const out: Point[] = []
  corners.forEach(([x, y], at) => {
    const [fromX, fromY] = corners[at - 1] ?? [x, y]
    const steps = Math.max(1, Math.ceil(Math.hypot(x - fromX, y - fromY) / 0.025))
    for (let i = 1; i <= steps; i++) out.push({ x: fromX + ((x - fromX) * i) / steps, y: fromY + ((y - fromY) * i) / steps })
  })
  return out
}

export const EXAMPLES: readonly (readonly Stroke[])[] = [
  [arc(0.5, 0.5, 0.21, 0.32, -0.28, -1.29)],
  [lines([0.37, 0.32], [0.53, 0.18], [0.53, 0.82])],
  [[...arc(0.5, 0.37, 0.19, 0.19, -0.53, 0.1), ...lines([0.62, 0.52], [0.3, 0.81], [0.72, 0.81])]],
  [[...arc(0.48, 0.335, 0.18, 0.155, -0.45, 0.24), ...arc(0.48, 0.655, 0.2, 0.165, -0.24, 0.43)]],
  [lines([0.55, 0.18], [0.27, 0.6], [0.75, 0.6]), lines([0.62, 0.4], [0.62, 0.83])],
  [[...lines([0.66, 0.19], [0.38, 0.19], [0.35, 0.46]), ...arc(0.48, 0.625, 0.2, 0.19, -0.36, 0.41)]],
  [[...lines([0.6, 0.17], [0.45, 0.32]), ...arc(0.49, 0.63, 0.185, 0.19, -0.46, -1.46), ...lines([0.31, 0.6])]],
  [lines([0.28, 0.2], [0.72, 0.2], [0.45, 0.82])],
  [
    [
      ...arc(0.5, 0.335, 0.155, 0.155, 0.0, -0.75),
      ...arc(0.5, 0.66, 0.185, 0.17, -0.25, 0.75),
      ...arc(0.5, 0.335, 0.155, 0.155, 0.25, 0.0),
    ],
  ],
  [[...arc(0.5, 0.36, 0.175, 0.17, -0.05, -1.0), ...lines([0.675, 0.36], [0.64, 0.6], [0.56, 0.83])]],
]
