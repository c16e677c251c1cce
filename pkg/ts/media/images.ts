/** Pictures on their way to a model: captured in the page, with a recipe for the thread that decodes and scales them. */

import type { WireImage, WireImages, WireRecipe } from '../engine/protocol.js'
import { InputError } from '../errors.js'
import { article, describeDims, describeValue } from '../tensor.js'
import type { Port } from '../types.js'
import type { ImageFeed, ImageOptions, ImageSource, PixelData } from './types.js'

/** The name of a value's class in the web platform, of whichever frame it comes from. */
export function classOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1)
}

/** Objects of the platform that are pictures. */
const CLASSES: readonly string[] = [
  'Blob',
  'File',
  'HTMLCanvasElement',
  'HTMLImageElement',
  'HTMLVideoElement',
  'ImageBitmap',
  'ImageData',
  'OffscreenCanvas',
  'VideoFrame',
]

/** Whether a value is a picture. */
export function isImage(value: unknown): value is ImageSource {
  if (CLASSES.includes(classOf(value))) return true
  const { data, width, height } = Object(value) as Partial<PixelData>
  return ArrayBuffer.isView(data) && typeof width === 'number' && typeof height === 'number'
}

/** Pictures for an input. What may change is copied before this returns; bitmaps and frames that are `owned` are used as they are. */
export function captureImages(port: Port, feed: ImageFeed, owned = false): WireImages | Promise<WireImages> {
  const what = `input '${port.name}'`
  const sources = Array.isArray(feed.image) ? (feed.image as readonly ImageSource[]) : [feed.image as ImageSource]
  const recipe = recipeFor(port, feed, sources.length, what)
  const images = sources.map((source, i) => capture(source, sources.length === 1 ? what : `${what}, picture ${i},`, owned))
  const wire = (images: readonly WireImage[]): WireImages => ({ images, recipe, transfer: images.flatMap(moving) })
  const ready = images.filter((image): image is WireImage => !(image instanceof Promise))
  return ready.length === images.length ? wire(ready) : Promise.all(images.map((image) => Promise.resolve(image))).then(wire)
}

function moving(image: WireImage): Transferable[] {
  if ('pixels' in image) return [image.pixels.buffer as ArrayBuffer]
  return image instanceof Blob ? [] : [image]
}

function capture(source: ImageSource, what: string, owned: boolean): WireImage | Promise<WireImage> {
  const { width, height } = source as Partial<ImageBitmap>
  switch (classOf(source)) {
    case 'Blob':
    case 'File':
      return source as Blob
    case 'VideoFrame':
      if ((source as VideoFrame).codedWidth === 0)
        throw new InputError(`The VideoFrame of ${what} is closed; close it after the call of run.`)
      return owned ? (source as VideoFrame) : (source as VideoFrame).clone()
    case 'ImageBitmap':
      if (width === 0) throw new InputError(`The ImageBitmap of ${what} is closed or was transferred; give one that is open.`)
      if (owned) return source as ImageBitmap
      break
    case 'HTMLVideoElement': {
      const { readyState, videoWidth } = source as HTMLVideoElement
      if (readyState < 2 || videoWidth === 0)
        throw new InputError(`The video of ${what} has no frame yet; wait for its event loadeddata, or for play().`)
      break
    }
    case 'HTMLImageElement': {
      const image = source as HTMLImageElement
      const open = (): Promise<ImageBitmap> => {
        if (image.naturalWidth === 0)
          throw new InputError(
            `The image of ${what}, '${image.currentSrc}', could not be loaded or has no size of its own; check its address.`,
          )
        return bitmapOf(image, what)
      }
      return image.complete ? open() : image.decode().then(open, open)
    }
    case 'HTMLCanvasElement':
    case 'OffscreenCanvas':
      if (width === 0 || height === 0)
        throw new InputError(
          `The canvas of ${what} is ${width}×${height} pixels; give one that is at least 1×1, and not transferred.`,
        )
      break
    default:
      return copyOf(source as PixelData, what)
  }
  return bitmapOf(source as ImageBitmapSource, what)
}

async function bitmapOf(source: ImageBitmapSource, what: string): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(source)
  } catch (cause) {
    throw new InputError(`The picture of ${what} could not be read (${String(cause)}); give one that is loaded and open.`, {
      cause,
    })
  }
}

/** The pixels as RGBA. */
function copyOf({ data, width, height }: PixelData, what: string): WireImage {
  const count = width * height
  if (!(Number.isSafeInteger(width) && Number.isSafeInteger(height) && count > 0))
    throw new InputError(`The picture of ${what} is ${width}×${height} pixels; give one that is at least 1×1.`)
  const channels = data.length / count
  if (data.BYTES_PER_ELEMENT !== 1 || ![1, 3, 4].includes(channels)) {
    throw new InputError(
      `The picture of ${what} has ${data.length} elements of ${article(classOf(data))} for ${width}×${height} pixels; give 4, 3 or 1 bytes for each (RGBA, RGB, grey).`,
    )
  }
  const [pixels, from] = [new Uint8Array(4 * count), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]
  if (channels === 4) pixels.set(from)
  else {
    const [green, blue] = channels === 3 ? [1, 2] : [0, 0]
    for (let i = 0, j = 0; i < pixels.length; i += 4, j += channels) {
      pixels[i] = from[j] as number
      pixels[i + 1] = from[j + green] as number
      pixels[i + 2] = from[j + blue] as number
      pixels[i + 3] = 255
    }
  }
  return { pixels, width, height }
}

/** Positions of an input's dimensions; `undefined` for those that it lacks. */
interface Layout {
  readonly batch?: number
  readonly channel?: number
  readonly height: number
  readonly width: number
}

/** Members of a feed beside its pictures. */
const OPTIONS: { readonly [K in keyof ImageOptions]-?: true } = {
  size: true,
  fit: true,
  crop: true,
  scale: true,
  mean: true,
  std: true,
  quantization: true,
  layout: true,
  channels: true,
  background: true,
}

const CHANNELS: { readonly [K in NonNullable<ImageOptions['channels']>]: number } = { RGB: 3, BGR: 3, GRAY: 1 }

function recipeFor(port: Port, options: ImageOptions, count: number, what: string): WireRecipe {
  // A misspelt mean gives answers that are plausible and wrong.
  const stray = Object.keys(options).find((name) => name !== 'image' && !Object.hasOwn(OPTIONS, name))
  if (stray !== undefined)
    throw new InputError(`The picture of ${what} has no option '${stray}'; there are ${Object.keys(OPTIONS).join(', ')}.`)
  const bad = (name: keyof ImageOptions, remedy: string): InputError =>
    new InputError(`The option ${name} of ${what} is ${describe(options[name])}; ${remedy}.`)
  const { fit = 'fill', crop = 1, channels: named, quantization, background = [0, 0, 0] } = options
  if (!['fill', 'contain', 'cover'].includes(fit)) throw bad('fit', "use 'fill', 'contain' or 'cover'")
  if (!(crop > 0 && crop <= 1)) throw bad('crop', 'give a number above 0 and up to 1')
  if (named !== undefined && !Object.hasOwn(CHANNELS, named)) throw bad('channels', "use 'RGB', 'BGR' or 'GRAY'")
  if (background.length !== 3 || !background.every((v) => v >= 0 && v <= 255))
    throw bad('background', 'give three numbers from 0 to 255')
  if (!(['float32', 'float16', 'uint8', 'int8'] as readonly string[]).includes(port.type))
    throw new InputError(`Pictures become float32, float16, uint8 or int8; ${what} takes ${port.type}: give a tensor.`)

  const layout = layoutOf(port, options, what, () =>
    bad('layout', `${what} is ${describeDims(port.dims)}: use 'NCHW' or 'NHWC' where it fits`),
  )
  const declared = layout.channel === undefined ? 1 : port.dims[layout.channel]
  const channels = named ?? (declared === 1 ? 'GRAY' : 'RGB')
  const channelCount = CHANNELS[channels]
  if (typeof declared === 'number' && declared !== channelCount) {
    const remedy = named === undefined ? 'give a tensor' : "give other 'channels', or a tensor"
    throw new InputError(
      `${what[0]?.toUpperCase()}${what.slice(1)} takes ${declared} channels, a picture has ${channelCount} (${channels}); ${remedy}.`,
    )
  }
  const batch = layout.batch === undefined ? 1 : port.dims[layout.batch]
  if (count === 0 || (typeof batch === 'number' && batch !== count))
    throw new InputError(
      `${count} pictures were given for ${what}, the model takes ${typeof batch === 'number' ? batch : 'at least one'} at a time.`,
    )

  const { size } = options
  const sides: readonly (number | undefined)[] = typeof size === 'object' ? size : [size, size]
  const side = (index: 0 | 1, position: number): number | undefined => {
    const [given, fixed] = [sides[index], port.dims[position]]
    if (given !== undefined && !(Number.isSafeInteger(given) && given > 0)) throw bad('size', 'give pixels, or [width, height]')
    if (typeof fixed !== 'number') return given
    if (given !== undefined && given !== fixed) throw bad('size', `${what} takes ${describeDims(port.dims)}: leave it out`)
    return fixed
  }
  const real = quantization !== undefined || port.type.startsWith('float')
  const { scale = real ? 1 / 255 : 1, mean = real || port.type === 'uint8' ? 0 : 128, std = 1 } = options
  const step = quantization?.scale ?? 1
  const numbers = (name: 'mean' | 'std', value: number | readonly number[]): readonly number[] => {
    const list = typeof value === 'object' ? value : new Array<number>(channelCount).fill(value)
    if (list.length !== channelCount || !list.every((v) => Number.isFinite(v) && (name === 'mean' || v !== 0)))
      throw bad(name, `give a number, or ${channelCount} (${channels})${name === 'std' ? ', not 0' : ''}`)
    return list
  }
  if (!Number.isFinite(scale)) throw bad('scale', 'give a number')
  if (!Number.isFinite(step) || step === 0) throw bad('quantization', 'give { scale, zeroPoint }, a scale that is not 0')
  const means = numbers('mean', mean)
  const factors = numbers('std', std).map((v) => 1 / (v * step))
  return {
    dims: port.dims.map((_, i) => {
      if (i === layout.height) return 'height'
      if (i === layout.width) return 'width'
      return i === layout.batch ? count : channelCount
    }),
    width: side(0, layout.width),
    height: side(1, layout.height),
    fit,
    crop,
    background,
    colors: channels === 'RGB' ? 0 : channels === 'BGR' ? 1 : 2,
    interleaved: layout.channel !== undefined && layout.channel > layout.width,
    scale: factors.map((factor) => scale * factor),
    offset: factors.map((factor, i) => (quantization?.zeroPoint ?? 0) - (means[i] as number) * factor),
  }
}

/** What is what among an input's dimensions: channels are where there are 1 or 3 of them. */
function layoutOf(port: Port, options: ImageOptions, what: string, bad: () => InputError): Layout {
  const { dims } = port
  const rank = dims.length
  const few = (at: number): boolean => dims[at] === 1 || dims[at] === 3
  if (rank < 2 || rank > 4)
    throw new InputError(`A picture does not fit ${what}, whose shape is ${describeDims(dims)}; give a tensor.`)
  if (rank === 2) return { height: 0, width: 1 }
  let { layout } = options
  if (layout !== undefined && layout !== 'NCHW' && layout !== 'NHWC') throw bad()
  layout ??= few(rank - 3) ? 'NCHW' : few(rank - 1) ? 'NHWC' : undefined
  if (layout === undefined) {
    // Grey pictures need no dimension for their channel.
    if (rank === 3 && (options.channels ?? 'GRAY') === 'GRAY') return { batch: 0, height: 1, width: 2 }
    throw new InputError(
      `Where the channels of ${what} are does not follow from its shape, ${describeDims(dims)}; give { image, layout: 'NCHW' } or 'NHWC'.`,
    )
  }
  const batch = rank === 4 ? { batch: 0 } : {}
  const first = rank - 3
  return layout === 'NCHW'
    ? { ...batch, channel: first, height: first + 1, width: first + 2 }
    : { ...batch, height: first, width: first + 1, channel: first + 2 }
}

function describe(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : describeValue(value)
}
