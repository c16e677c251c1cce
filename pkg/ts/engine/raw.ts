/**
 * The one file that imports what wasm-bindgen generates. The generated modules hold one instance each, as module state:
 * a lost instance is replaced by resetting that state.
 */

import * as compilerGlue from '../../dist/wasm/compiler.js'
import * as coreGlue from '../../dist/wasm/core.js'
import * as threadsGlue from '../../dist/wasm/core-threads.js'
import { UnsupportedError } from '../errors.js'
import type { Role } from './protocol.js'
import { type HelpMessage, sharedMemory, startHelpers } from './team.js'

export type { RawCompiled, RawLimits, RawLoader, RawModel, RawOnnx } from '../../dist/wasm/compiler.js'

/** What both binaries export, and what only the compiler does. */
export type Raw = Pick<typeof coreGlue, 'RawDigest' | 'RawLimits' | 'RawLoader' | 'start'> &
  Partial<Pick<typeof compilerGlue, 'RawOnnx' | 'RawCompiled'>> & {
    readonly memory: WebAssembly.Memory
    /** Threads of a threaded instance, without those that could not start. */
    readonly threads?: () => number
    /** Ends the use of the instance; the runtime's memory is given back: an unused one takes its place. */
    dismiss(lost: boolean): void
  }

/** The instance that a generated module holds. */
interface Slot {
  readonly module: WebAssembly.Module
  used: boolean
}

const slots: { [K in Role]?: Slot } = {}
let turn: Promise<unknown> = Promise.resolve()

/** Bytes of a helper's stack. */
const STACK = 512 << 10

/** Instantiates a binary; again, if an instance was used before, which ends that one and all it held. */
export function instantiate(role: Role, module: WebAssembly.Module, threads: number): Promise<Raw> {
  if (threads > 1) return instantiateThreaded(module, threads)
  const mine = turn.then(() => instantiateInTurn(role, module))
  turn = mine.catch(() => {})
  return mine
}

/** Once per Worker, which ends with the instance. */
async function instantiateThreaded(module: WebAssembly.Module, threads: number): Promise<Raw> {
  const memory = sharedMemory()
  await threadsGlue.default({ module_or_path: module, memory })
  threadsGlue.form_team(threads)
  return { ...threadsGlue, memory, threads: startHelpers(threads, module, memory), dismiss: () => {} }
}

/** Makes this Worker a helper; `arrived` is called just before it is one, for ever. */
export async function help({ member, module, memory }: HelpMessage['help'], arrived: () => void): Promise<void> {
  await threadsGlue.default({ module_or_path: module, memory, thread_stack_size: STACK })
  arrived()
  try {
    threadsGlue.help(member, (panic: string) => console.error(`nearside: ${panic}`))
  } catch (error) {
    // Whoever waits for this thread's work learns that it will not come.
    threadsGlue.helper_failed()
    throw error
  }
}

async function instantiateInTurn(role: Role, module: WebAssembly.Module): Promise<Raw> {
  const glue = role === 'core' ? coreGlue : compilerGlue
  const before = slots[role]
  if (before !== undefined && before.module !== module) {
    throw new UnsupportedError(
      "This thread already runs another binary of Nearside; leave out 'variant' and 'urls', or use the default { worker: true }.",
    )
  }
  if (before?.used) glue.__wbg_reset_state()
  // After a reset this call does nothing but return the new instance's exports.
  const { memory } = await glue.default({ module_or_path: module })
  const slot: Slot = { module, used: true }
  slots[role] = slot
  const dismiss = (lost: boolean): void => {
    if (slots[role] !== slot || !slot.used) return
    // Chrome refuses to instantiate more than 8 MB at once in a page's own thread: a sound compiler is kept for the next model.
    const keep = role === 'compiler'
    if (keep && lost) return
    if (!keep) glue.__wbg_reset_state()
    slot.used = false
  }
  return { ...glue, memory, dismiss }
}
