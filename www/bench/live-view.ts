/** The moving source on the page: each frame, then only the latest. */

import { byId, element, setText } from '../src/dom'
import { formatMs, sentenceOf } from '../src/format'
import type { Experiment } from './experiment'
import type { Files } from './form'
import { watch, type Watch } from './live'
import { quantile } from './measure'
import { open } from './session'

const WAYS = { every: 'each frame', latest: 'with latest' } as const
type Way = keyof typeof WAYS

const DURATION = 2000
/** How often the model runs to tell what a run takes. */
const TRIAL_RUNS = 10
/** Of the model's time, what lies between two frames of a source that is too fast for it. */
const HURRY = 2 / 3

export function showLive(of: () => { readonly experiment: Experiment; readonly files: Files }): void {
  const start = byId('live-start', HTMLButtonElement)
  const state = byId('live-state', HTMLElement)
  const hurry = byId('live-rate', HTMLSelectElement)
  const rows = byId('live', HTMLElement)
  const lanes = Object.fromEntries((Object.keys(WAYS) as Way[]).map((way) => [way, byId(`live-${way}`, HTMLElement)])) as Record<
    Way,
    HTMLElement
  >

  const compare = async (): Promise<void> => {
    const { experiment, files } = of()
    const { signal } = new AbortController()
    setText(state, 'Loading the model…')
    const { runner, inputs } = await open(experiment, files, signal)
    try {
      const begun = performance.now()
      for (let i = 0; i < TRIAL_RUNS; i++) await runner.run(inputs)
      const typical = (performance.now() - begun) / TRIAL_RUNS
      const interval = hurry.value === 'model' ? typical * HURRY : 0
      rows.replaceChildren()
      for (const way of Object.keys(WAYS) as Way[]) {
        setText(state, `${WAYS[way]}: two seconds, and until the last answer…`)
        const onFrame = (now: number, seen: number): void => {
          lanes[way].style.setProperty('--at', now.toFixed(3))
          lanes[way].style.setProperty('--seen', seen.toFixed(3))
        }
        const run = () => (way === 'latest' ? runner.latest(inputs) : runner.run(inputs))
        rows.append(row(WAYS[way], await watch(run, { interval, duration: DURATION, signal, onFrame })))
      }
      const source = interval === 0 ? 'a frame with each of the screen' : `a frame every ${formatMs(interval)}`
      setText(state, `Watched: a run takes ${formatMs(typical)}, the source gave ${source}.`)
    } finally {
      runner.dispose()
    }
  }
  start.addEventListener('click', () => {
    start.disabled = true
    compare()
      .catch((error: unknown) => {
        setText(state, sentenceOf(error))
      })
      .finally(() => {
        start.disabled = false
      })
  })
}

function row(title: string, { frames, answers, ages }: Watch): HTMLElement {
  const heading = element('th', '', title)
  heading.setAttribute('scope', 'row')
  const cells = [frames, answers, frames - answers].map(String)
  const [age, worst] = [quantile(ages, 0.5), Math.max(...ages)].map(formatMs)
  return element('tr', '', heading, ...[...cells, age ?? '', worst ?? ''].map((text) => element('td', '', text)))
}
