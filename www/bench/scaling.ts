/** How much faster each number of threads is than one: a curve beside the line of a device on which threads cost nothing. */

import { element, svg } from '../src/dom'
import { formatMs, formatRatio } from '../src/format'

export interface ThreadsPoint {
  readonly threads: number
  /** Milliseconds of a run. */
  readonly median: number
}

/** Redraws the curve; with fewer than three points there is none. */
export function drawScaling(root: HTMLElement, points: readonly ThreadsPoint[]): void {
  const [one] = points
  const most = points.at(-1)
  root.hidden = points.length < 2 || one === undefined || most === undefined || most.threads < 2
  if (root.hidden || one === undefined || most === undefined) return
  const gains = points.map(({ threads, median }) => ({ threads, median, gain: one.median / median }))
  const top = Math.max(most.threads, ...gains.map(({ gain }) => gain))
  const x = (threads: number): number => 4 + (92 * (threads - 1)) / (most.threads - 1)
  const y = (gain: number): number => 90 - (80 * (gain - Math.min(1, lowest(gains)))) / (top - Math.min(1, lowest(gains)))
  const picture = svg('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  picture.append(
    svg('line', {
      class: 'grid',
      ...{ x1: String(x(1)), y1: String(y(1)), x2: String(x(most.threads)), y2: String(y(most.threads)) },
    }),
    svg('polyline', { class: 'curve', points: gains.map(({ threads, gain }) => `${x(threads)},${y(gain)}`).join(' ') }),
  )
  const labels = gains.map(({ threads, gain }) => {
    const label = element('span', 'point', `${threads === 1 ? '1 thread' : `${threads} threads`}: ${formatRatio(gain)}×`)
    label.style.left = `${x(threads)}%`
    label.style.top = `${Math.max(14, y(gain))}%`
    label.style.setProperty('--x', (x(threads) / 100).toFixed(2))
    return label
  })
  root.replaceChildren(picture, ...labels)
  root.setAttribute('role', 'img')
  const said = gains.map(({ threads, median, gain }) => `${threads}: ${formatMs(median)}, ${formatRatio(gain)} times as fast`)
  root.setAttribute('aria-label', `Speed by number of threads. ${said.join('; ')}.`)
}

function lowest(gains: readonly { readonly gain: number }[]): number {
  return Math.min(...gains.map(({ gain }) => gain))
}
