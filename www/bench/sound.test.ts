import { expect, it } from 'vitest'

import { noSound, type Sound, soundInput, soundShape } from './sound'

const port = (dims: (number | string)[], type = 'float32', name = 'sound') =>
  ({ name, type, dims }) as Parameters<typeof soundShape>[0][0]
const sound: Sound = { samples: Float32Array.of(0.1, 0.2, 0.3, 0.4), rate: 16_000 }

it.each([
  [[1, 576], { dims: [1, 576], length: 576 }],
  [['batch', 1, 16_000], { dims: [1, 1, 16_000], length: 16_000 }],
  [['samples'], { dims: [512], length: 512 }],
  [['batch', 'time'], { dims: [1, undefined], length: undefined }],
])('a sound for %j', (dims, shape) => {
  expect(soundShape([port(dims)], { samples: 512 })).toEqual({ name: 'sound', ...shape })
})

it.each([[[1, 10]], [[2, 576]], [[]], [[1, 1, 1, 576]]])('no sound for %j', (dims) => {
  expect(soundShape([port(dims)], {})).toBeUndefined()
})

it('takes the one input that fits, beside others', () => {
  const others = [port([2, 1, 128], 'float32', 'state'), port([], 'int64', 'sr')]
  expect(soundShape([port([1, 576]), ...others], {})?.name).toBe('sound')
  expect(soundShape([port([1, 576]), port([1, 576], 'float32', 'other')], {})).toBeUndefined()
  expect(soundShape([port([1, 576], 'int16')], {})).toBeUndefined()
  expect(noSound(others).message).toBe(
    "The model has no single input for the samples of a sound (its inputs: 'state', float32 2×1×128; 'sr', int64 ); forget the sound.",
  )
})

it('gives the end of the sound, after silence where it is too short', () => {
  const of = (dims: (number | undefined)[], length: number | undefined) => soundInput(sound, { name: 'x', dims, length })['x']
  expect(of([1, 2], 2)).toEqual({ type: 'float32', dims: [1, 2], data: Float32Array.of(0.3, 0.4) })
  expect(of([6], 6)).toEqual({ type: 'float32', dims: [6], data: Float32Array.of(0, 0, 0.1, 0.2, 0.3, 0.4) })
  expect(of([1, undefined], undefined)).toEqual({ type: 'float32', dims: [1, 4], data: sound.samples })
})
