/** The first answer on this device: what happened when, from navigation to the answer. */

import { byId, element, setText } from '../dom'
import { formatBytes, formatMs } from '../format'
import type { ColdStart } from '../coldstart'

export class WaterfallView {
  show(start: ColdStart): void {
    setText(byId('first-prediction', HTMLElement), formatMs(start.firstAnswer))
    const root = byId('waterfall', HTMLElement)
    const percent = (ms: number): string => `${((100 * ms) / start.firstAnswer).toFixed(2)}%`
    const steps = start.steps.map(({ name, kind, from, ms }) => {
      const bar = element('div', 'bar')
      bar.style.setProperty('--from', percent(from))
      bar.style.setProperty('--width', percent(ms))
      const row = element(
        'div',
        'step',
        element('span', '', name),
        element('div', 'lane', bar),
        element('span', 'ms', formatMs(ms)),
      )
      row.dataset['kind'] = kind
      return row
    })
    root.replaceChildren(...steps)
    const had = start.downloaded === 0
    const files = had
      ? 'The browser had runtime and model from an earlier visit.'
      : `${formatBytes(start.downloaded)} came over the network.`
    setText(byId('cold-note', HTMLElement), `${files} Steps overlap where the bars do. ${start.engine}`)
  }
}
