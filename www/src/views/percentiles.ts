/** The table of percentiles; a cell without enough calls says how many it waits for. */

import { setText } from '../dom'
import type { Call } from '../edge'
import { formatBytes, formatMs } from '../format'
import { PERCENTILES, type Series } from '../stats'
import type { SideName } from './answers'

export class PercentilesView {
  update(side: SideName, series: Series<Call>, sent: number): void {
    const cell = (name: string): HTMLElement | null => document.querySelector(`.percentiles tr.${side} [data-cell=${name}]`)
    const values = series.percentiles()
    for (const { name, needs } of PERCENTILES) {
      const node = cell(name)
      const value = values[name]
      if (node === null) continue
      setText(node, value === undefined ? `${series.count} of ${needs}` : formatMs(value))
      node.toggleAttribute('data-wait', value === undefined)
    }
    const [calls, bytes] = [cell('calls'), cell('sent')]
    if (calls !== null) setText(calls, series.count.toLocaleString('en'))
    if (bytes !== null) setText(bytes, formatBytes(sent))
  }
}
