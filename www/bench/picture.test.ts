import { expect, it } from 'vitest'

import { pictureInputs, pictureShape, valuesOfPixels } from './picture'

const port = (dims: (number | string)[], type = 'float32') =>
  ({ name: 'image', type, dims }) as Parameters<typeof pictureShape>[0][0]
/** Two pixels: red, and a grey. */
const pixels = Uint8ClampedArray.from([255, 0, 0, 255, 51, 51, 51, 255])

it.each([
  [[1, 3, 20, 30], { width: 30, height: 20, channels: 3, channelsLast: false }],
  [['batch', 1, 28, 28], { width: 28, height: 28, channels: 1, channelsLast: false }],
  [[1, 20, 30, 3], { width: 30, height: 20, channels: 3, channelsLast: true }],
  [['batch', 3, 'height', 'width'], { width: 640, height: 224, channels: 3, channelsLast: false }],
])('a picture for %j', (dims, shape) => {
  expect(pictureShape([port(dims)], { width: 640 })).toMatchObject(shape)
})

it.each([[[1, 128]], [[4, 3, 20, 20]], [[1, 16, 20, 20]]])('no picture for %j', (dims) => {
  expect(pictureShape([port(dims)], {})).toBeUndefined()
})

it('takes neither several inputs nor other types', () => {
  expect(pictureShape([port([1, 3, 8, 8]), port([1, 3, 8, 8])], {})).toBeUndefined()
  expect(pictureShape([port([1, 3, 8, 8], 'int64')], {})).toBeUndefined()
  const refused = () => pictureInputs({} as ImageBitmap, [port([1, 8], 'int64')], {})
  expect(refused).toThrow("The model takes no single picture, grey or RGB (its inputs: 'image', int64 1×8); forget the frame.")
})

it.each([
  [[1, 3, 1, 2], 'uint8', [255, 51, 0, 51, 0, 51]],
  [[1, 1, 2, 3], 'uint8', [255, 0, 0, 51, 51, 51]],
  [[1, 1, 1, 2], 'uint8', [76, 51]],
  [[1, 3, 1, 2], 'float32', [1, 0.2, 0, 0.2, 0, 0.2]],
])('puts pixels into %j of %s', (dims, type, expected) => {
  const last = dims[1] === 1 && dims[3] === 3
  const shape = { name: 'image', type, dims, width: 2, height: 1, channels: expected.length / 2, channelsLast: last }
  const { data } = valuesOfPixels(pixels, shape)['image'] ?? { data: [] }
  Array.from(data, Number).forEach((value, i) => expect(value).toBeCloseTo(expected[i] ?? NaN, 6))
})
