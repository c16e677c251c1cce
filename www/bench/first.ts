/**
 * The way to the first prediction, in a frame of its own: a fresh page that loads one engine and one model, runs once, and tells what happened
 * when. Cold, its addresses of runtime and model are new, so that no cache has them; warm, they are those of the visit before.
 */

import type { ColdStart } from '../src/coldstart'
import type { LoadJob } from './engines'
import type { Values } from './inputs'

/** What the frame finds at its opener. */
export interface FirstJob extends LoadJob {
  readonly inputs: Values
  /** Part of the addresses, so that no cache has them. */
  readonly fresh: string | undefined
}

export interface First extends Omit<ColdStart, 'engine' | 'load'> {
  /** Peak WebAssembly memory, in bytes. */
  readonly memory: number
}

/** The frame takes its job from here. */
export const JOB = 'nearsideFirstJob'

export type FirstMessage = { readonly first: First } | { readonly error: string }

/** How long a frame may take, in milliseconds. */
const PATIENCE = 120_000

/** Opens the frame, and closes it when it has answered. */
export async function measureFirst(job: FirstJob, signal: AbortSignal): Promise<First> {
  signal.throwIfAborted()
  const frame = document.createElement('iframe')
  frame.title = 'A fresh page that measures the first prediction'
  frame.className = 'unseen'
  frame.src = 'first.html'
  Object.assign(globalThis, { [JOB]: job })
  const stop = new AbortController()
  try {
    return await new Promise<First>((resolve, reject) => {
      const late = setTimeout(() => {
        reject(new Error('The first prediction took longer than two minutes.'))
      }, PATIENCE)
      stop.signal.addEventListener('abort', () => {
        clearTimeout(late)
      })
      signal.addEventListener(
        'abort',
        () => {
          reject(signal.reason as Error)
        },
        { signal: stop.signal },
      )
      addEventListener(
        'message',
        ({ source, data }: MessageEvent<FirstMessage>) => {
          if (source !== frame.contentWindow) return
          if ('error' in data) reject(new Error(data.error))
          else resolve(data.first)
        },
        { signal: stop.signal },
      )
      document.body.append(frame)
    })
  } finally {
    stop.abort()
    frame.remove()
  }
}
