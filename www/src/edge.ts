/** This device: the model in the page. */

import { type EarlyStart, type Feeds, Model, type Outputs } from 'nearside'
import { SIDE } from './ink'

/** One call of either side. */
export interface Call {
  /** From the call to its result, in milliseconds. */
  readonly total: number
  /** Where that time went, in milliseconds; adds up to `total`. */
  readonly parts: readonly Part[]
}

export interface Part {
  readonly name: PartName
  readonly ms: number
}

export type PartName = 'compute' | 'worker' | 'queue' | 'coding' | 'simulated' | 'network'

/** One answer. */
export interface Answer {
  readonly logits: Float32Array
  readonly call: Call
}

/** The input under its name, as the model of `models/digits.md` has it. */
export function feeds(image: Float32Array): Feeds {
  return { image }
}

/** The model in the page, with what it took until it had answered once. */
export interface Edge {
  readonly model: Model
  /** Milliseconds from navigation to the first answer. */
  readonly firstAnswer: number
  /** Milliseconds from navigation to the call of `Model.load`. */
  readonly loadStart: number
}

/** Loads the model and runs it once, on a blank image, so that the first stroke need not wait. */
export async function loadEdge(url: string, early: EarlyStart | undefined): Promise<Edge> {
  const loadStart = performance.now()
  const model = await Model.load(url, { early })
  await model.run(feeds(new Float32Array(SIDE * SIDE)))
  return { model, loadStart, firstAnswer: performance.now() }
}

export async function askEdge(model: Model, image: Float32Array): Promise<Answer> {
  const outputs = await model.run(feeds(image))
  const timing = model.lastTiming
  const total = timing?.total ?? 0
  const compute = Math.min(timing?.compute ?? 0, total)
  return {
    logits: logitsOf(outputs),
    call: {
      total,
      parts: [
        { name: 'compute', ms: compute },
        { name: 'worker', ms: total - compute },
      ],
    },
  }
}

/** The ten scores among the outputs. */
export function logitsOf(outputs: Outputs): Float32Array {
  const logits = outputs['logits']
  if (logits?.type !== 'float32' || logits.size !== 10) throw new Error('The model did not answer with ten scores.')
  return logits.data
}
