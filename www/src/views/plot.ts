/** The distribution of both sides' latencies: columns up for this device and down for the cloud, on one logarithmic axis. */

import { byId, element, setText, svg } from '../dom'
import { formatMs } from '../format'
import { LogAxis, type Series } from '../stats'
import type { Call } from '../edge'
import type { SideName } from './answers'

/** From 0.1 ms to 10 s: whatever happens has its place, and the axis never moves. */
const AXIS = new LogAxis(-1, 4, 12)

/** Where the axis lies and how far the highest column reaches, in percent of the height. */
const MIDDLE = 50
const GAP = 6.5
const REACH = 34

/** What is drawn of one side. */
interface Lane {
  readonly lane: SVGPathElement
  readonly mark: HTMLElement
  readonly label: HTMLElement
  readonly name: HTMLElement
}

export class PlotView {
  readonly #root = byId('plot', HTMLElement)
  readonly #sides: { readonly [S in SideName]: Lane }

  constructor() {
    const picture = svg('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
    this.#root.append(picture)
    this.#root.setAttribute('role', 'img')
    AXIS.ticks.forEach((ms, i, all) => {
      const x = String(AXIS.position(ms) * 100)
      picture.append(svg('line', { class: 'grid', x1: x, x2: x, y1: '8', y2: '92' }))
      const label = element('span', 'tick', String(ms < 1000 ? ms : ms / 1000), element('span', 'unit', ms < 1000 ? ' ms' : ' s'))
      label.style.left = `${x}%`
      label.toggleAttribute('data-last', i === all.length - 1)
      this.#root.append(label)
    })
    const side = (name: SideName, title: string): Lane => {
      const lane = svg('path', { class: `lane ${name}` })
      picture.append(lane)
      const label = element('span')
      const mark = element('div', `mark ${name}`, label)
      mark.hidden = true
      const heading = element('span', `name ${name}`, title)
      this.#root.append(heading, mark)
      return { lane, mark, label, name: heading }
    }
    this.#sides = { edge: side('edge', 'This device'), cloud: side('cloud', 'The cloud') }
  }

  update(edge: Series<Call>, cloud: Series<Call>, failed: number): void {
    const bins = { edge: edge.histogram(AXIS), cloud: cloud.histogram(AXIS) }
    // Each side fills its own half: what counts is where on the axis its calls are, not how many they were.
    setText(this.#sides.cloud.name, failed === 0 ? 'The cloud' : `The cloud (${failed} failed)`)
    this.#draw('edge', bins.edge, edge.percentiles().p50)
    this.#draw('cloud', bins.cloud, cloud.percentiles().p50)
    const say = (name: string, series: Series<Call>): string => {
      const { p50 } = series.percentiles()
      return p50 === undefined
        ? `${name}: ${series.count} calls so far`
        : `${name}: half of ${series.count} calls took ${formatMs(p50)} or less`
    }
    this.#root.setAttribute('aria-label', `Distribution of latencies. ${say('This device', edge)}. ${say('The cloud', cloud)}.`)
  }

  #draw(name: SideName, bins: readonly number[], median: number | undefined): void {
    const { lane, mark, label } = this.#sides[name]
    const peak = Math.max(...bins, 1)
    const width = 100 / bins.length
    const up = name === 'edge'
    const base = MIDDLE + (up ? -GAP : GAP)
    const columns = bins.flatMap((count, i) => {
      if (count === 0) return []
      // A lone slow call must stay visible beside thousands of quick ones.
      const height = Math.max(1.5, (REACH * count) / peak)
      return [
        `M${(i * width + 0.15).toFixed(2)} ${base}h${(width - 0.3).toFixed(2)}v${(up ? -height : height).toFixed(2)}h${(0.3 - width).toFixed(2)}z`,
      ]
    })
    lane.setAttribute('d', columns.join(''))
    mark.hidden = median === undefined
    if (median === undefined) return
    const at = AXIS.position(median)
    mark.style.setProperty('--at', `${(at * 100).toFixed(2)}%`)
    // On a narrow screen the side's name needs the right half.
    mark.toggleAttribute('data-right', at > 0.28)
    setText(label, `p50 ${formatMs(median)}`)
  }
}
