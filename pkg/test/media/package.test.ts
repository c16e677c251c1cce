/** Pictures and sounds through the built package: the documented numbers, in a Worker and without. Needs `cargo xtask build`. */

import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { resample } from '../../ts/audio/resampler.js'
import { place, type Size } from '../../ts/fit.js'
import type * as Package from '../../ts/index.js'
import { type Dims, encodeOnnx } from '../onnx.js'
import { seeded } from '../random.js'
import { alive, WorkerShim } from '../worker-shim.js'
import { integers, type Recipe, reference } from './reference.js'

const { InputError, Model, NearsideError, UnsupportedError } = (await import(
  new URL('../../dist/index.js', import.meta.url).href
)) as typeof Package

const random = seeded(5)

/** Noise with some transparent pixels. */
function picture(width: number, height: number): Package.PixelData {
  const data = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) =>
    i % 4 === 3 && random() < 0.8 ? 255 : Math.floor(random() * 256),
  )
  return { data, width, height }
}

type Type = 'float32' | 'uint8' | 'int8' | 'float16'

/** A model that gives what it takes. */
const identity = (dims: Dims, type: Type = 'float32'): Uint8Array<ArrayBuffer> =>
  encodeOnnx({ inputs: { x: dims }, outputs: { y: dims }, nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }] }, type)

beforeAll(() => {
  vi.stubGlobal('Worker', WorkerShim)
})
afterEach(async () => {
  await vi.waitFor(() => expect(alive.size).toBe(0))
})

describe.each([
  ['in a Worker', true],
  ['in the calling thread', false],
])('%s', (_, worker) => {
  async function run(
    source: Uint8Array<ArrayBuffer>,
    feeds: Package.LocalFeeds,
  ): Promise<{ dims: readonly number[]; data: ArrayLike<unknown>; timing: Package.RunTiming | undefined }> {
    using model = await Model.load(source, { worker, onWarning: (text) => expect.unreachable(text) })
    const { y } = await model.run(feeds)
    if (y === undefined) expect.unreachable()
    return { dims: y.dims, data: y.data, timing: model.lastTiming }
  }

  const cases: [number, number, number, number, Package.ImageOptions][] = [
    [7, 5, 7, 5, {}],
    [40, 30, 8, 6, {}],
    [5, 4, 20, 19, {}],
    [33, 70, 16, 16, { fit: 'contain', background: [114, 20, 3] }],
    [90, 31, 16, 12, { fit: 'cover' }],
    [31, 90, 12, 16, { fit: 'cover', crop: 0.875, channels: 'BGR' }],
    [64, 64, 9, 9, { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }],
  ]
  it.each(cases)('a picture of %i×%i is the formula at %i×%i, %j', async (width, height, w, h, options) => {
    const source = picture(width, height)
    const seen: Size = { width: w, height: h }
    const { fit = 'fill', crop = 1, channels = 'RGB', background = [0, 0, 0], mean = 0, std = 1 } = options
    const list = (v: number | readonly number[]): readonly number[] => (typeof v === 'number' ? [v, v, v] : v)
    const recipe: Recipe = {
      ...place(source, seen, fit, crop),
      ...{ seen, background, channels, layout: 'NCHW' },
      scale: list(std).map((v) => (1 / 255) * (1 / v)),
      offset: list(std).map((v, i) => 0 - (list(mean)[i] ?? 0) * (1 / v)),
    }
    const want = reference(source.data, source, recipe)
    const { dims, data, timing } = await run(identity([1, 3, h, w]), { x: { image: source, ...options } })
    expect(dims).toEqual([1, 3, h, w])
    expect(data).toEqual(want)
    expect(timing?.prepare).toBeGreaterThanOrEqual(0)
  })

  it.each([
    // Image.resize((n, 1), BILINEAR) of Pillow 13.0, mode F.
    [
      [10, 200, 30, 90, 250, 0, 120],
      [95.7143, 114.7059, 96.4286],
    ],
    [
      [10, 200, 30],
      [10, 37.1429, 118.5714, 200, 127.1429, 54.2857, 30],
    ],
  ])('%j is what Pillow makes of it', async (line, want) => {
    const image = { data: Uint8Array.from(line), width: line.length, height: 1 }
    const { data } = await run(identity([1, 1, 1, want.length]), { x: { image, scale: 1 } })
    // Four decimals were printed, and grey is a sum of three rounded parts.
    want.forEach((v, i) => expect(Math.abs(Number(data[i]) - v)).toBeLessThan(1e-4))
  })

  it('a bare picture has the size and the type of the input', async () => {
    const source = picture(20, 10)
    const seen = { width: 6, height: 4 }
    const plain = { ...place(source, seen, 'fill', 1), seen, background: [0, 0, 0], channels: 'RGB', layout: 'NHWC' } as const
    const bytes = reference(source.data, source, { ...plain, scale: [1, 1, 1], offset: [0, 0, 0] })
    const dims = [1, 4, 6, 3]
    expect((await run(identity(dims, 'uint8'), { x: source })).data).toEqual(Uint8Array.from(integers(bytes, 0, 255)))
    const signed = reference(source.data, source, { ...plain, scale: [1, 1, 1], offset: [-128, -128, -128] })
    expect((await run(identity(dims, 'int8'), { x: source })).data).toEqual(Int8Array.from(integers(signed, -128, 127)))
    const unit = reference(source.data, source, { ...plain, scale: [1 / 255, 1 / 255, 1 / 255], offset: [0, 0, 0] })
    expect((await run(identity(dims), { x: source })).data).toEqual(unit)
    const grey = reference(source.data, source, { ...plain, channels: 'GRAY', scale: [1 / 255], offset: [0] })
    expect((await run(identity(['n', 4, 6]), { x: source })).data).toEqual(grey)
  })

  it('an input that leaves sides open takes those of the picture, and several make a batch', async () => {
    const [a, b] = [picture(5, 3), picture(5, 3)]
    const source = identity(['n', 3, 'h', 'w'], 'uint8')
    const { dims, data } = await run(source, { x: [a, b] })
    expect(dims).toEqual([2, 3, 3, 5])
    const opaque = (image: Package.PixelData): number[] =>
      [0, 1, 2].flatMap((c) =>
        Array.from({ length: 15 }, (__, i) => {
          const [value, alpha] = [image.data[4 * i + c] ?? 0, image.data[4 * i + 3] ?? 0]
          return Math.floor((value * alpha + 127) / 255)
        }),
      )
    expect(data).toEqual(Uint8Array.from([...opaque(a), ...opaque(b)]))
    await expect(run(source, { x: [a, picture(4, 3)] })).rejects.toThrow(
      'Pictures of 5×3 and 4×3 pixels were given together to an input that leaves their size open; give { image, size }.',
    )
  })

  it('runs on after a picture that cannot be read', async () => {
    using model = await Model.load(identity([1, 3, 2, 2]), { worker })
    await expect(model.run({ x: { ...picture(2, 2), data: new Uint8Array(3) } })).rejects.toThrow(InputError)
    // There is nothing here that decodes.
    await expect(model.run({ x: new Blob(['no picture']) })).rejects.toThrow(UnsupportedError)
    await expect(model.run({ x: new Blob([]) })).rejects.toThrow('give their pixels, { data, width, height }')
    expect((await model.run({ x: picture(2, 2) })).y?.dims).toEqual([1, 3, 2, 2])
    expect(await model.profile({ x: picture(2, 2) }, { runs: 1 })).toBeInstanceOf(Array)
  })

  it('a size beyond all memory is an error, after which pictures work', async () => {
    using model = await Model.load(identity([1, 3, 'h', 'w']), { worker })
    for (const size of [60_000, 2 ** 31, [4_000_000_000, 1] as const]) {
      const error = await model.run({ x: { image: picture(2, 2), size } }).catch((error: unknown) => error)
      expect(error).toBeInstanceOf(NearsideError)
      expect(['LimitError', 'InputError']).toContain((error as Error).name)
      expect((error as Error).message).toMatch(/^[A-Z'].*\.$/s)
    }
    expect((await model.run({ x: picture(2, 2) })).y?.dims).toEqual([1, 3, 2, 2])
  })

  it('a model on the fallback takes pictures, too', async () => {
    const dims = [1, 1, 1, 1, 3]
    const source = encodeOnnx({
      inputs: { x: dims, picture: [1, 3, 2, 2] },
      outputs: { y: dims, negative: [1, 3, 2, 2] },
      constants: { w: { dims: [1, 1, 1, 1, 1], data: [2] } },
      nodes: [
        { op: 'ConvTranspose', inputs: ['x', 'w'], outputs: ['y'] },
        { op: 'Neg', inputs: ['picture'], outputs: ['negative'] },
      ],
    })
    using model = await Model.load(source, { worker, onWarning: () => {} })
    expect(model.engine.fallbackOperators).toEqual(['ConvTranspose'])
    const image = { data: Uint8Array.of(0, 51, 102, 255), width: 2, height: 2 }
    const { negative } = await model.run({ x: [1, 2, 3], picture: { image, scale: 1 } })
    const plane = [-0, -51, -102, -255]
    expect(negative?.data).toEqual(Float32Array.of(...plane, ...plane, ...plane))
  })

  it('sound is mixed and resampled', async () => {
    const channels = [0, 1].map(() => Float32Array.from({ length: 4410 }, () => random() - 0.5))
    const audio = { channels, sampleRate: 44_100 }
    const { dims, data } = await run(identity([1, 'samples']), { x: { audio, sampleRate: 16_000 } })
    expect(dims).toEqual([1, 1600])
    expect(data).toEqual(resample(channels, 44_100, 16_000))
  })

  it('gives the latest of the runs that wait, and undefined for the others', async () => {
    using model = await Model.load(identity([1, 3, 2, 2]), { worker })
    const frames = Array.from({ length: 6 }, () => picture(2, 2))
    const results = await Promise.all(frames.map((frame) => model.run({ x: frame }, { latest: true })))
    // The first began at once, or was overtaken before it could.
    expect(results.slice(1, -1)).toEqual([undefined, undefined, undefined, undefined])
    expect(results.at(-1)?.['y']?.dims).toEqual([1, 3, 2, 2])
  })
})
