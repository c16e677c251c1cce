/** The option `limits`, checked. */

import { InputError } from './errors.js'
import { describeValue } from './tensor.js'
import type { Limits } from './types.js'

const NAMES: { readonly [K in keyof Limits]-?: true } = {
  modelBytes: true,
  nodes: true,
  nesting: true,
  tensorBytes: true,
  loopIterations: true,
}

/** The limits as they cross to the Worker; throws for a name that is none, or a value that is no whole number. */
export function checkLimits(limits: Limits = {}): Limits {
  if (typeof limits !== 'object' || (limits as object | null) === null)
    throw new InputError(`The option limits is ${describeValue(limits)}; give an object.`)
  for (const [name, value] of Object.entries(limits) as [string, unknown][]) {
    if (!Object.hasOwn(NAMES, name))
      throw new InputError(`The option limits has no '${name}'; it may hold ${Object.keys(NAMES).join(', ')}.`)
    if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= 0))
      throw new InputError(`The option limits.${name} is ${describeValue(value)}; give a whole number.`)
  }
  return { ...limits }
}
