/** The gallery of mistakes: a button for each, and one for all. */

import { byId, element, setText } from '../src/dom'
import { formatMs, sentenceOf } from '../src/format'
import { Gallery, type Mistake, MISTAKES } from './gallery'
import { PLAN_URL } from './models'

export function showGallery(): void {
  const gallery = new Gallery(PLAN_URL)
  const state = byId('gallery-state', HTMLElement)
  const rows = MISTAKES.map((mistake) => row(mistake, gallery))
  byId('gallery', HTMLElement).replaceChildren(...rows.map(({ item }) => item))
  const all = byId('gallery-all', HTMLButtonElement)
  const makeAll = async (): Promise<void> => {
    all.disabled = true
    let well = 0
    for (const [i, { make }] of rows.entries()) {
      setText(state, `${i + 1} of ${rows.length}…`)
      if (await make()) well += 1
    }
    all.disabled = false
    setText(state, `${well} of ${rows.length} mistakes had their sentence, and the next run was right.`)
  }
  all.addEventListener('click', () => void makeAll())
}

function row(mistake: Mistake, gallery: Gallery): { item: HTMLElement; make: () => Promise<boolean> } {
  const button = document.createElement('button')
  button.type = 'button'
  button.textContent = mistake.title
  const outcome = element('div', 'outcome')
  outcome.setAttribute('aria-live', 'polite')
  const make = async (): Promise<boolean> => {
    button.setAttribute('aria-busy', 'true')
    try {
      const { name, message, next } = await gallery.make(mistake)
      const after = next.well
        ? `The next run: a ${next.digit}, as before, in ${formatMs(next.ms)}.`
        : 'The next run gave something else than before.'
      outcome.replaceChildren(
        element('p', '', element('code', '', name), ` ${message}`),
        element('p', next.well ? 'well' : 'unwell', after),
      )
      return next.well
    } catch (error) {
      outcome.replaceChildren(element('p', 'unwell', sentenceOf(error)))
      return false
    } finally {
      button.removeAttribute('aria-busy')
    }
  }
  button.addEventListener('click', () => void make())
  return { item: element('li', '', button, outcome), make }
}
