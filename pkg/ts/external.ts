/** Weights that a model keeps in other files: where they come from. */

import type { WeightSource } from './engine/engine.js'
import type { NeededRange } from './engine/protocol.js'
import { InputError } from './errors.js'
import { fileAddress } from './files.js'
import { readRange } from './range.js'
import { addressOf, isRemote } from './request.js'
import type { LoadOptions, ModelSource } from './types.js'

/** Reads what a model needs of other files: from the option `externalData`, else from the folder of the model's address. */
export function externalWeights(model: ModelSource, options: LoadOptions & { readonly timeout: number }): WeightSource {
  const { request, signal, timeout, externalData = {} } = options
  return async (needed, take) => {
    for (const [path, range] of files(needed)) {
      const source = Object.hasOwn(externalData, path) ? fileAddress(externalData[path]) : besides(model, path)
      if (source === undefined) {
        throw new InputError(
          `The model keeps weights in the file '${path}'; give it in the option externalData: { '${path}': … }, or load the model by its address, beside which the file lies.`,
        )
      }
      await readRange(source, range, { request, signal, timeout }, (at, bytes) => take({ path, at, bytes }))
    }
  }
}

/** What is needed of each file, from the first byte to the last. */
function files(needed: readonly NeededRange[]): Map<string, { start: number; end: number }> {
  const out = new Map<string, { start: number; end: number }>()
  for (const { path, start, length } of needed) {
    const known = out.get(path)
    const end = start + length
    out.set(path, known === undefined ? { start, end } : { start: Math.min(known.start, start), end: Math.max(known.end, end) })
  }
  return out
}

/** The address of a file in the model's folder. The compiler lets no path through that leads out of it. */
function besides(model: ModelSource, path: string): string | undefined {
  const address = model instanceof Response || isRemote(model) ? addressOf(model) : ''
  if (address === '') return undefined
  const base = new URL(address)
  const url = new URL(path.split('/').map(encodeURIComponent).join('/'), base)
  // An address may carry a token that its neighbours need, too.
  url.search = base.search
  return url.href
}
