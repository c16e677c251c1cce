/** Puts results into the page. */

import { byId, element, setText } from '../src/dom'
import { formatBytes, formatMs, formatShare } from '../src/format'
import { waterfallSteps } from '../src/views/waterfall'
import type { First } from './first'
import { describeFastest } from './formats'
import { ENGINE_COLOURS, showFormats } from './formats-view'
import { drawHistogram } from './histogram'
import type { Jank } from './jank'
import {
  describeDifference,
  describeEnvironment,
  describePeaks,
  describeRatio,
  describeReference,
  type Environment,
  type Result,
} from './result'
import { drawScaling } from './scaling'

const NOT_COMPARED = 'With something beside it, the answers are compared here.'

/** The colour of a side: of formats the engine's, else the first one's, the last one's, or none. */
type Colour = (at: number) => string | undefined

function coloursOf({ sides, formats }: Result): Colour {
  return (at) => {
    const format = formats[at]
    if (format !== undefined) return ENGINE_COLOURS[format.engine]
    return at === 0 ? 'edge' : at === sides.length - 1 ? 'cloud' : undefined
  }
}

export function showLanes(lanes: readonly { readonly title: string; readonly samples: readonly number[] }[]): void {
  // The chart has room for two: of several numbers of threads, the least and the most.
  drawHistogram(byId('plot', HTMLElement), lanes.length > 2 ? [...lanes.slice(0, 1), ...lanes.slice(-1)] : lanes)
}

export function showEnvironment(environment: Environment): void {
  setText(byId('environment', HTMLElement), describeEnvironment(environment))
}

export function showResult(result: Result): void {
  const { sides, operators, peaks, running, differences, reference } = result
  const colour = coloursOf(result)
  showLanes(sides)
  drawScaling(
    byId('scaling', HTMLElement),
    result.experiment.beside === 'threads' ? sides.map(({ threads, median }) => ({ threads: threads ?? 1, median })) : [],
  )
  const { formats } = result
  showFormats(formats)
  setText(
    byId('median', HTMLElement),
    formatMs(Math.min(...(formats.length > 0 ? formats : sides.slice(0, 1)).map(({ median }) => median))),
  )
  setText(
    byId('ratio', HTMLElement),
    formats.length > 0 ? `: ${describeFastest(formats)}` : sides.length > 1 ? describeRatio(sides) : 'is the median',
  )
  byId('times', HTMLElement).replaceChildren(
    ...sides.map((side, i) =>
      row(
        side.title,
        [
          ...[side.load, side.firstRun, side.p10, side.median, side.p90].map(formatMs),
          side.compute === undefined ? '–' : formatMs(side.compute),
          formatBytes(side.memory),
        ],
        colour(i),
      ),
    ),
  )
  const batched = sides.some(({ batch }) => batch > 1)
    ? ` The browser's clock is coarse, so a sample is the mean of ${sides.map(({ batch }) => batch).join(' and ')} runs in a row.`
    : ''
  setText(
    byId('times-note', HTMLElement),
    `${result.model}. ${sides.map(({ title, description }) => `${title}: ${description}.`).join(' ')}${batched} ${[...sides.flatMap(({ notes }) => notes), ...result.failures].join(' ')}`,
  )
  byId('first', HTMLElement).replaceChildren(...firstVisits(sides, colour))
  byId('difference', HTMLElement).replaceChildren(
    ...(differences.length > 0
      ? differences.map((one) => element('p', '', `${describeDifference(one)}.`))
      : [element('p', 'fine', formats.length > 0 ? 'Answers of the formats are compared above.' : NOT_COMPARED)]),
  )
  const checked = byId('reference', HTMLElement)
  checked.hidden = reference === undefined
  if (reference !== undefined) setText(checked, `${describeReference(reference)}.`)
  byId('top', HTMLElement).replaceChildren(
    ...sides
      .filter(({ top }) => top.length > 0)
      .map(({ title, top }, i) => {
        const list = element('ol', '', ...top.map(({ index, value }) => element('li', '', `${index}: ${value.toPrecision(4)}`)))
        return element('div', colour(i), element('h3', '', title), element('p', 'fine', 'largest entries'), list)
      }),
  )
  byId('jank', HTMLElement).replaceChildren(
    ...sides.map(({ title, loading }, i) => jankRow(`${title}, loading`, loading, colour(i))),
    jankRow('while running', running, undefined),
  )
  byId('peaks', HTMLElement).replaceChildren(
    ...describePeaks(peaks).map(([name, rate], _, all) => {
      const bar = element('div', 'bar')
      bar.style.setProperty('--share', (rate / Math.max(...all.map(([, other]) => other))).toFixed(3))
      const out = row(name, [`${rate.toFixed(0)} GMAC/s`], undefined)
      out.append(element('td', 'wide', bar))
      return out
    }),
  )
  byId('operators', HTMLElement).replaceChildren(
    ...operators.map(({ op, nodes, ms, share, gmacs, gbs, ofPeak }) =>
      row(
        op,
        [
          ...[String(nodes), ms.toFixed(3), formatShare(share), gmacs > 0 ? gmacs.toFixed(1) : '–'],
          ...[ofPeak > 0 ? `${(ofPeak * 100).toFixed(0)} %` : '–', gbs > 0 ? gbs.toFixed(1) : '–'],
        ],
        undefined,
      ),
    ),
  )
  setText(
    byId('operators-note', HTMLElement),
    operators.length === 0
      ? 'This model runs on the fallback executor, which does not tell.'
      : `Nearside's nodes, each by its fastest of 20 runs. "Of peak" is what the products alone would take with the instructions above, in the same number of threads; convolutions with fewer products (Winograd) may be beyond.`,
  )
}

/** The waterfalls of all sides; of more than two, each side's are folded up. */
function firstVisits(sides: Result['sides'], colour: Colour): HTMLElement[] {
  // One scale for all, so that lengths can be compared.
  const all = Math.max(...sides.flatMap(({ cold, warm }) => [cold?.firstAnswer ?? 0, warm?.firstAnswer ?? 0]))
  const left = sides.filter(({ cold }) => cold === undefined).map(({ title }) => title)
  const shown = sides.flatMap(({ title, cold, warm }, i) => {
    if (cold === undefined || warm === undefined) return []
    const side = colour(i) ?? 'edge'
    if (sides.length <= 2) return [visit(`${title}, cold`, side, cold, all), visit(`${title}, warm`, side, warm, all)]
    const times = `cold ${formatMs(cold.firstAnswer)}, warm ${formatMs(warm.firstAnswer)}`
    const summary = element('summary', '', element('strong', '', title), ` ${times}`)
    return [element('details', side, summary, element('div', '', visit('Cold', side, cold, all), visit('Warm', side, warm, all)))]
  })
  if (left.length > 0) shown.push(element('p', 'fine', `Not visited, since those before took a minute: ${left.join('; ')}.`))
  return shown
}

function visit(title: string, side: string, first: First, all: number): HTMLElement {
  const bytes = first.downloaded === 0 ? 'nothing over the network' : `${formatBytes(first.downloaded)} over the network`
  const heading = element('h3', '', `${title}: ${formatMs(first.firstAnswer)}`)
  const steps = element('div', 'waterfall', ...waterfallSteps(first.steps, all))
  return element('div', side, heading, steps, element('p', 'fine', `${bytes}, ${formatBytes(first.memory)} of memory`))
}

function jankRow(title: string, jank: Jank, side: string | undefined): HTMLElement {
  return row(title, [formatMs(jank.longestFrame), String(jank.longTasks), formatMs(jank.blocked)], side)
}

function row(title: string, cells: readonly string[], side: string | undefined): HTMLElement {
  const heading = element('th', '', title)
  heading.setAttribute('scope', 'row')
  return element('tr', side, heading, ...cells.map((text) => element('td', '', text)))
}
