/** What each side answers: the digit, how sure, how long it took; and the bars of the ten classes. */

import { byId, element, setText } from '../dom'
import { formatMs, formatShare } from '../format'
import { argmax, softmax } from '../stats'

export type SideName = 'edge' | 'cloud'

/** An answer as it is shown. */
export interface Shown {
  readonly digit: number
  readonly shares: readonly number[]
  readonly total: number
}

export function toShown(logits: Float32Array, total: number): Shown {
  return { digit: argmax(logits), shares: softmax(logits), total }
}

export class AnswersView {
  readonly #sides: { readonly [S in SideName]: { digit: HTMLElement; sure: HTMLElement; took: HTMLElement; state: HTMLElement } }
  readonly #classes: { column: HTMLElement; edge: HTMLElement; cloud: HTMLElement }[]
  readonly #chart = byId('classes', HTMLElement)
  readonly #agreement = byId('agreement', HTMLElement)
  readonly #spoken = byId('spoken', HTMLElement)

  constructor() {
    const part = (id: string): HTMLElement => byId(id, HTMLElement)
    this.#sides = {
      edge: { digit: part('edge-digit'), sure: part('edge-sure'), took: part('edge-took'), state: part('edge-state') },
      cloud: { digit: part('cloud-digit'), sure: part('cloud-sure'), took: part('cloud-took'), state: part('cloud-state') },
    }
    this.#classes = Array.from({ length: 10 }, (_, digit) => {
      const [edge, cloud] = [element('div', 'bar edge'), element('div', 'bar cloud')]
      const column = element('div', 'class', edge, cloud, element('span', '', String(digit)))
      this.#chart.append(column)
      return { column, edge, cloud }
    })
  }

  /** Shows an answer, or that there is none. */
  show(side: SideName, answer: Shown | undefined): void {
    const { digit, sure, took } = this.#sides[side]
    setText(digit, answer === undefined ? '–' : String(answer.digit))
    setText(sure, answer === undefined ? '' : formatShare(answer.shares[answer.digit] ?? 0))
    setText(took, answer === undefined ? '' : formatMs(answer.total))
    this.#classes.forEach(({ column, [side]: bar }, i) => {
      bar.style.setProperty('--share', (answer?.shares[i] ?? 0).toFixed(4))
      if (side === 'edge') column.toggleAttribute('data-best', answer?.digit === i)
    })
  }

  /** What else there is to say of a side; `failed` dims its answer. */
  state(side: SideName, sentence: string, failed: boolean): void {
    const { state } = this.#sides[side]
    setText(state, sentence)
    state.parentElement?.toggleAttribute('data-failed', failed)
  }

  agreement(sentence: string): void {
    setText(this.#agreement, sentence)
  }

  /** Says it to those who listen; the bars get it as their text. */
  speak(sentence: string): void {
    setText(this.#spoken, sentence)
  }

  describeBars(edge: Shown | undefined, cloud: Shown | undefined): void {
    const side = (name: string, answer: Shown | undefined): string => {
      if (answer === undefined) return `${name}: no answer`
      const best = answer.shares.map((share, digit) => ({ share, digit })).sort((a, b) => b.share - a.share)
      return `${name}: ${best
        .slice(0, 3)
        .map(({ digit, share }) => `${digit} with ${formatShare(share)}`)
        .join(', ')}`
    }
    const nothing = edge === undefined && cloud === undefined
    this.#chart.setAttribute(
      'aria-label',
      nothing
        ? 'Probability of each digit: nothing is drawn yet'
        : `Most probable digits. ${side('This device', edge)}; ${side('the cloud', cloud)}.`,
    )
  }
}
