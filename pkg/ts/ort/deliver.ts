/** Where a result goes: into a tensor of its own, or into the one that the caller prepared. */

import { InputError } from '../index.js'
import type { Elements } from './element-types.js'
import { Tensor } from './tensor.js'

/** The result itself, or the tensor that the caller prepared, filled with it. */
export function deliver(name: string, result: Tensor, prepared: Tensor | undefined): Tensor {
  if (prepared === undefined) return result
  const fits = prepared.type === result.type && prepared.dims.join() === result.dims.join()
  if (!fits) {
    throw new InputError(
      `The tensor given for output '${name}' is ${prepared.type} [${prepared.dims.join(', ')}], the result ${result.type} [${result.dims.join(', ')}]; prepare one of that type and shape.`,
    )
  }
  if (result.type === 'string') {
    const words = prepared.data as string[]
    ;(result.data as string[]).forEach((word, i) => {
      words[i] = word
    })
    return prepared instanceof Tensor ? prepared : new Tensor(result.type, words, result.dims)
  }
  const target = prepared.data as Elements
  ;(target as Uint8Array).set(result.data as Uint8Array)
  return prepared instanceof Tensor ? prepared : new Tensor(result.type, target, result.dims)
}
