/** The code of the experiment on the page, for the place that the visitor chooses. */

import { byId, element, setText } from '../src/dom'
import { codeOf, headersOf, type Place, PLACES, type Shape } from './code'
import { copyOn } from './copy'
import type { Experiment } from './experiment'

/** Shows it; `refresh` again when the experiment, or what is known of the model's inputs, has changed. */
export function showCode(first: Experiment): { refresh(experiment: Experiment, inputs?: readonly Shape[]): void } {
  const place = byId('code-place', HTMLSelectElement)
  for (const [value, title] of Object.entries(PLACES)) {
    const option = element('option', '', title)
    option.setAttribute('value', value)
    place.append(option)
  }
  const [code, headers] = [byId('code', HTMLElement), byId('code-headers', HTMLElement)]
  let [experiment, known] = [first, undefined as readonly Shape[] | undefined]
  const show = (): void => {
    setText(code, codeOf(experiment, place.value as Place, known))
    setText(headers, headersOf(experiment, place.value as Place))
  }
  place.addEventListener('change', show)
  copyOn(byId('copy-code', HTMLButtonElement), () => code.textContent)
  copyOn(byId('copy-headers', HTMLButtonElement), () => headers.textContent)
  show()
  return {
    refresh(now, inputs) {
      // Another model has other inputs, which are known when it was measured.
      known = inputs ?? (now.model === experiment.model ? known : undefined)
      experiment = now
      show()
    },
  }
}
