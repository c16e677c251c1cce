/** A sound as the input of a model that takes one. */

import type { Port } from 'nearside'

import type { Values } from './inputs'

/** One channel of a recording. */
export interface Sound {
  readonly samples: Float32Array<ArrayBuffer>
  /** Samples a second. */
  readonly rate: number
}

/** Fewer samples than this are no sound, but a handful of numbers. */
const FEWEST = 128

/** How a model takes a sound. */
export interface SoundShape {
  readonly name: string
  readonly dims: readonly (number | undefined)[]
  /** Samples; as many as there are, where the model leaves it open. */
  readonly length: number | undefined
}

/** The one input that a sound can be put into: floats, one channel, its samples last. Other inputs may be beside it. */
export function soundShape(ports: readonly Port[], sizes: Readonly<Record<string, number>>): SoundShape | undefined {
  const shapes = ports.flatMap(({ name, type, dims, kind }): SoundShape[] => {
    if (type !== 'float32' || kind !== undefined || dims.length === 0 || dims.length > 3) return []
    const known = dims.map((dim, axis) =>
      typeof dim === 'number' ? dim : (sizes[dim] ?? (axis < dims.length - 1 ? 1 : undefined)),
    )
    const length = known.at(-1)
    const fits = known.slice(0, -1).every((dim) => dim === 1) && (length === undefined || length >= FEWEST)
    return fits ? [{ name, dims: known, length }] : []
  })
  return shapes.length === 1 ? shapes[0] : undefined
}

/** The end of a sound, as many samples as the model takes; after silence, where there are fewer. */
export function soundInput({ samples }: Sound, { name, dims, length = samples.length }: SoundShape): Values {
  const data = new Float32Array(length)
  const taken = samples.subarray(Math.max(0, samples.length - length))
  data.set(taken, length - taken.length)
  return { [name]: { type: 'float32', dims: dims.map((dim) => dim ?? length), data } }
}

/** What to say where no input takes it. */
export function noSound(ports: readonly Port[]): Error {
  const names = ports.map(({ name, type, dims }) => `'${name}', ${type} ${dims.join('×')}`).join('; ')
  return new Error(`The model has no single input for the samples of a sound (its inputs: ${names}); forget the sound.`)
}
