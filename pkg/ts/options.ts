/** Options that make no sense, in sentences: loaded with the first that needs it. */

import { InputError } from './errors.js'
import { describeValue } from './tensor.js'
import type { CacheOptions, LoadOptions, RunOptions } from './types.js'

export { checkLimits } from './limits.js'

/** Options that must be functions. */
const FUNCTIONS = ['onProgress', 'onWarning', 'onTiming'] as const

/** The error for a number that is none, or too small. */
export function badNumber({ timeout, cache }: LoadOptions): InputError {
  if (!(Number(timeout) >= 0))
    return new InputError(`The option timeout is ${describeValue(timeout)}; give milliseconds, or 0 for no limit.`)
  const { maxBytes } = cache as CacheOptions
  return new InputError(`The option cache.maxBytes is ${describeValue(maxBytes)}; give a number of bytes.`)
}

/** The error to throw for one of JavaScript's own: names an option of the wrong type, if there is any. */
export function explained(error: TypeError, options: Partial<LoadOptions & RunOptions> | null): Error {
  if (typeof options !== 'object' || options === null)
    return new InputError(`The options are ${describeValue(options)}; give an object, or leave them out.`, { cause: error })
  const wrong = (name: string, wanted: string): Error =>
    new InputError(`The option ${name} is ${describeValue(options[name as keyof typeof options])}; give ${wanted}.`, {
      cause: error,
    })
  if (options.signal !== undefined && typeof (options.signal as Partial<AbortSignal> | null)?.throwIfAborted !== 'function')
    return wrong('signal', 'the signal of an AbortController')
  for (const name of FUNCTIONS) if (!['function', 'undefined'].includes(typeof options[name])) return wrong(name, 'a function')
  if (!['string', 'undefined'].includes(typeof options.integrity))
    return wrong('integrity', "'sha256-' and the digest in base64, or its 64 hexadecimal digits")
  return error
}
