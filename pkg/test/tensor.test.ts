import { describe, expect, it } from 'vitest'
import { InputError } from '../ts/errors.js'
import { type DataType, naturalType, Tensor, type TypedArray } from '../ts/tensor.js'

describe('Tensor', () => {
  it('keeps storage of its own type without a copy', () => {
    const data = new Float32Array(6)
    const tensor = new Tensor('float32', data, [2, 3])
    expect(tensor.data).toBe(data)
    expect(tensor.dims).toEqual([2, 3])
    expect(tensor.size).toBe(6)
  })

  it('has one dimension when none is given, and none for a scalar', () => {
    expect(new Tensor('int32', [1, 2, 3]).dims).toEqual([3])
    expect(new Tensor('int32', [7], []).size).toBe(1)
  })

  it.each<[DataType, unknown[], unknown]>([
    ['float32', [1, 0.5, Number.NaN], Float32Array.of(1, 0.5, Number.NaN)],
    ['int8', [-128, 127], Int8Array.of(-128, 127)],
    ['int64', [1, -2n], BigInt64Array.of(1n, -2n)],
    ['uint64', [2n ** 64n - 1n], BigUint64Array.of(2n ** 64n - 1n)],
    ['bool', [true, 0, 1, false], Uint8Array.of(1, 0, 1, 0)],
    ['string', ['a', ''], ['a', '']],
  ])('converts plain values to %s', (type, values, expected) => {
    expect(new Tensor(type, values as number[]).data).toEqual(expected)
  })

  it.each<[DataType, unknown[], RegExp]>([
    ['uint8', [0, 256], /Element 1 of the tensor is 256, which is not a whole number of uint8's range/],
    ['int32', [0.5], /Element 0 of the tensor is 0.5/],
    ['int64', [2n ** 63n], /int64's range/],
    ['float32', ['1'], /'1', which is not a float32 value/],
    ['bool', [2], /not a bool value/],
    ['string', [1], /not a string/],
    ['float16', [1], /cannot be converted to float16/],
    ['float32', [[1], [2]], /an object of type Array/],
  ])('refuses values that are not %s', (type, values, message) => {
    expect(() => new Tensor(type, values as number[])).toThrow(InputError)
    expect(() => new Tensor(type, values as number[])).toThrow(message)
  })

  it('refuses a shape that does not fit, in a sentence that says what would', () => {
    expect(() => new Tensor('float32', new Float32Array(5), [2, 3])).toThrow(
      'A float32 tensor of shape 2×3 has 6 elements, 5 were given; correct the dims or the data.',
    )
    expect(() => new Tensor('float32', new Float32Array(1), [-1])).toThrow(InputError)
    expect(() => new Tensor('float32', new Float32Array(1), [1.5])).toThrow(InputError)
  })

  it('refuses another typed array and names both', () => {
    expect(() => new Tensor('float32', new Uint8Array(1))).toThrow(
      'The tensor takes float32, a Uint8Array was given; convert it to a Float32Array.',
    )
  })

  it('refuses an unknown type', () => {
    expect(() => new Tensor('float' as DataType, [1])).toThrow(/'float' is not an element type; use one of float32/)
  })

  it('takes a clamped array as uint8 and bits as float16', () => {
    expect(new Tensor('uint8', Uint8ClampedArray.of(1, 2)).data).toEqual(Uint8Array.of(1, 2))
    expect(new Tensor('float16', Uint16Array.of(0x3c00)).data).toEqual(Uint16Array.of(0x3c00))
  })

  it('knows the type of every typed array, and of nothing else', () => {
    const arrays = [
      ...[Float32Array, Float64Array, Int8Array, Uint8Array, Int16Array, Uint16Array, Int32Array, Uint32Array],
      ...[BigInt64Array, BigUint64Array, Uint8ClampedArray],
    ]
    const types = 'float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 uint8'.split(' ')
    expect(arrays.map((kind: new () => TypedArray) => naturalType(new kind()))).toEqual(types)
    // As in engines that have it.
    class Float16Array extends Uint16Array {
      override get [Symbol.toStringTag](): 'Uint16Array' {
        return 'Float16Array' as 'Uint16Array'
      }
    }
    expect(naturalType(new Float16Array())).toBe('float16')
    for (const other of [new DataView(new ArrayBuffer(1)), new ArrayBuffer(1), [1], 'uint8', undefined])
      expect(naturalType(other)).toBeUndefined()
  })

  it('says that an array was given away', () => {
    const data = new Float32Array(2)
    structuredClone(data.buffer, { transfer: [data.buffer] })
    expect(() => new Tensor('float32', data, [2])).toThrow(
      new InputError('The tensor is detached: its buffer was transferred; give a copy.'),
    )
    // An array without elements is none of those.
    expect(new Tensor('float32', new Float32Array(0), [0, 3]).size).toBe(0)
  })

  it('reshapes without a copy, and works out one dimension', () => {
    const tensor = Tensor.from(new Float32Array(12), [3, 4])
    const other = tensor.reshape([2, -1])
    expect(other.dims).toEqual([2, 6])
    expect(other.data).toBe(tensor.data)
    expect(() => tensor.reshape([5, -1])).toThrow(InputError)
    expect(() => tensor.reshape([-1, -1])).toThrow(InputError)
  })
})
