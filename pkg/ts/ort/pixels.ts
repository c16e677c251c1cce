/** Tensors as pictures, and pictures as tensors: where each channel of each pixel stands, and what its number means. */

import type {
  ImageFormat,
  ImageTensorLayout,
  OptionsNormalizationParameters,
  Tensor,
  TensorToImageDataOptions,
} from './tensor-types.js'

/** Indices of red, green, blue and alpha among a format's channels. */
const CHANNELS: { readonly [K in ImageFormat]: readonly number[] } = {
  RGB: [0, 1, 2],
  RGBA: [0, 1, 2, 3],
  BGR: [2, 1, 0],
  RBG: [0, 2, 1],
}

/** The channels of a format; a name that is none is an error. */
export function channelsOf(format: ImageFormat): readonly number[] {
  if (!Object.hasOwn(CHANNELS, format))
    throw new TypeError(`'${String(format)}' is not an image format; use one of ${Object.keys(CHANNELS).join(', ')}.`)
  return CHANNELS[format]
}

/** Four numbers of a `norm` option, for red, green, blue and alpha. */
export function normOf(given: number | readonly number[] | undefined, otherwise: number): readonly number[] {
  if (typeof given === 'number') return [given, given, given, given]
  return [0, 1, 2, 3].map((i) => given?.[i] ?? otherwise)
}

/** How far apart neighbours are, in elements. */
export interface Strides {
  readonly pixel: number
  readonly channel: number
}

/** The strides of a layout. */
export function stridesOf(layout: ImageTensorLayout, channels: number, pixels: number): Strides {
  if (layout !== 'NCHW' && layout !== 'NHWC') throw new TypeError(`'${String(layout)}' is not a tensor layout; use NCHW or NHWC.`)
  return layout === 'NHWC' ? { pixel: channels, channel: 1 } : { pixel: 1, channel: pixels }
}

/** What a colour is divided by, unless `norm` says otherwise. */
export function defaultMean(type: string): number {
  return type === 'uint8' ? 1 : 255
}

/** The first image of a tensor. */
export function toImageData(tensor: Tensor, options: TensorToImageDataOptions): ImageData {
  const { tensorLayout: layout = 'NCHW', norm } = options
  const data = tensor.data as ArrayLike<number | bigint>
  const [, a = 0, b = 0, c = 0] = tensor.dims
  const [channels, height, width] = layout === 'NHWC' ? [c, a, b] : [a, b, c]
  if (tensor.dims.length !== 4 || typeof ImageData === 'undefined' || width * height === 0) {
    if (typeof ImageData === 'undefined') throw new Error('Can not access image data')
    throw new Error(`A picture is made of a tensor of 4 dimensions, none of them 0; this one has [${tensor.dims.join(', ')}].`)
  }
  const positions = positionsOf(channels, options.format)
  const strides = stridesOf(layout, channels, width * height)
  const [mean, bias] = normNumbers(norm, tensor.type)
  const pixels = new Uint8ClampedArray(width * height * 4)
  for (let i = 0; i < width * height; i++) {
    for (let channel = 0; channel < 4; channel++) {
      const position = positions[channel]
      const value = position === undefined ? undefined : Number(data[i * strides.pixel + position * strides.channel])
      pixels[i * 4 + channel] = value === undefined ? 255 : (value - (bias[channel] ?? 0)) * (mean[channel] ?? 1)
    }
  }
  return new ImageData(pixels, width, height)
}

/** Where red, green, blue and perhaps alpha are; a tensor with one channel is grey. */
function positionsOf(channels: number, format: ImageFormat | undefined): readonly number[] {
  if (channels === 1 && format === undefined) return [0, 0, 0]
  const positions = channelsOf(format ?? (channels === 4 ? 'RGBA' : 'RGB'))
  if (positions.length !== channels) throw new Error("Tensor format doesn't match input tensor dims")
  return positions
}

function normNumbers(norm: OptionsNormalizationParameters['norm'], type: string): [readonly number[], readonly number[]] {
  return [normOf(norm?.mean, defaultMean(type)), normOf(norm?.bias, 0)]
}

/** The first image of a tensor as a PNG in a `data:` address. */
export function toDataURL(tensor: Tensor, options: TensorToImageDataOptions): string {
  if (typeof document === 'undefined') throw new Error('toDataURL is not supported')
  const image = toImageData(tensor, options)
  const canvas = document.createElement('canvas')
  canvas.width = image.width
  canvas.height = image.height
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('Can not access image data')
  context.putImageData(image, 0, 0)
  return canvas.toDataURL()
}
