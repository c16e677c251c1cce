/** Options that make no sense, in sentences: loaded with the first that needs it. */

import { InputError, UnsupportedError } from './errors.js'
import { describeValue } from './tensor.js'
import type { CacheOptions, LoadOptions } from './types.js'

export { checkLimits } from './limits.js'

const WANTED = {
  function: 'a function',
  object: 'an object',
  signal: 'the signal of an AbortController',
} as const

/** Options of loads, runs and connections that fail for another type. */
const KINDS = {
  signal: 'signal',
  onProgress: 'function',
  onWarning: 'function',
  onTiming: 'function',
  cache: 'object',
  externalData: 'object',
} as const

/** The error for a number that is none, or too small. */
export function badNumber({ timeout, cache }: LoadOptions): InputError {
  if (!(Number(timeout) >= 0))
    return new InputError(`The option timeout is ${describeValue(timeout)}; give milliseconds, or 0 for no limit.`)
  const { maxBytes } = cache as CacheOptions
  return new InputError(`The option cache.maxBytes is ${describeValue(maxBytes)}; give a number of bytes.`)
}

/** The error to throw for one of JavaScript's own: names an option of the wrong type, if there is any, or what the browser lacks. */
export function explained(error: TypeError, options: object | null): Error {
  if (typeof options !== 'object' || options === null)
    return new InputError(`The options are ${describeValue(options)}; give an object, or leave them out.`, { cause: error })
  for (const [name, kind] of Object.entries(KINDS)) {
    const value = (options as { readonly [name: string]: unknown })[name]
    if (value !== undefined && kindOf(value) !== kind && !(name === 'cache' && typeof value === 'boolean'))
      return new InputError(`The option ${name} is ${describeValue(value)}; give ${WANTED[kind]}.`, { cause: error })
  }
  if (typeof WebAssembly === 'undefined')
    return new UnsupportedError(
      'This browser has no WebAssembly, which Nearside needs; allow it (Lockdown Mode turns it off), or update the browser.',
      { cause: error },
    )
  return error
}

function kindOf(value: unknown): keyof typeof WANTED | undefined {
  const { throwIfAborted } = Object(value) as Partial<AbortSignal>
  if (typeof throwIfAborted === 'function') return 'signal'
  return value === null ? undefined : (typeof value as keyof typeof WANTED)
}
