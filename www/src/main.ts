/** Starts the page: everything that shows what the model does. */

import { App } from './app'
import { byId, element, setText } from './dom'
import { readQuery } from './network'
import { keepForOffline } from './offline'
import { Pad } from './pad'
import { takePictures } from './picture-input'
import { reportText } from './report'
import { edge } from './start'
import { Controls } from './views/controls'

/** Until so long after navigation, in milliseconds, the rest of the page waits for the first answer: nobody draws sooner. */
const HEAD_START = 500

const answered = edge.then(
  () => {},
  () => {},
)
void Promise.race([answered, passed(HEAD_START - performance.now())]).then(startPage)

function passed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}

function startPage(): void {
  const experiment = readQuery(location.search)
  const app = new App(edge, new URL('./', location.href).href, experiment)

  const hint = byId('pad-hint', HTMLElement)
  const invitation = [...hint.childNodes]
  const pad = new Pad(byId('pad', HTMLCanvasElement), {
    onChange: (drawing) => {
      const empty = drawing.strokes.length === 0 && drawing.picture === undefined
      hint.toggleAttribute('data-hidden', !empty)
      if (!empty) hint.replaceChildren(...invitation)
      app.draw(drawing)
    },
  })
  const chooser = byId('picture-file', HTMLInputElement)
  takePictures(
    chooser,
    (picture) => {
      pad.showPicture(picture)
    },
    (sentence) => {
      pad.clear()
      setText(hint, sentence)
      setText(byId('spoken', HTMLElement), sentence)
    },
  )
  byId('picture', HTMLElement).addEventListener('click', () => {
    chooser.click()
  })

  for (let digit = 0; digit < 10; digit++) {
    const button = element('button', '', String(digit))
    button.setAttribute('type', 'button')
    button.setAttribute('aria-label', `Draw a ${digit}`)
    button.dataset['testid'] = `example-${digit}`
    button.addEventListener('click', () => {
      pad.showExample(digit)
    })
    byId('examples', HTMLElement).append(button)
  }
  byId('clear', HTMLElement).addEventListener('click', () => {
    pad.clear()
  })
  // Single keys work while the focus is in the drawing part only, so that they disturb nobody's own keys.
  document.querySelector('.draw')?.addEventListener('keydown', (event) => {
    if (!(event instanceof KeyboardEvent) || event.ctrlKey || event.metaKey || event.altKey) return
    if (/^[0-9]$/.test(event.key)) pad.showExample(Number(event.key))
    else if (event.key === 'Delete' || event.key === 'Backspace' || event.key === 'Escape') pad.clear()
    else return
    event.preventDefault()
  })

  new Controls(experiment, (next) => {
    app.change(next)
    history.replaceState(null, '', `${location.pathname}${app.query}`)
  })
  const price = byId('price', HTMLInputElement)
  const assume = (): void => {
    app.assume(price.validity.valid ? price.valueAsNumber : undefined)
  }
  price.addEventListener('input', assume)
  // Browsers bring back after a reload what was typed in.
  assume()
  addEventListener('online', () => {
    app.recheck()
  })
  addEventListener('offline', () => {
    app.recheck()
  })

  const copy = byId('copy', HTMLButtonElement)
  copy.addEventListener('click', () => {
    const browser = { agent: navigator.userAgent, cores: navigator.hardwareConcurrency, isolated: crossOriginIsolated }
    const address = `${location.origin}${location.pathname}${app.query}`
    navigator.clipboard.writeText(reportText({ address, ...app.report(), browser })).then(
      () => {
        confirm('Copied')
      },
      () => {
        confirm('Not allowed here')
      },
    )
  })

  /** Lets the button say what happened, for a moment. */
  function confirm(words: string): void {
    copy.textContent = words
    setTimeout(() => {
      copy.textContent = 'Copy result as text'
    }, 1500)
  }

  // Only once the model has answered: keeping the files must not slow the first answer down. A failure is on the page by then.
  edge.then(
    ({ model }) =>
      keepForOffline(model.engine.variant, () => {
        app.keptForOffline()
      }),
    () => {},
  )
}
