/** The page: the form starts experiments, whose results are shown and can be taken along. */

import { byId, setText } from '../src/dom'
import { takeDropped } from '../src/drop'
import { sentenceOf } from '../src/format'
import { copyOn } from './copy'
import { showCode } from './code-view'
import { readExperiment, writeExperiment } from './experiment'
import { Form } from './form'
import { showGallery } from './gallery-view'
import { showIsolation } from './isolation'
import { JankMeter } from './jank'
import { showLive } from './live-view'
import { showPageMemory } from './page-memory-view'
import { type Result, resultText, traceOf } from './result'
import { runExperiment } from './session'
import { download, showSupport } from './support'
import { showEnvironment, showLanes, showResult } from './views'

declare global {
  /** What the latest experiment found, or why it failed: for programs that open this page with `?auto=1`. */
  var result: Result | { readonly error: string } | undefined
}

const state = byId('state', HTMLElement)
const run = byId('run', HTMLButtonElement)
const cancel = byId('cancel', HTMLButtonElement)
const progress = byId('progress', HTMLProgressElement)
const pulse = byId('pulse', HTMLElement)
const copies = { text: byId('copy-text', HTMLButtonElement), json: byId('copy-json', HTMLButtonElement) }

const trace = byId('trace', HTMLButtonElement)

const jank = new JankMeter((phase) => {
  pulse.style.setProperty('--at', (1 - Math.abs(1 - 2 * phase)).toFixed(3))
})
const form = new Form(readExperiment(location.search), () => {
  history.replaceState(null, '', `${location.pathname}${writeExperiment(form.experiment)}`)
  code.refresh(form.experiment)
})
const code = showCode(form.experiment)
let latest: Result | undefined
let stop: AbortController | undefined

async function measure(): Promise<void> {
  if (stop !== undefined) return
  stop = new AbortController()
  run.disabled = true
  allowCount(false)
  cancel.disabled = false
  state.toggleAttribute('data-failed', false)
  try {
    const found = await runExperiment(form.experiment, form.files, jank, stop.signal, ({ state: sentence, fraction, lanes }) => {
      setText(state, sentence)
      progress.value = fraction
      if (lanes !== undefined) showLanes(lanes)
    })
    latest = found.result
    showResult(latest)
    showSupport(latest.support, found.plan, latest.model)
    code.refresh(form.experiment, latest.inputs)
    showEnvironment(latest.environment)
    for (const button of Object.values(copies)) button.disabled = false
    trace.disabled = latest.nodes.length === 0
    progress.value = 1
    setText(state, 'Measured.')
    globalThis.result = latest
  } catch (error) {
    const sentence = sentenceOf(error)
    const cancelled = stop.signal.aborted
    progress.value = 0
    setText(state, cancelled ? 'Cancelled.' : sentence)
    state.toggleAttribute('data-failed', !cancelled)
    globalThis.result = { error: cancelled ? 'Cancelled.' : sentence }
  } finally {
    jank.stop()
    stop = undefined
    run.disabled = false
    allowCount(true)
    cancel.disabled = true
  }
}

form.onSubmit(() => void measure())
cancel.addEventListener('click', () => {
  stop?.abort()
})

takeDropped((dropped) => {
  const files = Array.from(dropped)
  form.drop(files)
  const names = files.map(({ name }) => name).join(', ')
  setText(state, files.length === 1 ? `${names} is chosen.` : `${names} are chosen: formats of one model.`)
})

trace.addEventListener('click', () => {
  download(new Blob([traceOf(latest?.nodes ?? [])], { type: 'application/json' }), 'nearside-trace.json')
})
copyOn(copies.text, () => (latest === undefined ? '' : resultText(latest)))
copyOn(copies.json, () => JSON.stringify(latest, null, 1))
copyOn(byId('copy-link', HTMLButtonElement), () => `${location.origin}${location.pathname}${writeExperiment(form.experiment)}`)

showIsolation(() => writeExperiment(form.experiment))
showGallery()
showLive(() => form)
const allowCount = showPageMemory(
  () => form,
  (busy) => {
    run.disabled = busy
  },
)

if (new URLSearchParams(location.search).get('auto') === '1') void measure()
else setText(byId('environment', HTMLElement), navigator.userAgent)
