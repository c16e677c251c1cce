/** Formats side by side: a bar for each on each engine, and what came of their answers. */

import { byId, element } from '../src/dom'
import { formatBytes, formatMs, formatShare } from '../src/format'
import { describeAgreement, type FormatResult } from './formats'

/** The classes that colour what is of an engine. */
export const ENGINE_COLOURS = { Nearside: 'edge', 'onnxruntime-web': 'cloud' } as const

/** The chart reaches so many times as far as the longest bar: a device that was busy for a while must not make all of them short. */
const MOST_SPREAD = 1.5

/** Shows them; without any, nothing is there. */
export function showFormats(formats: readonly FormatResult[]): void {
  byId('formats-card', HTMLElement).hidden = formats.length === 0
  drawBars(byId('formats-chart', HTMLElement), formats)
  byId('formats', HTMLElement).replaceChildren(...formats.map(row))
}

function drawBars(root: HTMLElement, formats: readonly FormatResult[]): void {
  const most = (key: 'median' | 'p90'): number => Math.max(...formats.map((one) => one[key]))
  const longest = Math.min(most('p90'), MOST_SPREAD * most('median'))
  root.replaceChildren(
    ...formats.flatMap(({ title, engine, p10, median, p90 }, i) => {
      const name = element('span', 'name', formats[i - 1]?.title === title ? '' : title)
      const bar = element('span', 'bar')
      const spread = element('span', 'spread')
      for (const [property, ms] of Object.entries({ '--p10': p10, '--median': median, '--p90': p90 }))
        for (const part of [bar, spread]) part.style.setProperty(property, Math.min(1, ms / longest).toFixed(4))
      const track = element('span', 'lane', bar, spread)
      const time = element('span', 'time', `${formatMs(median)} `, element('small', '', engine))
      const entry = element('div', ENGINE_COLOURS[engine], name, track, time)
      return [entry]
    }),
  )
  root.setAttribute('role', 'img')
  const said = formats.map(({ title, engine, median }) => `${title} on ${engine}: ${formatMs(median)}`)
  root.setAttribute('aria-label', `The median time of a run by format and engine. ${said.join('; ')}.`)
}

function row({ title, format, engine, bytes, wire, agreement }: FormatResult): HTMLElement {
  const heading = element('th', '', title)
  heading.setAttribute('scope', 'row')
  const compared = agreement === undefined ? ['reference', ''] : [describeAgreement(agreement), formatError(agreement.error)]
  const cells = [format, engine, formatBytes(bytes), formatBytes(wire), ...compared]
  return element('tr', ENGINE_COLOURS[engine], heading, ...cells.map((text) => element('td', '', text)))
}

function formatError(error: number): string {
  return Number.isNaN(error) ? 'other shapes' : formatShare(error)
}
