/** onnxruntime-web in a Worker of its own, so that both engines leave the page alone. */

import type { Values } from './inputs'
import { OrtSession } from './ort-session'

export type OrtCall =
  | {
      readonly kind: 'load'
      readonly model: string | Blob
      readonly threads: number
      /** Part of the addresses, so that no cache has them. */
      readonly fresh?: string | undefined
    }
  | { readonly kind: 'run'; readonly inputs: Values }
  | { readonly kind: 'memory' }

export interface OrtAnswer {
  readonly outputs?: Values
  readonly bytes?: number
  readonly error?: string
}

const session = new OrtSession()

// Calls come one after the other: the page waits for each.
addEventListener('message', ({ data }: MessageEvent<OrtCall>) => {
  session.answer(data).then(
    (result) => {
      postMessage(result)
    },
    (error: unknown) => {
      postMessage({ error: error instanceof Error ? error.message : String(error) } satisfies OrtAnswer)
    },
  )
})
