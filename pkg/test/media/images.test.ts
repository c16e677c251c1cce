import { describe, expect, it, vi } from 'vitest'
import type { WireImages, WireInput } from '../../ts/engine/protocol.js'
import { InputError } from '../../ts/errors.js'
import { mayHaveMedia } from '../../ts/feeds.js'
import { captureImages, isImage } from '../../ts/media/images.js'
import { withMedia } from '../../ts/media/media.js'
import type { ImageOptions, ImageSource, LocalFeeds } from '../../ts/media/types.js'
import { Tensor } from '../../ts/tensor.js'
import type { Port } from '../../ts/types.js'
import { inputErrorOf } from '../failure.js'

const pixels = (width = 2, height = 1, channels = 4): ImageSource => ({
  data: Uint8Array.from({ length: width * height * channels }, (_, i) => i),
  width,
  height,
})
const port = (type: Port['type'], ...dims: (number | string)[]): Port => ({ name: 'x', type, dims })

function recipe(of: Port, options: ImageOptions = {}, images: ImageSource | ImageSource[] = pixels()): WireImages['recipe'] {
  return (captureImages(of, { image: images, ...options }) as WireImages).recipe
}

describe('what is told from what', () => {
  it('tensors, numbers and records of them are none of its business', () => {
    const tensors = [
      new Float32Array(3),
      [1, 2],
      'a',
      5,
      null,
      undefined,
      new Tensor('float32', [1]),
      { type: 'float32', data: [1], dims: [1] },
    ]
    for (const value of tensors) {
      expect(mayHaveMedia(value)).toBe(false)
      expect(mayHaveMedia({ x: value })).toBe(false)
    }
    expect(mayHaveMedia(Object.create(null))).toBe(false)
    for (const value of [new Blob([]), [new Blob([])], { image: new Blob([]) }, pixels()])
      expect(mayHaveMedia({ x: value })).toBe(true)
    expect(mayHaveMedia(new Blob([]))).toBe(true)
  })

  it('knows pictures', () => {
    expect(isImage(new Blob([]))).toBe(true)
    expect(isImage(pixels())).toBe(true)
    for (const value of [null, {}, [pixels()], new Float32Array(4), { width: 1, height: 1 }]) expect(isImage(value)).toBe(false)
  })

  const all = async (ports: Port[], feeds: unknown): Promise<unknown[]> =>
    withMedia(
      ports,
      feeds as LocalFeeds,
      () => {},
      (inputs) => inputs,
    )

  it('takes pictures beside tensors, and bare', async () => {
    const image = port('uint8', 1, 2, 3)
    const [x, y] = await all([image, { ...image, name: 'y' }], { x: pixels(2, 1, 3), y: new Uint8Array(6) })
    expect(x).toMatchObject({ images: [{ width: 2, height: 1 }] })
    expect(y).toMatchObject({ bytes: new Uint8Array(6) })
    for (const feeds of [
      { x: { image: pixels() } },
      { image: pixels() },
      { image: pixels(), size: [2, 1] },
      [pixels()],
      { x: [pixels()] },
    ])
      expect((await all([port('uint8', 1, 3, 1, 2)], feeds))[0]).toMatchObject({ images: [{ width: 2 }] })
    for (const feeds of [{ image: pixels() }, { image: pixels(), fit: 'cover' }, { image: { image: pixels(), fit: 'cover' } }])
      expect((await all([{ ...image, name: 'image' }], feeds))[0]).toMatchObject({ images: [{ width: 2 }] })
  })

  it('copies at once, and gives nothing back that was closed', async () => {
    const source = pixels(1, 1) as { data: Uint8Array; width: number; height: number }
    const running = all([port('uint8', 1, 1, 1, 3)], { x: source })
    source.data.fill(99)
    expect(await running).toMatchObject([{ images: [{ pixels: Uint8Array.of(0, 1, 2, 3) }] }])
  })

  it('gives back what it captured, whether the run took it or not', async () => {
    let [open, made] = [0, 0]
    const bitmap = (): object => {
      open += 1
      made += 1
      return { width: 1, height: 1, close: () => (open -= 1) }
    }
    vi.stubGlobal('createImageBitmap', () => Promise.resolve(bitmap()))
    const source = { width: 1, height: 1, [Symbol.toStringTag]: 'ImageBitmap' } as unknown as ImageSource
    const ports = [port('uint8', 1, 1, 1, 3), { ...port('float32', 1), name: 'y' }]
    const feeds = { x: source, y: [1] }
    await withMedia(
      ports,
      feeds,
      () => {},
      (inputs) => inputs,
    )
    await expect(
      withMedia(
        ports,
        feeds,
        () => {},
        () => Promise.reject(new Error('aborted')),
      ),
    ).rejects.toThrow('aborted')
    await withMedia(
      ports,
      feeds,
      () => {},
      () => Promise.resolve(undefined),
    )
    await expect(
      withMedia(
        ports,
        { ...feeds, y: [1, 2] },
        () => {},
        (inputs) => inputs,
      ),
    ).rejects.toThrow("Input 'y' takes 1")
    await new Promise((resolve) => setTimeout(resolve))
    expect([open, made]).toEqual([0, 4])
    vi.unstubAllGlobals()
  })

  it('sends the tensors beside it in buffers that came back', async () => {
    const ports = [port('uint8', 1, 1, 1, 3), { ...port('float32', 1), name: 'y' }]
    const spare = new Uint8Array(4)
    const use = (inputs: Promise<WireInput[]>): Promise<WireInput[]> => inputs
    const [, beside] = await withMedia(ports, { x: pixels(1, 1), y: [1] }, () => {}, use, false, [spare])
    expect(beside && 'bytes' in beside && beside.bytes).toBe(spare)
    expect([...new Float32Array(spare.buffer)]).toEqual([1])
  })

  it('says what a picture of another origin needs', async () => {
    const refused = (): Promise<never> => Promise.reject(new DOMException('not origin-clean', 'DataCloneError'))
    const running = withMedia([port('uint8', 1, 1, 1, 3)], { x: pixels(1, 1) }, () => {}, refused)
    await expect(running).rejects.toThrow('must not be read; serve it with CORS and set crossorigin')
    await expect(running).rejects.toBeInstanceOf(InputError)
  })

  it('leaves the rest to the words for tensors', async () => {
    const failing = (ports: Port[], feeds: unknown): Promise<string> =>
      all(ports, feeds).then(
        () => expect.unreachable(),
        (error: unknown) => (error as Error).message,
      )
    const image = port('float32', 1, 3, 2, 2)
    expect(await failing([image], { x: [[1, 2]] })).toContain('is a nested array; give a flat one')
    expect(await failing([image], { x: {} })).toContain("The data of input 'x' is an object of type Object")
    expect(await failing([image], { x: pixels(), y: 1 })).toContain("no input 'y'")
    expect(await failing([image, { ...image, name: 'y' }], { x: pixels() })).toContain("Input 'y' is missing")
    expect(await failing([image, image], pixels())).toContain("no input 'data'")
    expect(await failing([image], { x: { channels: [new Float32Array(1)], sampleRate: 8000 } })).toContain(
      'is sound without a rate; give { audio, sampleRate }',
    )
    expect(
      await failing([port('int16', 1, 4)], { audio: { channels: [new Float32Array(1)], sampleRate: 8000 }, sampleRate: 8000 }),
    ).toContain("input 'x' takes int16")
  })

  it('sounds take the shape of the input', async () => {
    const audio = { channels: [new Float32Array(480), new Float32Array(480)], sampleRate: 48_000 }
    const [sound] = await all([port('float32', 1, 'samples')], { x: { audio, sampleRate: 16_000 } })
    expect(sound).toMatchObject({ dims: Uint32Array.of(1, 160), from: 48_000, to: 16_000, channels: audio.channels })
    const short = all([port('float32', 1, 512)], { x: { audio, sampleRate: 16_000 } })
    await expect(short).rejects.toThrow("Input 'x' takes 1×512 (512 elements), 160 were given")
  })
})

describe('recipes', () => {
  it.each<[string, Port, ImageOptions, object]>([
    [
      'NCHW',
      port('float32', 1, 3, 8, 9),
      {},
      { dims: [1, 3, 'height', 'width'], width: 9, height: 8, interleaved: false, colors: 0 },
    ],
    ['NHWC', port('float32', 'n', 8, 9, 3), {}, { dims: [1, 'height', 'width', 3], width: 9, height: 8, interleaved: true }],
    ['CHW', port('float32', 3, 8, 9), {}, { dims: [3, 'height', 'width'], interleaved: false }],
    ['HWC', port('uint8', 8, 9, 3), {}, { dims: ['height', 'width', 3], interleaved: true }],
    ['grey CHW', port('float32', 1, 28, 28), {}, { dims: [1, 'height', 'width'], colors: 2 }],
    ['grey without a channel', port('float32', 'batch', 28, 28), {}, { dims: [1, 'height', 'width'], colors: 2 }],
    ['a plane', port('float32', 28, 28), {}, { dims: ['height', 'width'], colors: 2 }],
    ['BGR', port('float32', 1, 3, 8, 9), { channels: 'BGR' }, { colors: 1 }],
    ['open sides', port('float32', 1, 3, 'h', 'w'), {}, { width: undefined, height: undefined }],
    ['open sides with a size', port('float32', 1, 3, 'h', 'w'), { size: [9, 8] }, { width: 9, height: 8 }],
    ['a square', port('float32', 1, 3, 'h', 'w'), { size: 7 }, { width: 7, height: 7 }],
    ['open channels', port('float32', 1, 'c', 'h', 'w'), { layout: 'NCHW' }, { dims: [1, 3, 'height', 'width'], colors: 0 }],
    [
      'grey of open channels',
      port('float32', 1, 'h', 'w', 'c'),
      { layout: 'NHWC', channels: 'GRAY' },
      { dims: [1, 'height', 'width', 1] },
    ],
  ])('%s', (_, of, options, want) => {
    expect(recipe(of, options)).toMatchObject(want)
  })

  it.each<[string, Port, ImageOptions, number[], number[]]>([
    ['floats from 0 to 1', port('float32', 1, 3, 1, 1), {}, [1 / 255, 1 / 255, 1 / 255], [0, 0, 0]],
    ['bytes as they are', port('uint8', 1, 3, 1, 1), {}, [1, 1, 1], [0, 0, 0]],
    ['the range of int8', port('int8', 1, 3, 1, 1), {}, [1, 1, 1], [-128, -128, -128]],
    [
      'mean and deviation of each channel',
      port('float32', 1, 3, 1, 1),
      { mean: [0.5, 0.25, 0], std: [0.5, 0.25, 1] },
      [1 / 255 / 0.5, 1 / 255 / 0.25, 1 / 255],
      [-1, -1, 0],
    ],
    ['another scale', port('float32', 1, 1, 1, 1), { scale: 1, mean: 127, std: 128 }, [1 / 128], [-127 / 128]],
    [
      'what integers stand for',
      port('uint8', 1, 1, 1, 1),
      { mean: 0.5, std: 0.5, quantization: { scale: 1 / 64, zeroPoint: 128 } },
      [128 / 255],
      [128 - 64],
    ],
    ['int8 that stands for 0 to 1', port('int8', 1, 1, 1, 1), { quantization: { scale: 1 / 127 } }, [127 / 255], [0]],
  ])('numbers: %s', (_, of, options, scale, offset) => {
    const got = recipe(of, options)
    got.scale.forEach((v, i) => expect(v).toBeCloseTo(scale[i] ?? NaN, 12))
    got.offset.forEach((v, i) => expect(v).toBeCloseTo(offset[i] ?? NaN, 12))
    expect([got.scale.length, got.offset.length]).toEqual([scale.length, offset.length])
  })

  const rgb = port('float32', 1, 3, 8, 9)
  it.each<[string, () => unknown, string]>([
    [
      'a fit',
      () => recipe(rgb, { fit: 'none' as 'fill' }),
      "The option fit of input 'x' is 'none'; use 'fill', 'contain' or 'cover'.",
    ],
    [
      'a misspelt option',
      () => recipe(rgb, { means: [1, 2, 3] } as ImageOptions),
      "The picture of input 'x' has no option 'means'; there are size, fit, crop, scale, mean, std, quantization, layout, channels, background.",
    ],
    ['a crop', () => recipe(rgb, { crop: 2 }), "The option crop of input 'x' is 2; give a number above 0 and up to 1."],
    ['channels', () => recipe(rgb, { channels: 'CMYK' as 'RGB' }), "is 'CMYK'; use 'RGB', 'BGR' or 'GRAY'"],
    [
      'other channels',
      () => recipe(rgb, { channels: 'GRAY' }),
      "Input 'x' takes 3 channels, a picture has 1 (GRAY); give other 'channels', or a tensor.",
    ],
    [
      'four channels',
      () => recipe(port('float32', 1, 4, 8, 9), { layout: 'NCHW' }),
      "Input 'x' takes 4 channels, a picture has 3 (RGB); give a tensor.",
    ],
    [
      'a layout',
      () => recipe(rgb, { layout: 'NCWH' as 'NCHW' }),
      "The option layout of input 'x' is 'NCWH'; input 'x' is 1×3×8×9: use 'NCHW' or 'NHWC'",
    ],
    [
      'no layout',
      () => recipe(port('float32', 1, 'a', 'b', 'c')),
      "Where the channels of input 'x' are does not follow from its shape, 1×a×b×c",
    ],
    ['a rank', () => recipe(port('float32', 3)), "A picture does not fit input 'x', whose shape is 3; give a tensor."],
    ['a type', () => recipe(port('int64', 1, 3, 8, 9)), "input 'x' takes int64: give a tensor"],
    ['a size', () => recipe(rgb, { size: 224 }), "The option size of input 'x' is 224; input 'x' takes 1×3×8×9: leave it out."],
    [
      'half a pixel',
      () => recipe(port('float32', 1, 3, 'h', 'w'), { size: [1.5, 2] }),
      'is [1.5, 2]; give pixels, or [width, height]',
    ],
    ['a mean', () => recipe(rgb, { mean: [1, 2] }), "The option mean of input 'x' is [1, 2]; give a number, or 3 (RGB)."],
    ['a deviation', () => recipe(rgb, { std: 0 }), "The option std of input 'x' is 0; give a number, or 3 (RGB), not 0."],
    ['a scale', () => recipe(rgb, { scale: NaN }), "The option scale of input 'x' is NaN; give a number."],
    ['a quantization', () => recipe(rgb, { quantization: { scale: 0 } }), 'The option quantization'],
    [
      'a background',
      () => recipe(rgb, { background: [0, 0, 256] }),
      "The option background of input 'x' is [0, 0, 256]; give three numbers from 0 to 255.",
    ],
    ['a batch', () => recipe(rgb, {}, [pixels(), pixels()]), "2 pictures were given for input 'x', the model takes 1 at a time."],
    ['no picture', () => recipe(port('float32', 'n', 3, 8, 9), {}, []), '0 pictures were given'],
    [
      'pixels of no size',
      () => recipe(rgb, {}, pixels(0, 1)),
      "The picture of input 'x' is 0×1 pixels; give one that is at least 1×1.",
    ],
    [
      'too few pixels',
      () => recipe(rgb, {}, { data: new Uint8Array(7), width: 2, height: 1 }),
      'has 7 elements of a Uint8Array for 2×1 pixels; give 4, 3 or 1 bytes',
    ],
    [
      'pixels beyond all memory',
      () => recipe(rgb, {}, { data: new Uint8Array(4), width: 2 ** 20, height: 2 ** 30 }),
      'has 4 elements of a Uint8Array',
    ],
    [
      'wide pixels',
      () => recipe(rgb, {}, { data: new Uint16Array(8) as unknown as Uint8Array, width: 2, height: 1 }),
      'has 8 elements of a Uint16Array for 2×1',
    ],
  ])('refuse %s', (_, work, text) => {
    expect(inputErrorOf(work)).toContain(text)
  })

  it('count pictures', () => {
    expect(recipe(port('float32', 'n', 3, 8, 9), {}, [pixels(), pixels()]).dims).toEqual([2, 3, 'height', 'width'])
  })

  it('make RGBA of grey and of RGB', () => {
    const captured = captureImages(port('uint8', 'n', 'h', 'w', 3), { image: [pixels(2, 1, 3), pixels(2, 1, 1)] }) as WireImages
    expect(captured.images).toMatchObject([
      { pixels: Uint8Array.of(0, 1, 2, 255, 3, 4, 5, 255) },
      { pixels: Uint8Array.of(0, 0, 0, 255, 1, 1, 1, 255) },
    ])
  })
})
