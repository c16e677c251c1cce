import { describe, expect, it } from 'vitest'
import { Tensor } from '../../ts/index.js'
import { above, classMask, rows, sigmoid, softmax, topK, type Values } from '../../ts/post/index.js'
import { inputErrorOf } from '../failure.js'
import { seeded } from '../random.js'

const random = seeded(7)
const noise = (dims: number[], scale = 10): Tensor<'float32'> =>
  new Tensor(
    'float32',
    Float32Array.from({ length: dims.reduce((n, d) => n * d, 1) }, () => (random() - 0.5) * scale),
    dims,
  )

describe('softmax', () => {
  it.each([[-1], [0], [1], [-2]])('is the definition along axis %i', (axis) => {
    const x = noise([2, 3, 4])
    const y = softmax(x, axis)
    expect(y.dims).toEqual([2, 3, 4])
    const at = (i: number[]): number => i.reduce((n, v, k) => n * ([2, 3, 4][k] ?? 1) + v, 0)
    const along = axis < 0 ? axis + 3 : axis
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 3; j++)
        for (let k = 0; k < 4; k++) {
          const powers = Array.from({ length: [2, 3, 4][along] ?? 0 }, (_, n) => {
            const index = [i, j, k]
            index[along] = n
            return Math.exp(x.data[at(index)] ?? NaN)
          })
          const want = Math.exp(x.data[at([i, j, k])] ?? NaN) / powers.reduce((a, b) => a + b, 0)
          // One rounding to float32.
          expect(Math.abs((y.data[at([i, j, k])] ?? NaN) - want)).toBeLessThanOrEqual(want * 2 ** -23)
        }
  })

  it('does not overflow', () => {
    expect(softmax([1000, 1000]).data).toEqual(Float32Array.of(0.5, 0.5))
    expect(softmax([-1000, 1000]).data).toEqual(Float32Array.of(0, 1))
    expect(softmax([-Infinity, 3]).data).toEqual(Float32Array.of(0, 1))
  })

  it('gives NaN for a row that has no answer, and for no other', () => {
    for (const bad of [NaN, Infinity]) {
      const x = new Tensor('float32', [0, bad, 1, 1], [2, 2])
      expect(softmax(x).data).toEqual(Float32Array.of(NaN, NaN, 0.5, 0.5))
    }
    expect(softmax([-Infinity, -Infinity]).data).toEqual(Float32Array.of(NaN, NaN))
  })

  it('names what it cannot take', () => {
    expect(inputErrorOf(() => softmax(undefined))).toBe('The scores are undefined; check the name of the output.')
    expect(inputErrorOf(() => softmax(new Tensor('int64', [1n])))).toContain('are of type int64; convert them')
    expect(inputErrorOf(() => softmax('x' as unknown as Values))).toContain('are no numbers')
    expect(inputErrorOf(() => softmax([1], 1))).toContain('have no axis 1')
    const away = Float32Array.of(1, 2)
    const tensor = new Tensor('float32', away)
    structuredClone(away.buffer, { transfer: [away.buffer] })
    for (const values of [away, tensor])
      for (const work of [() => softmax(values), () => sigmoid(values), () => topK(values, 1), () => above(values, 0)])
        expect(inputErrorOf(work)).toBe('The scores are detached: their buffer was transferred; give a copy.')
    expect(inputErrorOf(() => rows([1, 2] as unknown as undefined))).toBe(
      'Rows are of a tensor, an array was given; give a Tensor with dims.',
    )
    expect(inputErrorOf(() => topK([1], 1, null as unknown as object))).toBe(
      'The options are null; give an object, or leave them out.',
    )
    expect(inputErrorOf(() => classMask([1], 5 as unknown as object))).toContain(
      'The options are 5; give an object, or leave them out.',
    )
    expect(inputErrorOf(() => softmax(new Tensor('float32', [], [2, 0])))).toContain(
      'of shape [2, 0] have no axis -1 with an element',
    )
  })
})

describe('sigmoid', () => {
  it('is right at both ends', () => {
    const x = [-Infinity, -1000, -90, -1, 0, 1, 90, Infinity, NaN]
    expect(sigmoid(x).data).toEqual(Float32Array.of(0, 0, Math.exp(-90), 1 / (1 + Math.E), 0.5, Math.E / (1 + Math.E), 1, 1, NaN))
    expect(sigmoid(new Tensor('float32', [0, 0], [2, 1])).dims).toEqual([2, 1])
  })
})

describe('topK', () => {
  const labels = ['a', 'b', 'c', 'd']

  it('gives the highest first, equal ones in order, and no NaN', () => {
    expect(topK([0.1, 0.5, NaN, 0.5], 3, { labels })).toEqual([
      { index: 1, score: 0.5, label: 'b' },
      { index: 3, score: 0.5, label: 'd' },
      { index: 0, score: 0.1, label: 'a' },
    ])
    expect(topK([-Infinity, NaN], 5)).toEqual([{ index: 0, score: -Infinity, label: '0' }])
  })

  it('sorts as an array does', () => {
    const x = noise([1, 300])
    const want = Array.from(x.data)
      .sort((a, b) => b - a)
      .slice(0, 17)
    expect(topK(x, 17).map(({ score }) => score)).toEqual(want)
  })

  it('names what does not fit', () => {
    expect(inputErrorOf(() => topK([1, 2], 0))).toBe('The number of classes is 0; give a whole number from 1 on.')
    expect(inputErrorOf(() => topK([1, 2], 1, { labels }))).toBe('There are 4 labels for 2 scores; give one for each.')
    expect(inputErrorOf(() => topK(noise([2, 3]), 1))).toContain(
      'have the shape [2, 3]; give one row of them, e.g. of rows(tensor)',
    )
  })
})

it('above gives all classes from a score on', () => {
  expect(above([0.2, 0.7, NaN, 0.5, 0.9], 0.5).map(({ index }) => index)).toEqual([4, 1, 3])
  expect(inputErrorOf(() => above([1], NaN))).toContain('The least score is NaN')
})

it('rows share the memory of the batch', () => {
  const x = noise([2, 3, 1])
  const [first, second] = rows(x)
  expect(first?.dims).toEqual([3, 1])
  expect(second?.data).toEqual(x.data.subarray(3))
  expect((second?.data as Float32Array).buffer).toBe(x.data.buffer)
  expect(inputErrorOf(() => rows(new Tensor('float32', [1], [])))).toContain('A scalar has no rows')
})

describe('classMask', () => {
  it.each(['NCHW', 'NHWC'] as const)('finds the best class of each pixel, %s', (layout) => {
    const [c, h, w] = [5, 3, 4]
    const x = noise(layout === 'NCHW' ? [1, c, h, w] : [1, h, w, c])
    const mask = classMask(x, { layout })
    expect([mask.width, mask.height]).toEqual([w, h])
    for (let i = 0; i < h * w; i++) {
      const scores = Array.from({ length: c }, (_, k) => x.data[layout === 'NCHW' ? k * h * w + i : i * c + k] ?? NaN)
      expect(mask.data[i]).toBe(scores.indexOf(Math.max(...scores)))
    }
  })

  it('takes NaN for no score, and 16 bits for many classes', () => {
    const scores = new Tensor('float32', [NaN, NaN, NaN, 1], [2, 1, 2])
    expect(classMask(scores)).toEqual({ data: Uint8Array.of(0, 1), width: 2, height: 1 })
    const many = new Float32Array(300)
    many[299] = 1
    expect(classMask(new Tensor('float32', many, [300, 1, 1])).data).toEqual(Uint16Array.of(299))
  })

  it('names what does not fit', () => {
    expect(inputErrorOf(() => classMask(noise([2, 3, 4, 4])))).toContain('give those of one picture')
    expect(inputErrorOf(() => classMask(noise([1, 4, 4])))).toContain('have 1 classes')
  })
})
