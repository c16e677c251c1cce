import { describe, expect, it } from 'vitest'
import { buffers, values } from '../ts/engine/wire-values.js'
import { fromWire } from '../ts/outputs.js'
import { Tensor } from '../ts/tensor.js'

const dims = (...sizes: number[]): Uint32Array => Uint32Array.from(sizes)
const floats = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)

describe('outputs', () => {
  it('are tensors of numbers and of strings', () => {
    const [x, words] = values(['float32', dims(2), floats(1, 2), 'string', dims(1, 2), ['a', 'b']]).map(fromWire)
    expect(x).toEqual(new Tensor('float32', Float32Array.of(1, 2), [2]))
    expect(words).toEqual(new Tensor('string', ['a', 'b'], [1, 2]))
  })

  it('are arrays for sequences, Maps for maps, null for what is missing', () => {
    const map = (...scores: number[]): unknown[] => ['map', ['cat', 'dog'], ['float32', dims(2), floats(...scores)]]
    const flat = ['sequence', null, [...map(0.5, 0.25), ...map(1, 0)], 'none', null, []]
    const [rows, missing] = values(flat).map(fromWire)
    expect(rows).toEqual([
      new Map([
        ['cat', 0.5],
        ['dog', 0.25],
      ]),
      new Map([
        ['cat', 1],
        ['dog', 0],
      ]),
    ])
    expect(missing).toBeNull()
  })

  it('may be nested', () => {
    const inner = ['sequence', null, ['int64', dims(1), new Uint8Array(BigInt64Array.of(7n).buffer)]]
    expect(values(['sequence', null, inner]).map(fromWire)).toEqual([[[new Tensor('int64', BigInt64Array.of(7n), [1])]]])
  })

  it('move their buffers', () => {
    const numbers = floats(1)
    const map = ['map', [1], ['float32', dims(1), numbers]]
    const found = values(['sequence', null, map, 'string', dims(0), [], 'none', null, []]).flatMap(buffers)
    expect(found).toEqual([numbers.buffer])
  })
})
