/** Classes by their scores. */

import { InputError } from '../index.js'
import { oneRow, optionsOf, type Values } from './values.js'

/** A class and its score. */
export interface Ranked {
  /** Position among the scores. */
  readonly index: number
  readonly score: number
  /** The label at that position; the position itself where there are no labels. */
  readonly label: string
}

/** Options of {@link topK} and {@link above}. */
export interface RankOptions {
  /** Names of the classes, in order. */
  readonly labels?: readonly string[] | undefined
}

/**
 * The `k` classes with the highest scores, the highest first; of equal ones the first in order. NaN is never among them, so there may be fewer.
 *
 * @throws InputError for more than one row of scores, for labels of another number, and for a `k` that is no whole number from 1 on
 */
export function topK(scores: Values, k: number, options: RankOptions = {}): Ranked[] {
  if (!Number.isInteger(k) || k < 1) throw new InputError(`The number of classes is ${String(k)}; give a whole number from 1 on.`)
  return ranked(scores, -Infinity, options).slice(0, k)
}

/**
 * The classes with a score of at least `least`, the highest first: for models whose classes do not exclude each other, after {@link sigmoid}. NaN is
 * never among them.
 *
 * @throws InputError as {@link topK} does
 */
export function above(scores: Values, least: number, options: RankOptions = {}): Ranked[] {
  if (!Number.isFinite(least)) throw new InputError(`The least score is ${String(least)}; give a number.`)
  return ranked(scores, least, options)
}

function ranked(scores: Values, least: number, options: RankOptions): Ranked[] {
  const { labels } = optionsOf(options)
  const data = oneRow(scores, 'the scores')
  if (labels && labels.length !== data.length)
    throw new InputError(`There are ${labels.length} labels for ${data.length} scores; give one for each.`)
  const found: Ranked[] = []
  for (let index = 0; index < data.length; index++) {
    const score = data[index] as number
    if (score >= least) found.push({ index, score, label: labels?.[index] ?? String(index) })
  }
  return found.sort((a, b) => b.score - a.score || a.index - b.index)
}
