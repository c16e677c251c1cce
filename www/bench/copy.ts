/** Buttons that copy. */

import { setText } from '../src/dom'

/** Copies what `what` gives when the button is pressed, and says on it whether that was allowed. */
export function copyOn(button: HTMLButtonElement, what: () => string): void {
  const label = button.textContent
  button.addEventListener('click', () => {
    const say = (words: string): void => {
      setText(button, words)
      setTimeout(() => {
        setText(button, label)
      }, 1500)
    }
    navigator.clipboard.writeText(what()).then(
      () => {
        say('Copied')
      },
      () => {
        say('Not allowed here')
      },
    )
  })
}
