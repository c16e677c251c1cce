/** Marks in the browser's performance tools, while `env.trace` (or the older `env.wasm.trace`) is set. */

import { env } from './env.js'

function enabled(): boolean {
  return env.trace ?? env.wasm.trace ?? false
}

/** Puts a mark on the time line. */
export function TRACE(deviceType: string, label: string): void {
  // Where the browser has no such call, the mark goes to the User Timing list instead.
  const { timeStamp } = console as { timeStamp?: (label: string) => void }
  if (!enabled()) return
  const text = `${deviceType}::ORT::${label}`
  if (timeStamp === undefined) performance.mark(text)
  else timeStamp.call(console, text)
}

/** Marks that the calling function begins. */
export function TRACE_FUNC_BEGIN(extraMsg?: string): void {
  traceFunction('BEGIN', extraMsg)
}

/** Marks that the calling function ends. */
export function TRACE_FUNC_END(extraMsg?: string): void {
  traceFunction('END', extraMsg)
}

/** Starts a named timer of the console. */
export function TRACE_EVENT_BEGIN(extraMsg?: string): void {
  if (enabled()) console.time(`ORT::${String(extraMsg)}`)
}

/** Stops a named timer of the console, which prints what it took. */
export function TRACE_EVENT_END(extraMsg?: string): void {
  if (enabled()) console.timeEnd(`ORT::${String(extraMsg)}`)
}

function traceFunction(edge: 'BEGIN' | 'END', extra: string | undefined): void {
  if (!enabled()) return
  // Above this function in the stack are the exported one and then its caller; engines without a header line differ by one.
  const stack = (new Error().stack ?? '').split(/\r?\n/)
  const own = stack.findLastIndex((line) => /TRACE_FUNC|traceFunction/.test(line))
  const caller = (stack[own + 1] ?? '').trim().replace(/^at (async )?/, '')
  const name = caller.split(/[\s@]/)[0] ?? ''
  TRACE('CPU', `FUNC_${edge}::${name}${extra === undefined ? '' : `::${extra}`}`)
}
