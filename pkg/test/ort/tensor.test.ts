/** Tensors beside onnxruntime-web's own: the same values, and the same messages for what cannot be one. */

import * as theirs from 'onnxruntime-web'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as ours from '../../ts/ort/index.js'

type Library = typeof ours
const libraries = [ours, theirs as unknown as Library]

/** What a call gives or how it fails, without whose class it is. */
function outcome(run: () => unknown): unknown {
  try {
    const value = run()
    return value instanceof Object && 'dims' in value ? describeTensor(value as ours.Tensor) : value
  } catch (error) {
    const { name, message } = error as Error
    return { name, message }
  }
}

function describeTensor(tensor: ours.Tensor): unknown {
  const data = outcome(() => Array.from(tensor.data as ArrayLike<unknown>, String))
  const kind = outcome(() => tensor.data.constructor.name)
  return { type: tensor.type, dims: tensor.dims, size: tensor.size, location: tensor.location, data, kind }
}

const any = (value: unknown): never => value as never
const gpuBuffer = any({ size: 16, mapState: 'unmapped' })
const mlTensor = any({ destroy: () => undefined })

const cases: [string, (ort: Library) => unknown][] = [
  ...(['float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'bool'] as const).map(
    (type): [string, (ort: Library) => unknown] => [type, ({ Tensor }) => new Tensor(any(type), any([1, 0, 1, 3]), [2, 2])],
  ),
  ['int64 of numbers', ({ Tensor }) => new Tensor('int64', [1, -2])],
  ['int64 of bigints', ({ Tensor }) => new Tensor('int64', [1n, 2n ** 40n], [2])],
  ['uint64', ({ Tensor }) => new Tensor('uint64', new BigUint64Array(3))],
  ['int4 in an odd number', ({ Tensor }) => new Tensor('int4', new Uint8Array(2), [3])],
  ['uint4 in an even number', ({ Tensor }) => new Tensor('uint4', new Uint8Array(2), [2, 2])],
  ['uint4 that is too long', ({ Tensor }) => new Tensor('uint4', new Uint8Array(4), [3])],
  ['int4 of numbers', ({ Tensor }) => new Tensor('int4', [1, 2])],
  ['float16 bits', ({ Tensor }) => new Tensor('float16', Uint16Array.of(0x3c00, 0))],
  ['float16 of numbers', ({ Tensor }) => new Tensor('float16', [1, 2])],
  ['strings', ({ Tensor }) => new Tensor('string', ['a', 'b'], [1, 2])],
  ['strings that are none', ({ Tensor }) => new Tensor('string', any('ab'))],
  ['bare strings', ({ Tensor }) => new Tensor(['a'])],
  ['bare booleans', ({ Tensor }) => new Tensor([true, false], [2, 1])],
  ['bare numbers', ({ Tensor }) => new Tensor(any([1, 2]))],
  ['bare nothing', ({ Tensor }) => new Tensor([])],
  ['a bare Float32Array', ({ Tensor }) => new Tensor(Float32Array.of(1.5, 2), [1, 2])],
  ['a bare BigInt64Array', ({ Tensor }) => new Tensor(BigInt64Array.of(3n))],
  ['a bare Uint8ClampedArray', ({ Tensor }) => new Tensor(Uint8ClampedArray.of(7))],
  ['a bare Map', ({ Tensor }) => new Tensor(any(new Map()))],
  ['clamped bytes as uint8', ({ Tensor }) => new Tensor('uint8', Uint8ClampedArray.of(7))],
  ['clamped bytes as float32', ({ Tensor }) => new Tensor(any('float32'), any(Uint8ClampedArray.of(7)))],
  ['another array', ({ Tensor }) => new Tensor('float32', any(new Float64Array(1)))],
  ['no data', ({ Tensor }) => new Tensor('float32', any(undefined))],
  ['a scalar', ({ Tensor }) => new Tensor('float32', [5], [])],
  ['an unknown type', ({ Tensor }) => new Tensor(any('complex64'), [1])],
  ['dims that are no array', ({ Tensor }) => new Tensor('float32', [1], any(1))],
  ['a fractional dim', ({ Tensor }) => new Tensor('float32', [1], [1.5])],
  ['a negative dim', ({ Tensor }) => new Tensor('float32', [1], [-1])],
  ['a wrong length', ({ Tensor }) => new Tensor('float32', [1, 2, 3], [2, 2])],
  ['pinned', ({ Tensor }) => Tensor.fromPinnedBuffer('int32', Int32Array.of(1, 2))],
  ['pinned strings', ({ Tensor }) => new Tensor(any({ location: 'cpu-pinned', type: 'string', data: ['a'], dims: [1] }))],
  ['pinned, another array', ({ Tensor }) => Tensor.fromPinnedBuffer('int32', any(new Int8Array(2)), [2])],
  ['on the GPU', ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [2, 2] })],
  ['on the GPU, the buffer', ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [4] }).gpuBuffer],
  ['on the GPU, of a wrong type', ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [2], dataType: any('int16') })],
  ['on the GPU, data', ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [4] }).data],
  ['in a texture', ({ Tensor }) => Tensor.fromTexture(any({}), { width: 3, height: 2 })],
  ['in a texture, of a wrong type', ({ Tensor }) => new Tensor(any({ location: 'texture', type: 'int8', dims: [1] }))],
  ['in an MLTensor', ({ Tensor }) => Tensor.fromMLTensor(mlTensor, { dims: [2], dataType: 'int8' })],
  ['in an MLTensor, of a wrong type', ({ Tensor }) => Tensor.fromMLTensor(mlTensor, { dims: [2], dataType: any('int16') })],
  ['nowhere', ({ Tensor }) => new Tensor(any({ location: 'mars', type: 'int8', dims: [1] }))],
  ['no texture', ({ Tensor }) => new Tensor('int8', [1]).texture],
  ['no buffer', ({ Tensor }) => new Tensor('int8', [1]).gpuBuffer],
  ['no MLTensor', ({ Tensor }) => new Tensor('int8', [1]).mlTensor],
  ['reshape', ({ Tensor }) => new Tensor('int8', [1, 2, 3, 4]).reshape([2, 1, 2])],
  ['reshape to another size', ({ Tensor }) => new Tensor('int8', [1, 2, 3, 4]).reshape([3])],
  ['reshape on the GPU', ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [4] }).reshape([2, 2])],
  ['reshape in an MLTensor', ({ Tensor }) => Tensor.fromMLTensor(mlTensor, { dims: [4] }).reshape([2, 2])],
  ['reshape in a texture', ({ Tensor }) => Tensor.fromTexture(any({}), { width: 1, height: 1 }).reshape([4])],
  ['reshape pinned', ({ Tensor }) => Tensor.fromPinnedBuffer('int8', new Int8Array(4)).reshape([2, 2])],
  [
    'reshape of what is owned',
    ({ Tensor }) => Tensor.fromGpuBuffer(gpuBuffer, { dims: [4], dispose: () => undefined }).reshape([2, 2]),
  ],
  ...(['data', 'texture', 'gpuBuffer', 'mlTensor', 'location'] as const).map((member): [string, (ort: Library) => unknown] => [
    `${member} of a disposed tensor`,
    ({ Tensor }) => {
      const tensor = new Tensor('int8', [1])
      tensor.dispose()
      return tensor[member]
    },
  ]),
]

describe('a tensor is as in onnxruntime-web', () => {
  it.each(cases)('%s', (_, run) => {
    const [own, their] = libraries.map((library) => outcome(() => run(library)))
    expect(own).toEqual(their)
  })
})

describe('Tensor', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('re-types the bits of float16 where the engine has Float16Array', () => {
    class Float16Array extends Uint16Array {
      override get [Symbol.toStringTag](): never {
        return any('Float16Array')
      }
    }
    vi.stubGlobal('Float16Array', Float16Array)
    const bits = Uint16Array.of(9, 1, 2, 3).subarray(1)
    const { data } = new ours.Tensor('float16', bits, [3])
    expect(data).toBeInstanceOf(Float16Array)
    expect([data.buffer, data.byteOffset, data.length]).toEqual([bits.buffer, 2, 3])
    expect(new ours.Tensor(any(data)).type).toBe('float16')
  })

  it('has dims that can be assigned, and takes members of its own', () => {
    const tensor = new ours.Tensor('int8', [1, 2]) as { dims: readonly number[]; extra?: number } & ours.Tensor
    tensor.dims = [1, 2]
    tensor.extra = 1
    expect([tensor.dims, tensor.extra, tensor instanceof ours.Tensor]).toEqual([[1, 2], 1, true])
    expect(new Proxy(tensor, {}).data).toBe(tensor.data)
    expect(ours.Tensor.name).toBe('Tensor')
  })

  it.each(libraries.map((library, i) => [i === 0 ? 'ours' : "onnxruntime's", library] as const))(
    'downloads and disposes: %s',
    async (_, { Tensor }) => {
      const dispose = vi.fn()
      let arrive: (data: Float32Array) => void = () => undefined
      const download = () => new Promise<Float32Array>((resolve) => (arrive = resolve))
      const tensor = Tensor.fromGpuBuffer(gpuBuffer, { dims: [1], download, dispose }) as ours.Tensor
      const waiting = tensor.getData(true)
      await expect(tensor.getData()).rejects.toThrow('The current tensor is being downloaded.')
      expect(() => tensor.dispose()).toThrow('The current tensor is being downloaded.')
      arrive(Float32Array.of(3))
      expect(await waiting).toEqual(Float32Array.of(3))
      expect([tensor.location, tensor.data, dispose.mock.calls.length]).toEqual(['cpu', Float32Array.of(3), 1])
      tensor.dispose()
      expect(tensor.location).toBe('none')
      await expect(tensor.getData()).rejects.toThrow('The tensor is disposed.')
      expect(() => tensor.reshape([1])).toThrow('The tensor is disposed.')
      const bare = Tensor.fromGpuBuffer(gpuBuffer, { dims: [1] }) as ours.Tensor
      await expect(bare.getData()).rejects.toThrow('The current tensor is not created with a specified data downloader.')
      expect(dispose).toHaveBeenCalledTimes(1)
    },
  )
})

describe('pictures', () => {
  class FakeImageData {
    readonly data: Uint8ClampedArray
    constructor(
      data: Uint8ClampedArray | number[],
      readonly width: number,
      readonly height: number,
    ) {
      this.data = Uint8ClampedArray.from(data)
    }
  }
  const image = (...pixels: number[]): ImageData => any(new FakeImageData(pixels, pixels.length / 4, 1))
  const pair = [255, 51, 0, 255, 102, 0, 204, 51]

  afterEach(() => vi.unstubAllGlobals())

  it('have the numbers of onnxruntime by default', async () => {
    vi.stubGlobal('ImageData', FakeImageData)
    const [own, their] = await Promise.all(libraries.map(({ Tensor }) => Tensor.fromImage(image(...pair))))
    expect(describeTensor(own as ours.Tensor)).toEqual(describeTensor(their as ours.Tensor))
    expect(own).toMatchObject({ type: 'float32', dims: [1, 3, 1, 2] })
  })

  it('come in each order, layout, type and norm', async () => {
    vi.stubGlobal('ImageData', FakeImageData)
    const read = async (options: ours.TensorFromImageOptions): Promise<unknown[]> => {
      const { dims, data } = await ours.Tensor.fromImage(image(...pair), { norm: { mean: 51 }, ...options })
      return [dims, Array.from(data, Math.fround)]
    }
    expect(await read({ tensorFormat: 'BGR' })).toEqual([
      [1, 3, 1, 2],
      [0, 4, 1, 0, 5, 2],
    ])
    expect(await read({ tensorFormat: 'RBG' })).toEqual([
      [1, 3, 1, 2],
      [5, 2, 0, 4, 1, 0],
    ])
    expect(await read({ tensorFormat: 'RGBA' })).toEqual([
      [1, 4, 1, 2],
      [5, 2, 1, 0, 0, 4, 5, 1],
    ])
    expect(await read({ tensorLayout: 'NHWC' })).toEqual([
      [1, 1, 2, 3],
      [5, 1, 0, 2, 0, 4],
    ])
    expect(await read({ norm: { mean: [51, 1, 51], bias: [0, 1, -51] } })).toEqual([
      [1, 3, 1, 2],
      [5, 2, 52, 1, -1, 3],
    ])
    expect(await read({ dataType: 'uint8', norm: {} })).toEqual([
      [1, 3, 1, 2],
      [255, 102, 51, 0, 0, 204],
    ])
    expect(await read({ dataType: 'uint8', norm: { mean: 0.5 } })).toEqual([
      [1, 3, 1, 2],
      [255, 204, 102, 0, 0, 255],
    ])
  })

  it('go back to pixels', async () => {
    vi.stubGlobal('ImageData', FakeImageData)
    for (const tensorFormat of ['RGBA', 'RGB', 'BGR', 'RBG'] as const) {
      for (const tensorLayout of ['NCHW', 'NHWC'] as const) {
        for (const dataType of ['float32', 'uint8'] as const) {
          const tensor = await ours.Tensor.fromImage(image(...pair), { tensorFormat, tensorLayout, dataType })
          const opaque = pair.map((value, i) => (i % 4 === 3 && tensorFormat !== 'RGBA' ? 255 : value))
          const back = tensor.toImageData({ format: tensorFormat, tensorLayout })
          expect([Array.from(back.data), back.width, back.height]).toEqual([opaque, 2, 1])
        }
      }
    }
    expect(Array.from(new ours.Tensor(Float32Array.of(0.2), [1, 1, 1, 1]).toImageData().data)).toEqual([51, 51, 51, 255])
    const tensor = new ours.Tensor(new Float32Array(12), [1, 4, 1, 3])
    expect(() => tensor.toImageData({ format: 'RGB' })).toThrow("Tensor format doesn't match input tensor dims")
    expect(() => tensor.reshape([3, 4]).toImageData()).toThrow(/4 dimensions.*\[3, 4\]/)
    expect(() => tensor.toDataURL()).toThrow('toDataURL is not supported')
  })

  it('say what is wrong', async () => {
    const of = (source: unknown, options: object = {}) => ours.Tensor.fromImage(any(source), options)
    await expect(of({})).rejects.toThrow('Input data provided is not supported - aborted tensor creation')
    await expect(of({}, { resizedWidth: 0 })).rejects.toThrow('The option resizedWidth is 0; give a whole number of pixels.')
    await expect(of({}, { tensorFormat: 'CMYK' })).rejects.toThrow(
      /'CMYK' is not an image format; use one of RGB, RGBA, BGR, RBG/,
    )
    vi.stubGlobal('ImageData', FakeImageData)
    await expect(of(image(0, 0, 0, 0), { tensorLayout: 'CHW' })).rejects.toThrow(
      "'CHW' is not a tensor layout; use NCHW or NHWC.",
    )
    await expect(of(image(0, 0, 0, 0), { dataType: 'int8' })).rejects.toThrow(/dataType is 'int8'; use float32 or uint8/)
    await expect(of(image(0, 0, 0, 0), { resizedWidth: 2 })).rejects.toThrow('Canvas is not supported')
  })
})
