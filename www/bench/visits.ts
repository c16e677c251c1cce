/** The first predictions of fresh pages, side by side. */

import { type First, type FirstJob, measureFirst } from './first'
import type { Values } from './inputs'
import type { Side } from './sides'

export interface Visits {
  readonly cold: First
  readonly warm: First
}

/** Of more sides than two, those are left out whose turn has not come after so many milliseconds. */
const PATIENCE = 60_000
const ALWAYS = 2

export interface Visiting {
  readonly signal: AbortSignal
  /** Called before each side, with the part of them that is done. */
  readonly onSide: (title: string, fraction: number) => void
  readonly measure?: typeof measureFirst
}

/** Visits fresh pages of the sides in turn; of what is left out nothing is told. */
export async function visitSides(sides: readonly Side[], inputs: Values, options: Visiting): Promise<Visits[]> {
  const { signal, onSide, measure = measureFirst } = options
  const out: Visits[] = []
  const begun = performance.now()
  for (const [i, { title, job }] of sides.entries()) {
    if (i >= ALWAYS && performance.now() - begun > PATIENCE) break
    onSide(title, i / sides.length)
    const visit = (fresh: FirstJob['fresh']): Promise<First> => measure({ ...job, inputs, fresh }, signal)
    const cold = await visit(crypto.randomUUID())
    // The visit that fills the caches is not counted.
    await visit(undefined)
    out.push({ cold, warm: await visit(undefined) })
  }
  return out
}
