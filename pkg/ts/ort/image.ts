/** `Tensor.fromImage`: pixels of whatever a page has, scaled and arranged. */

import { channelsOf, defaultMean, normOf, stridesOf } from './pixels.js'
import type { ImageFormat, ImageSource, Tensor, TensorFromImageOptions } from './tensor-types.js'

/** Makes the result; given by the module of the class, which imports this one. */
export type MakeTensor = (type: 'float32' | 'uint8', data: Float32Array | Uint8Array, dims: readonly number[]) => Tensor

/** Something that a canvas can draw, and its size on the page. */
interface Drawable {
  readonly image: CanvasImageSource
  readonly width: number
  readonly height: number
}

/** A tensor of one image. */
export async function tensorFromImage(source: ImageSource, options: TensorFromImageOptions, make: MakeTensor): Promise<Tensor> {
  const format = options.tensorFormat ?? (isA('HTMLImageElement', source) ? 'RGBA' : 'RGB')
  channelsOf(format)
  const [width, height] = [checkSize(options, 'resizedWidth'), checkSize(options, 'resizedHeight')]
  return arrange(await pixelsOf(source, width, height), format, options, make)
}

function checkSize(options: TensorFromImageOptions, name: 'resizedWidth' | 'resizedHeight'): number | undefined {
  const value = options[name]
  if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
    throw new RangeError(`The option ${name} is ${String(value)}; give a whole number of pixels.`)
  return value
}

/** RGBA bytes as numbers in the order that the options ask for. */
function arrange(image: ImageData, format: ImageFormat, options: TensorFromImageOptions, make: MakeTensor): Tensor {
  const { tensorLayout = 'NCHW', dataType = 'float32', norm } = options
  if (dataType !== 'float32' && dataType !== 'uint8')
    throw new TypeError(`The option dataType is '${String(dataType)}'; use float32 or uint8.`)
  const { width, height, data: rgba } = image
  const positions = channelsOf(format)
  const pixels = width * height
  const strides = stridesOf(tensorLayout, positions.length, pixels)
  const means = normOf(norm?.mean, defaultMean(dataType))
  const biases = normOf(norm?.bias, 0)
  // The clamped array rounds and saturates what uint8 cannot hold.
  const data =
    dataType === 'uint8' ? new Uint8ClampedArray(pixels * positions.length) : new Float32Array(pixels * positions.length)
  positions.forEach((position, channel) => {
    const [mean = 1, bias = 0] = [means[channel], biases[channel]]
    let to = position * strides.channel
    for (let from = channel; from < rgba.length; from += 4, to += strides.pixel) data[to] = ((rgba[from] ?? 0) + bias) / mean
  })
  const dims = tensorLayout === 'NHWC' ? [1, height, width, positions.length] : [1, positions.length, height, width]
  return make(dataType, data instanceof Float32Array ? data : new Uint8Array(data.buffer), dims)
}

async function pixelsOf(source: ImageSource, width: number | undefined, height: number | undefined): Promise<ImageData> {
  if (isA('ImageData', source)) {
    const image = source as ImageData
    const same = (width ?? image.width) === image.width && (height ?? image.height) === image.height
    // A canvas would lose the colours of transparent pixels: it is used for scaling only.
    return same ? image : draw(placed(image), width ?? image.width, height ?? image.height)
  }
  const drawable = await drawableOf(source)
  return draw(drawable, width ?? drawable.width, height ?? drawable.height)
}

async function drawableOf(source: ImageSource): Promise<Drawable> {
  if (typeof source === 'string' || source instanceof URL) return fetchImage(String(source))
  if (isA('Blob', source)) {
    const image = await createImageBitmap(source)
    return { image, width: image.width, height: image.height }
  }
  if (isA('HTMLImageElement', source)) {
    const image = source as HTMLImageElement
    await image.decode().catch((cause: unknown) => {
      throw new Error(`The image '${image.src}' could not be loaded; check its address.`, { cause })
    })
    return { image, width: image.width || image.naturalWidth, height: image.height || image.naturalHeight }
  }
  if (isA('HTMLVideoElement', source)) {
    const image = source as HTMLVideoElement
    return { image, width: image.videoWidth, height: image.videoHeight }
  }
  if (isA('VideoFrame', source)) {
    const image = source as VideoFrame
    return { image, width: image.displayWidth, height: image.displayHeight }
  }
  if (['ImageBitmap', 'HTMLCanvasElement', 'OffscreenCanvas'].some((name) => isA(name, source))) {
    const image = source as ImageBitmap | HTMLCanvasElement | OffscreenCanvas
    return { image, width: image.width, height: image.height }
  }
  throw new Error('Input data provided is not supported - aborted tensor creation')
}

async function fetchImage(url: string): Promise<Drawable> {
  const failed = (cause: unknown): Error =>
    new Error(`The image '${url}' could not be loaded; check its address, and CORS if it is another origin.`, { cause })
  if (typeof Image === 'undefined') {
    const response = await fetch(url).catch((cause: unknown) => {
      throw failed(cause)
    })
    if (!response.ok) throw failed(new Error(`the server answered ${response.status}`))
    const image = await createImageBitmap(await response.blob())
    return { image, width: image.width, height: image.height }
  }
  const image = new Image()
  image.crossOrigin = 'anonymous'
  image.src = url
  await image.decode().catch((cause: unknown) => {
    throw failed(cause)
  })
  return { image, width: image.naturalWidth, height: image.naturalHeight }
}

/** Whether a value is an instance of a class of the web platform, which this thread may not have. */
function isA(name: string, value: unknown): boolean {
  const type = (globalThis as { readonly [name: string]: unknown })[name]
  return typeof type === 'function' && value instanceof type
}

type Canvas = OffscreenCanvas | HTMLCanvasElement

function makeCanvas(width: number, height: number): [Canvas, CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D] {
  let canvas: Canvas
  if (typeof OffscreenCanvas !== 'undefined') canvas = new OffscreenCanvas(width, height)
  else if (typeof document !== 'undefined') canvas = Object.assign(document.createElement('canvas'), { width, height })
  else throw new Error('Canvas is not supported')
  const context = canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D | null
  if (context === null) throw new Error('Can not access image data')
  return [canvas, context]
}

function placed(data: ImageData): Drawable {
  const [image, context] = makeCanvas(data.width, data.height)
  context.putImageData(data, 0, 0)
  return { image, width: data.width, height: data.height }
}

function draw({ image, width: from, height: high }: Drawable, width: number, height: number): ImageData {
  if (from === 0 || high === 0) throw new Error('The image has no pixels yet; wait until it is loaded, or the video plays.')
  const [, context] = makeCanvas(width, height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(image, 0, 0, width, height)
  return context.getImageData(0, 0, width, height)
}
