/** A moving source: frames go to the model as they come, each of them or, with `latest`, those alone that are not yet overtaken. */

import type { Answer } from './engines'

export interface Watch {
  readonly frames: number
  readonly answers: number
  /** Milliseconds from a frame to its answer, of each answer. */
  readonly ages: readonly number[]
}

export interface Source {
  /** Milliseconds between two frames; 0: one with each frame of the screen. */
  readonly interval: number
  readonly duration: number
  readonly signal: AbortSignal
  /** Called with each frame of the screen: what moves is now at `now`, and the latest answer is of `seen` (0 to 1). */
  readonly onFrame: (now: number, seen: number) => void
}

/** A source that moves to and fro once in so many milliseconds. */
const PERIOD = 1000
/** No queue gets longer, whatever the model takes. */
const MOST_FRAMES = 5000

/** Watches a source, and waits for the answers that are still to come. */
export async function watch(run: () => Promise<Answer | undefined>, source: Source): Promise<Watch> {
  const { interval, duration, signal, onFrame } = source
  const ages: number[] = []
  let [frames, seen, waiting] = [0, 0, 0]
  let failure: unknown
  const start = await nextFrame()
  const take = (now: number): void => {
    frames += 1
    waiting += 1
    run()
      .then((answer) => {
        if (answer === undefined) return
        ages.push(performance.now() - now)
        seen = phase(now - start)
      })
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => {
        waiting -= 1
      })
  }
  for (let now = start; now - start < duration || waiting > 0; now = await nextFrame()) {
    signal.throwIfAborted()
    if (failure !== undefined) break
    const due = interval === 0 ? frames + 1 : Math.floor((now - start) / interval)
    if (now - start < duration) while (frames < Math.min(due, MOST_FRAMES)) take(performance.now())
    onFrame(phase(now - start), seen)
  }
  if (failure !== undefined) throw failure as Error
  return { frames, answers: ages.length, ages }
}

/** Where the source is, from 0 to 1 and back. */
function phase(elapsed: number): number {
  return 1 - Math.abs(1 - (2 * (elapsed % PERIOD)) / PERIOD)
}

function nextFrame(): Promise<number> {
  return new Promise((resolve) => {
    // The frame's own time is a little before now.
    requestAnimationFrame(() => {
      resolve(performance.now())
    })
  })
}
