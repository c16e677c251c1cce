/** From what the model saw back to the picture. */

import { type Fit, place, type Placed, type Size } from '../fit.js'
import { InputError } from '../index.js'
import type { Box } from './boxes.js'
import { optionsOf } from './values.js'

/** How the picture was given to the model; the same words as in its feed. */
export interface FitOptions {
  readonly fit?: Fit | undefined
  readonly crop?: number | undefined
}

/**
 * Where a picture was in what the model saw, for {@link toPicture}.
 *
 * @param picture the picture's own width and height
 * @param seen the width and height that the model takes
 * @throws InputError for sizes that are not above 0, and for other words than a feed takes
 */
export function fitOf(picture: Size, seen: Size, options: FitOptions = {}): Placed & { readonly seen: Size } {
  const { fit = 'fill', crop = 1 } = optionsOf(options)
  for (const { width, height } of [picture, seen].map((size) => Object(size) as Size)) {
    if (!(width > 0 && height > 0)) throw new InputError(`A size is ${width}×${height}; give pixels, at least 1×1.`)
  }
  if (!['fill', 'contain', 'cover'].includes(fit))
    throw new InputError(`The option fit is '${String(fit)}'; use 'fill', 'contain' or 'cover'.`)
  if (!(crop > 0 && crop <= 1)) throw new InputError(`The option crop is ${String(crop)}; give a number above 0 and up to 1.`)
  return { ...place(picture, seen, fit, crop), seen }
}

/**
 * A box in pixels of the picture, cut off at what the model saw of it. With `relative`, the box was given in parts of what the model saw, from 0 to 1.
 *
 * @throws InputError for what is no box, and for a fit that does not come from {@link fitOf}
 */
export function toPicture(box: Box, fit: ReturnType<typeof fitOf>, options: { readonly relative?: boolean } = {}): Box {
  const { relative = false } = optionsOf(options)
  if (box?.length !== 4) throw new InputError('A box has four numbers; give those of a detection.')
  if (fit?.seen === undefined) throw new InputError('A fit is what fitOf gives; give that of the picture.')
  const { window, frame, seen } = fit
  const along = (value: number, side: 'width' | 'height', start: 'left' | 'top'): number => {
    const pixels = relative ? value * seen[side] : value
    const part = (pixels - frame[start]) / frame[side]
    return window[start] + Math.min(Math.max(part, 0), 1) * window[side]
  }
  const [left, top, right, bottom] = box
  return [
    along(left, 'width', 'left'),
    along(top, 'height', 'top'),
    along(right, 'width', 'left'),
    along(bottom, 'height', 'top'),
  ]
}
