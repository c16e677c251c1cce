/** The page's memory on the page: on demand, as the browser may take a minute for each count. */

import { byId, element, setText } from '../src/dom'
import { formatBytes, sentenceOf } from '../src/format'
import type { Experiment } from './experiment'
import type { Files } from './form'
import { findModel } from './models'
import { countOf, measurePageMemory, type PageMemory } from './page-memory'
import { inputsOf } from './session'
import { sidesOf } from './sides'

/** @returns lets it start or not: a measurement of times would change what it counts */
export function showPageMemory(
  of: () => { readonly experiment: Experiment; readonly files: Files },
  onBusy: (busy: boolean) => void,
): (allowed: boolean) => void {
  const start = byId('memory-start', HTMLButtonElement)
  const cancel = byId('memory-cancel', HTMLButtonElement)
  const state = byId('memory-state', HTMLElement)
  const count = countOf(globalThis)
  if (typeof count === 'string') {
    setText(state, count)
    return () => {}
  }

  const run = async (signal: AbortSignal): Promise<void> => {
    const { experiment, files } = of()
    byId('memory', HTMLElement).replaceChildren()
    const source = await findModel(experiment.model, files.models[0])
    const sides = await sidesOf(experiment, source, files)
    await measurePageMemory(sides, {
      ...{ count, signal, onSide: showRows },
      inputsOf: (first) => inputsOf(experiment, source, files, first),
      tell: (sentence) => {
        setText(state, sentence)
      },
    })
  }
  start.disabled = false
  start.addEventListener('click', () => {
    const stop = new AbortController()
    cancel.onclick = () => {
      stop.abort()
    }
    const busy = (on: boolean): void => {
      start.disabled = on
      cancel.disabled = !on
      onBusy(on)
    }
    busy(true)
    run(stop.signal)
      .then(
        () => {
          setText(state, 'Counted.')
        },
        (error: unknown) => {
          setText(state, stop.signal.aborted ? 'Cancelled.' : sentenceOf(error))
        },
      )
      .finally(() => {
        busy(false)
      })
  })
  return (allowed) => {
    start.disabled = !allowed
  }
}

function showRows(measured: readonly PageMemory[]): void {
  byId('memory', HTMLElement).replaceChildren(
    ...measured.map(({ title, before, loaded, wasm }) => {
      const heading = element('th', '', title)
      heading.setAttribute('scope', 'row')
      const more = formatBytes(Math.max(0, loaded - before))
      const cells = [formatBytes(before), formatBytes(loaded), more, formatBytes(wasm)]
      return element('tr', '', heading, ...cells.map((text) => element('td', '', text)))
    }),
  )
}
