/** Holds each side's answers to the same drawings against each other. */

import { argmax, largestDifference } from './stats'

/** One drawing that both sides have answered. */
export interface Compared {
  readonly edgeDigit: number
  readonly cloudDigit: number
  readonly difference: number
}

/** Answers that wait for the other side; older ones were overtaken by newer drawings. */
const KEPT = 64

export class Comparison {
  readonly #waiting = { edge: new Map<number, Float32Array>(), cloud: new Map<number, Float32Array>() }
  drawings = 0
  alike = 0
  difference = 0

  /** Notes an answer to the drawing with this number; gives the comparison when the other side has answered it too. */
  add(side: 'edge' | 'cloud', drawing: number, logits: Float32Array): Compared | undefined {
    const [mine, others] = side === 'edge' ? [this.#waiting.edge, this.#waiting.cloud] : [this.#waiting.cloud, this.#waiting.edge]
    const other = others.get(drawing)
    if (other === undefined) {
      mine.set(drawing, logits)
      for (const old of mine.keys()) if (old <= drawing - KEPT) mine.delete(old)
      return undefined
    }
    others.delete(drawing)
    const [edge, cloud] = side === 'edge' ? [logits, other] : [other, logits]
    const compared = { edgeDigit: argmax(edge), cloudDigit: argmax(cloud), difference: largestDifference(edge, cloud) }
    this.drawings++
    this.alike += compared.edgeDigit === compared.cloudDigit ? 1 : 0
    this.difference = Math.max(this.difference, compared.difference)
    return compared
  }

  /** Starts anew, for another model. */
  reset(): void {
    this.#waiting.edge.clear()
    this.#waiting.cloud.clear()
    this.drawings = this.alike = this.difference = 0
  }
}

/** In words, beside the answers. */
export function describeCompared({ edgeDigit, cloudDigit, difference }: Compared): string {
  const scores =
    difference === 0
      ? 'their scores are identical, bit for bit'
      : `their scores differ by ${Number(difference.toPrecision(2))} at most`
  if (edgeDigit === cloudDigit) return `Both say ${edgeDigit}; ${scores}.`
  return `This device says ${edgeDigit}, the cloud ${cloudDigit}; ${scores}.`
}
