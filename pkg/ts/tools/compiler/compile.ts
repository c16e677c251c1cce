/** The compiler in a thread of its own. */

import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'

import { ChannelLost } from '../../engine/protocol.js'
import { fromWire } from '../../engine/wire-error.js'
import { InternalError, UnsupportedError } from '../../errors.js'
import { whyNoPlan } from '../../no-plan.js'
import { THREAD } from '../package-files.js'
import type { Answer, Job, Message, Step } from './job.js'

/** What to compile, and whom to tell how it goes. */
export interface CompileOptions extends Omit<Job, 'weights'> {
  /** Folder of the files in which the model keeps weights; the model's own if not given. */
  readonly externalData?: string | undefined
  readonly onStep?: ((step: Step) => void) | undefined
}

/** Compiles an ONNX model, or reads a plan. Rejects with the package's errors. */
export function compile({ onStep, externalData, ...rest }: CompileOptions): Promise<Answer> {
  const job: Job = { ...rest, weights: externalData ?? dirname(rest.model) }
  return new Promise((resolve, reject) => {
    const thread = new Worker(THREAD, { workerData: job })
    thread.on('message', (message: Message) => {
      if ('step' in message) return onStep?.(message.step)
      if ('answer' in message) resolve(message.answer)
      else reject(unwrapped(fromWire(message.error)))
      void thread.terminate()
    })
    thread.once('error', (error) =>
      reject(new InternalError(`The compiler's thread ended (${String(error)}).`, { cause: error })),
    )
    thread.once('exit', (code) => reject(new InternalError(`The compiler's thread ended with status ${code}.`)))
  })
}

function unwrapped(error: Error): Error {
  return error instanceof ChannelLost ? error.error : error
}

/** Compiles an ONNX model to a plan, in pieces; a model that has none is an error which says why. */
export async function compileToPlan(
  options: Omit<CompileOptions, 'plan' | 'text'>,
): Promise<Answer & { readonly plan: readonly Uint8Array<ArrayBuffer>[] }> {
  const { plan, ...answer } = await compile({ ...options, plan: true })
  if (plan !== undefined) return { ...answer, plan }
  const { fallbackOperators, notes } = answer.description
  throw new UnsupportedError(
    `The model ${options.model} has no plan${whyNoPlan(fallbackOperators, notes)} Load the ONNX file itself: pages then run it in the compiler, which is slower and a larger download.`,
  )
}
