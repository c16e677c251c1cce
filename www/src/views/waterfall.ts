/** The first answer on this device: what happened when, from navigation to the answer. */

import { byId, element, setText } from '../dom'
import { formatBytes, formatMs } from '../format'
import type { ColdStart, Step } from '../coldstart'

export class WaterfallView {
  show(start: ColdStart): void {
    setText(byId('first-prediction', HTMLElement), formatMs(start.firstAnswer))
    const root = byId('waterfall', HTMLElement)
    root.replaceChildren(...waterfallSteps(start.steps, start.firstAnswer))
    const had = start.downloaded === 0
    const files = had
      ? 'The browser had runtime and model from an earlier visit.'
      : `${formatBytes(start.downloaded)} came over the network.`
    setText(byId('cold-note', HTMLElement), `${files} Steps overlap where the bars do. ${start.engine}`)
  }
}

/** A row for each step, on an axis that ends at `end` milliseconds. */
export function waterfallSteps(steps: readonly Step[], end: number): HTMLElement[] {
  const percent = (ms: number): string => `${((100 * ms) / end).toFixed(2)}%`
  return steps.map(({ name, kind, from, ms }) => {
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
}
