/** What each node of a model takes. */

import type { Resident } from './engine/engine.js'
import type { WireInput } from './engine/protocol.js'
import { InputError } from './errors.js'
import type { NodeProfile } from './explanation.js'
import { describeValue } from './tensor.js'
import type { ProfileOptions } from './types.js'

/** Profiles a model; see `LocalModel.profile`. */
export async function profile(
  resident: Resident,
  inputs: WireInput[] | Promise<WireInput[]>,
  { runs = 20, signal }: ProfileOptions,
): Promise<NodeProfile[]> {
  if (!Number.isInteger(runs) || runs < 1)
    throw new InputError(`The option runs is ${describeValue(runs)}; give a whole number from 1 on.`)
  const ready = Promise.resolve(inputs).then((inputs) => ({ inputs, runs }))
  return [...(await resident.ask('profile', ready, signal))]
}
