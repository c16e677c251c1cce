/** What pages have in place of tensors, and how it becomes one. */

import type { Fit } from '../fit.js'
import type { Tensor } from '../tensor.js'
import type { Feed } from '../types.js'

/** Pixels, line by line: `ImageData`, or the same from elsewhere. */
export interface PixelData {
  /** RGBA (colours not multiplied by alpha), RGB or grey, as the number of bytes tells. */
  readonly data: Uint8Array | Uint8ClampedArray
  readonly width: number
  readonly height: number
}

/**
 * A picture. A `Blob` or `File` has the bytes of an image file, which is decoded in the Worker and turned as its EXIF data say. Of elements, their
 * picture of the moment is taken; an `ImageBitmap` or `VideoFrame` stays yours.
 */
export type ImageSource =
  PixelData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement | VideoFrame | Blob

/**
 * How a picture becomes a tensor: it is scaled (linear, half-pixel centres, antialiased where it shrinks), and a channel of a pixel is
 * `(colour · scale − mean) / std`, colours from 0 to 255.
 */
export interface ImageOptions {
  /** Width and height of what the model sees, or the side of a square. Default: those of the input; where they are open, the picture's own. */
  readonly size?: number | readonly [width: number, height: number] | undefined
  /**
   * How a picture of another form fits, as in CSS: `'fill'` distorts it, `'contain'` leaves margins, `'cover'` cuts off what is too much, on both
   * sides alike. Default `'fill'`.
   */
  readonly fit?: Fit | undefined
  /** The part of both sides that is used, around the middle; e.g. 0.875 for models that were tested with 224 pixels out of 256. Default 1. */
  readonly crop?: number | undefined
  /** Factor of the colours. Default 1/255 for float inputs, 1 for integers. */
  readonly scale?: number | undefined
  /** What is subtracted then, for all channels or for each. Default 0; 128 for int8, so that its range is used. */
  readonly mean?: number | readonly number[] | undefined
  /** By what it is divided then. Default 1. */
  readonly std?: number | readonly number[] | undefined
  /**
   * For integer inputs that stand for `(integer − zeroPoint) · scale`: the integer that stands for the number that the other options give. The
   * defaults of those are then as for float inputs.
   */
  readonly quantization?: { readonly scale: number; readonly zeroPoint?: number | undefined } | undefined
  /** Where channels are. Default: where the input has 1 or 3 of them. */
  readonly layout?: 'NCHW' | 'NHWC' | undefined
  /** Which channels. Default RGB, for an input of one channel GRAY (luma of BT.601). */
  readonly channels?: 'RGB' | 'BGR' | 'GRAY' | undefined
  /** Red, green and blue from 0 to 255 behind transparent pixels and in margins. Default black. */
  readonly background?: readonly [red: number, green: number, blue: number] | undefined
}

/** A picture, or several of which each is an element of the batch, with options. */
export interface ImageFeed extends ImageOptions {
  readonly image: ImageSource | readonly ImageSource[]
}

/** Sound: an `AudioBuffer`, or the samples of each channel. */
export type AudioSource = AudioBuffer | { readonly channels: readonly Float32Array[]; readonly sampleRate: number }

/** Sound at the rate that the model wants; of several channels the mean. */
export interface AudioFeed {
  readonly audio: AudioSource
  /** Samples a second. */
  readonly sampleRate: number
}

/** A value for one input of a model in the page. */
export type LocalFeed = Feed | ImageSource | readonly ImageSource[] | ImageFeed | AudioFeed

/** Inputs by name; a model with one input also takes the bare value. */
export type LocalFeeds = { readonly [name: string]: LocalFeed } | LocalFeed

/** What may stand in the page for a tensor that `V` allows: pictures for float32, float16, uint8 and int8, sounds for float32. */
type MediaFor<V> =
  | (Tensor<'float32'> extends V ? AudioFeed | PictureFeed : never)
  | (Tensor<'float16'> extends V ? PictureFeed : never)
  | (Tensor<'uint8'> extends V ? PictureFeed : never)
  | (Tensor<'int8'> extends V ? PictureFeed : never)

type PictureFeed = ImageSource | readonly ImageSource[] | ImageFeed

/** Feeds `F` of a model, by name or the bare value, and pictures and sounds wherever one can be in place of its tensor. */
export type WithMedia<F> = ByName<F> | MediaFor<F>

type ByName<F> = F extends LocalFeed ? F : { [K in keyof F]: F[K] | MediaFor<F[K]> }
