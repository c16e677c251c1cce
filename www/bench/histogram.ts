/** Two distributions on one logarithmic axis that fits them: columns up for one side, down for the other. */

import { element, svg } from '../src/dom'
import { formatMs } from '../src/format'
import { quantile } from './measure'

export interface Lane {
  readonly title: string
  readonly samples: readonly number[]
}

const BINS = 48
const MIDDLE = 50
const GAP = 7
const REACH = 32

/** Redraws the chart; its `role` and label are set too. */
export function drawHistogram(root: HTMLElement, lanes: readonly Lane[]): void {
  const all = lanes.flatMap(({ samples }) => samples)
  const [low, high] = [Math.min(...all), Math.max(...all)]
  if (!(low > 0)) return
  // Some room at both ends, and enough of it that noise does not look like a difference.
  const [from, to] = [Math.log10(low) - 0.04, Math.max(Math.log10(high) + 0.04, Math.log10(low) + 0.3)]
  const position = (ms: number): number => (Math.log10(ms) - from) / (to - from)
  const picture = svg('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  const labels: HTMLElement[] = []
  for (const ms of ticks(10 ** from, 10 ** to)) {
    const x = position(ms) * 100
    picture.append(svg('line', { class: 'grid', x1: String(x), x2: String(x), y1: '8', y2: '92' }))
    const label = element('span', 'tick', formatMs(ms))
    label.style.left = `${Math.min(93, Math.max(5, x))}%`
    labels.push(label)
  }
  lanes.forEach(({ title, samples }, i) => {
    const up = i === 0
    const side = up ? 'edge' : 'cloud'
    const bins = new Array<number>(BINS).fill(0)
    for (const ms of samples) {
      const bin = Math.min(BINS - 1, Math.floor(position(ms) * BINS))
      bins[bin] = (bins[bin] ?? 0) + 1
    }
    const peak = Math.max(...bins)
    const base = MIDDLE + (up ? -GAP : GAP)
    const width = 100 / BINS
    const columns = bins.map((count, at) => {
      const height = Math.max(1.5, (REACH * count) / peak) * (up ? -1 : 1)
      const x = (at * width + 0.15).toFixed(2)
      return count === 0 ? '' : `M${x} ${base}h${(width - 0.3).toFixed(2)}v${height.toFixed(2)}h${(0.3 - width).toFixed(2)}z`
    })
    const lane = svg('path', { class: `lane ${side}` })
    lane.setAttribute('d', columns.join(''))
    picture.append(lane)
    const median = quantile(samples, 0.5)
    const mark = element('div', `mark ${side}`)
    mark.style.setProperty('--at', `${(position(median) * 100).toFixed(2)}%`)
    const name = element('span', `name ${side}`, element('span', '', title), `, median ${formatMs(median)}`)
    labels.push(name, mark)
  })
  root.replaceChildren(picture, ...labels)
  root.setAttribute('role', 'img')
  const said = lanes.map(({ title, samples }) => {
    const [p10, p50, p90] = [0.1, 0.5, 0.9].map((share) => formatMs(quantile(samples, share)))
    return `${title}: median ${p50 ?? ''}, 10 to 90 percent ${p10 ?? ''} to ${p90 ?? ''}`
  })
  root.setAttribute('aria-label', `Distribution of the times of one run. ${said.join('. ')}.`)
}

/** 1, 2, 5, 10 … between two times; fewer where the axis is long. */
function ticks(from: number, to: number): number[] {
  const out: number[] = []
  const decades = Math.log10(to / from)
  const steps = decades > 2 ? [1] : decades > 1 ? [1, 3] : decades > 0.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8]
  for (let power = Math.floor(Math.log10(from)); 10 ** power <= to; power++) {
    for (const step of steps) {
      const ms = step * 10 ** power
      if (ms >= from && ms <= to) out.push(ms)
    }
  }
  return out
}
