/** A picture as the input of a model that takes one. */

import type { Port } from 'nearside'

import { Rasterizer } from '../src/drawing'
import { prepare } from '../src/ink'
import { inkOfPicture } from '../src/picture'
import type { Values } from './inputs'

/** Width and height where the model leaves them open and no size is given: what most classifiers were trained on. */
const USUAL_SIDE = 224

/** How a model takes a picture. */
export interface PictureShape {
  readonly name: string
  readonly type: string
  readonly dims: readonly number[]
  readonly width: number
  readonly height: number
  readonly channels: number
  /** The channels of a pixel lie together. */
  readonly channelsLast: boolean
}

/** The shape of the only input, if a picture can be put into it: grey or RGB, floats or bytes. */
export function pictureShape(ports: readonly Port[], sizes: Readonly<Record<string, number>>): PictureShape | undefined {
  const [port, ...others] = ports
  if (port?.dims.length !== 4 || others.length > 0 || port.kind !== undefined) return undefined
  if (port.type !== 'float32' && port.type !== 'uint8') return undefined
  const isChannels = (dim: unknown): boolean => dim === 1 || dim === 3
  const channelsLast = !isChannels(port.dims[1])
  if (channelsLast && !isChannels(port.dims[3])) return undefined
  const spatial = channelsLast ? [1, 2] : [2, 3]
  const dims = port.dims.map((dim, axis) => {
    if (typeof dim === 'number') return dim
    return sizes[dim] ?? (spatial.includes(axis) ? USUAL_SIDE : 1)
  })
  const [items = 1, second = 1, third = 1, fourth = 1] = dims
  if (items !== 1) return undefined
  const [height, width, channels] = channelsLast ? [second, third, fourth] : [third, fourth, second]
  return { name: port.name, type: port.type, dims, width, height, channels, channelsLast }
}

/** Pixels (RGBA, of the shape's width and height) as the model takes them: floats from 0 to 1, or bytes. */
export function valuesOfPixels(rgba: Uint8ClampedArray, shape: PictureShape): Values {
  const { name, type, dims, width, height, channels, channelsLast } = shape
  const data = type === 'uint8' ? new Uint8Array(width * height * channels) : new Float32Array(width * height * channels)
  const numberOf = (byte: number): number => (type === 'uint8' ? Math.round(byte) : byte / 255)
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [red = 0, green = 0, blue = 0] = rgba.subarray(4 * pixel, 4 * pixel + 3)
    const values = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue]
    values.forEach((value, channel) => {
      data[channelsLast ? pixel * channels + channel : channel * width * height + pixel] = numberOf(value)
    })
  }
  return { [name]: { type, dims, data } }
}

/** The middle of a picture, in the model's proportions. */
export function pictureInputs(picture: ImageBitmap, ports: readonly Port[], sizes: Readonly<Record<string, number>>): Values {
  const shape = pictureShape(ports, sizes)
  if (shape === undefined) {
    const names = ports.map(({ name, type, dims }) => `'${name}', ${type} ${dims.join('×')}`).join('; ')
    throw new Error(`The model takes no single picture, grey or RGB (its inputs: ${names}); forget the frame.`)
  }
  const { width, height } = shape
  const context = new OffscreenCanvas(width, height).getContext('2d')
  if (context === null) throw new Error('This browser gives the page no canvas to draw on.')
  const scale = Math.max(width / picture.width, height / picture.height)
  const [w, h] = [picture.width * scale, picture.height * scale]
  context.imageSmoothingQuality = 'high'
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h)
  return valuesOfPixels(context.getImageData(0, 0, width, height).data, shape)
}

/** The digit on a picture of paper, as the demo page finds it. */
export async function digitInputs(picture: ImageBitmap): Promise<Values> {
  const raster = new Rasterizer().raster({ strokes: [], picture: await inkOfPicture(picture) })
  const data = prepare(raster)
  if (data === undefined) throw new Error('There is nothing on the frame that could be a digit; take another one.')
  return { image: { type: 'float32', dims: [1, 1, 28, 28], data } }
}
