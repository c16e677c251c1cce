/** Where a picture is in a frame of another form, and the way back. */

/** How a picture of another form fits, as in CSS: distorted, with margins, or with its ends cut off. */
export type Fit = 'fill' | 'contain' | 'cover'

/** Pixels. */
export interface Size {
  readonly width: number
  readonly height: number
}

/** A rectangle in pixels. */
export interface Area extends Size {
  readonly left: number
  readonly top: number
}

/** The part of a picture that is used, and the part of the frame that it fills. */
export interface Placed {
  readonly window: Area
  readonly frame: Area
}

/**
 * Places a picture in a frame. `crop` is the part of both of its sides that is used, around the middle. The window of `'cover'` may begin between pixels;
 * the picture of `'contain'` is a whole number of pixels, with the odd one of the margins at the end.
 */
export function place(picture: Size, frame: Size, fit: Fit, crop: number): Placed {
  const all = [picture.width * crop, picture.height * crop] as const
  const [scaleX, scaleY] = [frame.width / all[0], frame.height / all[1]]
  let [width, height] = all
  let inner: Size = frame
  if (fit === 'cover') {
    const scale = Math.max(scaleX, scaleY)
    ;[width, height] = [Math.min(width, frame.width / scale), Math.min(height, frame.height / scale)]
  } else if (fit === 'contain') {
    const scale = Math.min(scaleX, scaleY)
    const side = (length: number, most: number): number => Math.min(Math.max(Math.round(length * scale), 1), most)
    inner = { width: side(width, frame.width), height: side(height, frame.height) }
  }
  return {
    window: { left: (picture.width - width) / 2, top: (picture.height - height) / 2, width, height },
    frame: {
      left: Math.floor((frame.width - inner.width) / 2),
      top: Math.floor((frame.height - inner.height) / 2),
      width: inner.width,
      height: inner.height,
    },
  }
}
