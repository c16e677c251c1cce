/** A class for each pixel. */

import { InputError } from '../index.js'
import { numbersOf, optionsOf, type Values } from './values.js'

/** The class of each pixel, line by line. */
export interface ClassMask {
  /** Positions of the classes; 16 bits where there are more than 256. */
  readonly data: Uint8Array | Uint16Array
  readonly width: number
  readonly height: number
}

/**
 * The class with the highest score at each pixel; of equal ones the first. NaN is no score: where there is nothing else, the class is 0.
 *
 * @param scores one picture: C×H×W, 1×C×H×W, or with `layout: 'NHWC'` channels last
 * @throws InputError for other shapes, and for less than 2 or more than 65536 classes
 */
export function classMask(scores: Values, options: { readonly layout?: 'NCHW' | 'NHWC' | undefined } = {}): ClassMask {
  const { layout = 'NCHW' } = optionsOf(options)
  const { data, dims } = numbersOf(scores, 'the scores')
  const [a = 0, b = 0, c = 0] = dims.slice(-3)
  if (dims.length < 3 || dims.slice(0, -3).some((d) => d !== 1))
    throw new InputError(`The scores have the shape [${dims.join(', ')}]; give those of one picture, with 3 dimensions.`)
  const last = layout === 'NHWC'
  if (!last && layout !== 'NCHW') throw new InputError(`The option layout is '${String(layout)}'; use 'NCHW' or 'NHWC'.`)
  const [classes, height, width] = last ? [c, a, b] : [a, b, c]
  if (classes < 2 || classes > 65536)
    throw new InputError(
      `The scores have ${classes} classes (shape [${dims.join(', ')}], ${layout}); a mask needs 2 to 65536 of them.`,
    )
  const pixels = width * height
  const [near, far] = last ? [classes, 1] : [1, pixels]
  const out = classes > 256 ? new Uint16Array(pixels) : new Uint8Array(pixels)
  for (let i = 0; i < pixels; i++) {
    let [best, at] = [-Infinity, 0]
    for (let k = 0; k < classes; k++) {
      const score = data[i * near + k * far] as number
      if (score > best) [best, at] = [score, k]
    }
    out[i] = at
  }
  return { data: out, width, height }
}
