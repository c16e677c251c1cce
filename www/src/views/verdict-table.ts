/** The verdict as a table, whose rows are in index.html: they are only filled here, so that nothing moves. */

import { setText } from '../dom'
import type { Better, Line } from '../verdict'

const WORDS: { readonly [B in Better]: string } = { edge: 'This device', cloud: 'The cloud', even: 'Even', open: 'Open' }

export class VerdictView {
  show(lines: readonly Line[]): void {
    for (const { id, aspect, edge, cloud, better, why } of lines) {
      const cells = document.querySelectorAll(`[data-testid=verdict-${id}] > *`)
      ;[aspect, edge, cloud, WORDS[better], why].forEach((text, i) => {
        const cell = cells[i]
        if (cell !== undefined) setText(cell, text)
      })
      cells[3]?.classList.toggle('edge', better === 'edge')
      cells[3]?.classList.toggle('cloud', better === 'cloud')
    }
  }
}
