import { expect, test } from 'vitest'

import { compare, toNhwc } from '../compare.js'

const reference = (data: number[], more: object = {}) => ({ name: 'y', dims: [1, data.length], stride: 1, data, ...more })

test('the largest and the relative difference, over all outputs', () => {
  const outputs = { y: [3, 4.5], z: [0, -1] }
  const found = compare(outputs, [reference([3, 4]), { ...reference([0, 0]), name: 'z' }])
  expect(found).toEqual({ max: 1, relative: Math.sqrt(1.25 / 25), sameTop: true })
  expect(compare(outputs, [])).toBeNull()
})

test('the largest element of each item of a batch', () => {
  const dims = [2, 2]
  expect(compare({ y: [1, 2, 4, 3] }, [reference([0, 9, 8, 0], { dims })])?.sameTop).toBe(true)
  expect(compare({ y: [1, 2, 3, 4] }, [reference([0, 9, 8, 0], { dims })])?.sameTop).toBe(false)
})

test('an image with its channels last beside one with its channels second, of which every third element is kept', () => {
  const dims = [2, 3, 2, 5]
  const image = Float32Array.from({ length: 60 }, (_, i) => i)
  const turned = toNhwc(image, dims)
  expect(turned.dims).toEqual([2, 2, 5, 3])
  expect([...turned.data.subarray(0, 6)]).toEqual([0, 10, 20, 1, 11, 21])
  const kept = image.filter((_, i) => i % 3 === 0)
  expect(compare({ y: turned.data }, [{ name: 'y', dims, stride: 3, nhwc: true, data: kept }])?.max).toBe(0)
})

test('what cannot be compared is an error, not a small difference', () => {
  expect(() => compare({ y: [NaN] }, [reference([1])])).toThrow("output 'y' has NaN in place of 1")
  expect(() => compare({ y: [1, 2] }, [reference([1])])).toThrow("output 'y' has 2 elements, the reference 1")
  expect(() => compare({ x: [1] }, [reference([1])])).toThrow("no output 'y', only x")
  expect(compare({ y: [NaN, -Infinity] }, [reference([NaN, -Infinity])])?.max).toBe(0)
})
