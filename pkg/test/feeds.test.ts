import { describe, expect, it } from 'vitest'
import { resolveFeeds, toWire } from '../ts/feeds.js'
import { Tensor } from '../ts/tensor.js'
import type { Feeds, Port } from '../ts/types.js'
import { inputErrorOf } from './failure.js'

const image: Port = { name: 'image', type: 'float32', dims: ['batch', 2, 2] }
const ids: Port = { name: 'ids', type: 'int64', dims: ['batch', 'length'] }
const mask: Port = { name: 'mask', type: 'int64', dims: ['batch', 'length'] }

function resolve(ports: Port[], feeds: unknown): { dims: readonly number[]; data: unknown; notes: string[] }[] {
  const notes: string[] = []
  return resolveFeeds(ports, feeds as Feeds, (note) => notes.push(note)).map(({ dims, data }) => ({ dims, data, notes }))
}

const message = (ports: Port[], feeds: unknown): string => inputErrorOf(() => resolve(ports, feeds))

describe('resolveFeeds', () => {
  it('infers one open dimension from the length', () => {
    expect(resolve([image], { image: new Float32Array(12) })[0]?.dims).toEqual([3, 2, 2])
  })

  it('takes the bare value of a single input', () => {
    const bare = [new Float32Array(4), [1, 2, 3, 4], new Tensor('float32', [1, 2, 3, 4], [1, 2, 2])]
    for (const feed of bare) expect(resolve([image], feed)[0]?.dims).toEqual([1, 2, 2])
    expect(resolve([{ name: 'x', type: 'int64', dims: [] }], 5)[0]?.data).toEqual(BigInt64Array.of(5n))
  })

  it('takes open dimensions from the tensors beside an array', () => {
    const feeds = { ids: new Tensor('int64', [1, 2, 3, 4, 5, 6], [2, 3]), mask: [1, 1, 1, 1, 1, 0] }
    expect(resolve([ids, mask], feeds)[1]?.dims).toEqual([2, 3])
  })

  it('takes a tensor of one element for a scalar, and no other', () => {
    const rate: Port = { name: 'rate', type: 'int64', dims: [] }
    for (const dims of [[], [1], [1, 1]]) {
      expect(resolve([rate], new Tensor('int64', [16_000n], dims))).toMatchObject([{ dims: [], data: BigInt64Array.of(16_000n) }])
    }
    expect(message([rate], new Tensor('int64', [1n, 2n], [2]))).toBe(
      "Input 'rate' has shape 2, the model takes scalar; reshape or resize it.",
    )
    expect(message([{ ...rate, dims: [1] }], new Tensor('int64', [1n], []))).toBe(
      "Input 'rate' has shape scalar, the model takes 1; reshape or resize it.",
    )
  })

  it("takes another library's tensor", () => {
    const foreign = { type: 'float32', data: new Float32Array(4), dims: [1, 2, 2], location: 'cpu' }
    expect(resolve([image], { image: foreign })[0]?.dims).toEqual([1, 2, 2])
  })

  it('converts float64 and says so', () => {
    const [input] = resolve([image], { image: Float64Array.of(1, 2, 3, 4.5) })
    expect(input?.data).toEqual(Float32Array.of(1, 2, 3, 4.5))
    expect(input?.notes[0]).toContain("Input 'image' takes float32; the Float64Array that was given is converted")
  })

  it('lets NaN pass', () => {
    expect(resolve([image], [Number.NaN, 1, 2, 3])[0]?.data).toEqual(Float32Array.of(Number.NaN, 1, 2, 3))
  })

  it.each<[string, Port[], unknown, string]>([
    [
      'a missing input',
      [ids, mask],
      { ids: new Tensor('int64', [1n], [1, 1]) },
      "Input 'mask' is missing: give an int64 tensor of shape batch×length.",
    ],
    [
      'an extra input',
      [image],
      { imagee: new Float32Array(4) },
      "The model has no input 'imagee'; its input is 'image' (float32 batch×2×2). Correct the name or leave it out.",
    ],
    [
      'a wrong shape',
      [image],
      { image: new Tensor('float32', new Float32Array(6), [1, 2, 3]) },
      "Input 'image' has shape 1×2×3, the model takes batch×2×2; reshape or resize it.",
    ],
    [
      'a wrong rank',
      [image],
      { image: new Tensor('float32', new Float32Array(4), [2, 2]) },
      "Input 'image' has shape 2×2, the model takes batch×2×2; reshape or resize it.",
    ],
    [
      'a wrong type',
      [image],
      { image: new Tensor('int32', new Int32Array(4), [1, 2, 2]) },
      "Input 'image' takes float32, an int32 tensor was given; convert its data before the call.",
    ],
    [
      'a wrong array',
      [image],
      { image: new Uint8Array(4) },
      "Input 'image' takes float32, a Uint8Array was given; convert it to a Float32Array.",
    ],
    [
      'a wrong length',
      [image],
      { image: new Float32Array(5) },
      "Input 'image' takes batch×2×2 (a multiple of 4 elements), 5 were given; correct the data, or give a Tensor with dims.",
    ],
    [
      'an ambiguous array',
      [ids],
      { ids: [1, 2] },
      "Input 'ids' has 2 open dimensions (batch×length), so an array does not say its shape; give new Tensor('int64', data, dims).",
    ],
    [
      'a nested array',
      [image],
      {
        image: [
          [1, 2],
          [3, 4],
        ],
      },
      "Input 'image' is a nested array; give a flat one (array.flat(Infinity)) or a Tensor with dims.",
    ],
    ['one value for two inputs', [ids, mask], new BigInt64Array(2), 'One value was given to a model with 2 inputs'],
    ['nothing', [image], undefined, "run needs inputs; its input is 'image'"],
    ['a string', [image], { image: '/cat.png' }, "Input 'image' is '/cat.png'; give a float32 tensor of shape batch×2×2."],
    [
      'a fraction for int64',
      [ids],
      { ids: new Tensor('float32', [0.5], [1, 1]) },
      "Input 'ids' takes int64, a float32 tensor was given",
    ],
  ])('refuses %s', (_, ports, feeds, expected) => {
    expect(message(ports, feeds)).toContain(expected)
  })
})

describe('toWire', () => {
  const tensor = new Tensor('float32', [1, 2], [2])
  const bytes = (spares: Uint8Array[] = []): Uint8Array => {
    const wire = toWire(tensor, spares)
    if (!('bytes' in wire)) expect.unreachable()
    return wire.bytes
  }

  it('copies data, into the first spare buffer if that has its size', () => {
    const own = bytes()
    expect([...new Float32Array(own.buffer)]).toEqual([1, 2])
    expect(own.buffer).not.toBe(tensor.data.buffer)
    const [right, other] = [new Uint8Array(8).fill(7), new Uint8Array(8)]
    const spares = [right, other]
    expect(bytes(spares)).toBe(right)
    expect(spares).toEqual([other])
    expect([...new Float32Array(right.buffer)]).toEqual([1, 2])
  })

  it('leaves a buffer of another size', () => {
    const [small, large] = [new Uint8Array(4), new Uint8Array(16)]
    expect(bytes([small])).toHaveLength(8)
    expect(bytes([large])).toHaveLength(8)
  })
})
