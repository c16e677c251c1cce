/** Pictures and sounds on the side of the wasm instance: decoded and read here, so that the page goes on meanwhile. */

import { resample } from '../audio/resampler.js'
import { InputError, UnsupportedError } from '../errors.js'
import { place } from '../fit.js'
import type { Pixels, WireAudio, WireImage, WireImages, WireInput, WireRecipe } from './protocol.js'
import type { RawModel } from './raw.js'

/** Pictures that only need to be scaled. */
interface OpenedImages {
  readonly images: readonly Pixels[]
  readonly recipe: WireRecipe
}

/** An input that can be staged. */
export type Opened = Exclude<WireInput, WireImages | WireAudio> | OpenedImages

/** Whether an input is opened before it can be staged. */
export function isMedia(input: WireInput): boolean {
  return 'transfer' in input
}

/** Decodes pictures and resamples sounds. */
export function openAll(inputs: readonly WireInput[]): Promise<Opened[]> {
  return Promise.all(inputs.map(open))
}

async function open(input: WireInput): Promise<Opened> {
  if ('images' in input) return { recipe: input.recipe, images: await Promise.all(input.images.map(pixelsOf)) }
  if (!('channels' in input)) return input
  return { dims: input.dims, bytes: new Uint8Array(resample(input.channels, input.from, input.to).buffer) }
}

/** Where the latest frame was drawn: the next one is probably as large. */
let context: OffscreenCanvasRenderingContext2D | null | undefined

async function pixelsOf(image: WireImage): Promise<Pixels> {
  if ('pixels' in image) return image
  if (typeof OffscreenCanvas === 'undefined' || typeof createImageBitmap === 'undefined') {
    throw new UnsupportedError(
      'Pictures cannot be decoded here, for there is no OffscreenCanvas; give their pixels, { data, width, height }.',
    )
  }
  let drawable: ImageBitmap | VideoFrame | undefined
  try {
    drawable = image instanceof Blob ? await createImageBitmap(image) : image
    const [width, height] =
      'displayWidth' in drawable ? [drawable.displayWidth, drawable.displayHeight] : [drawable.width, drawable.height]
    if (context?.canvas.width !== width || context.canvas.height !== height) {
      context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })
      // What was there before is replaced, not covered.
      if (context !== null) context.globalCompositeOperation = 'copy'
    }
    if (context === null) throw new Error(`no canvas of ${width}×${height} pixels`)
    context.drawImage(drawable, 0, 0, width, height)
    const { data } = context.getImageData(0, 0, width, height)
    return { pixels: new Uint8Array(data.buffer), width, height }
  } catch (cause) {
    const what = image instanceof Blob ? `of type '${image.type}' ` : ''
    throw new InputError(
      `A picture ${what}could not be read (${String(cause)}); give one that this browser shows, of this origin or with CORS.`,
    )
  } finally {
    drawable?.close()
    // A file's canvas may be large, and files seldom follow each other as frames do.
    if (image instanceof Blob) context = undefined
  }
}

/** Scales pictures into the model's input. */
export function stageImages(model: RawModel, index: number, { images, recipe }: OpenedImages): void {
  const [first] = images
  images.forEach(({ pixels, width, height }, item) => {
    const size = { width: recipe.width ?? width, height: recipe.height ?? height }
    if (size.width !== (recipe.width ?? first?.width) || size.height !== (recipe.height ?? first?.height)) {
      throw new InputError(
        `Pictures of ${first?.width}×${first?.height} and ${width}×${height} pixels were given together to an input that leaves their size open; give { image, size }.`,
      )
    }
    const { window, frame } = place({ width, height }, size, recipe.fit, recipe.crop)
    const three = (values: readonly number[]): number[] => [0, 1, 2].map((i) => values[i] ?? 0)
    const numbers = Float64Array.of(
      ...[width, height, window.left, window.top, window.width, window.height],
      ...[frame.left, frame.top, frame.width, frame.height, size.width, size.height],
      ...recipe.background,
      ...[recipe.colors, Number(recipe.interleaved)],
      ...three(recipe.scale),
      ...three(recipe.offset),
    )
    const dims = Uint32Array.from(recipe.dims, (dim) => (typeof dim === 'string' ? size[dim] : dim))
    model.stage_image(index, dims, item, pixels, numbers)
  })
}
