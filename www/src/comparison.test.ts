import { expect, test } from 'vitest'
import { Comparison, describeCompared } from './comparison'

const scores = (digit: number, value = 5): Float32Array => Float32Array.from({ length: 10 }, (_, i) => (i === digit ? value : 0))

test('compares answers to the same drawing only, whoever is first', () => {
  const comparison = new Comparison()
  expect(comparison.add('edge', 1, scores(3))).toBeUndefined()
  expect(comparison.add('edge', 2, scores(3))).toBeUndefined()
  expect(comparison.add('cloud', 2, scores(3))).toEqual({ edgeDigit: 3, cloudDigit: 3, difference: 0 })
  expect(comparison.add('cloud', 3, scores(5, 6))).toBeUndefined()
  expect(comparison.add('edge', 3, scores(8, 6))).toEqual({ edgeDigit: 8, cloudDigit: 5, difference: 6 })
  expect(comparison).toMatchObject({ drawings: 2, alike: 1, difference: 6 })
  comparison.reset()
  expect(comparison).toMatchObject({ drawings: 0, alike: 0, difference: 0 })
})

test('forgets drawings that the other side has passed over', () => {
  const comparison = new Comparison()
  for (let drawing = 0; drawing < 200; drawing++) comparison.add('edge', drawing, scores(1))
  expect(comparison.add('cloud', 10, scores(1))).toBeUndefined()
  expect(comparison.add('cloud', 199, scores(1))).toBeDefined()
})

test('in words', () => {
  expect(describeCompared({ edgeDigit: 3, cloudDigit: 3, difference: 0 })).toBe(
    'Both say 3; their scores are identical, bit for bit.',
  )
  expect(describeCompared({ edgeDigit: 3, cloudDigit: 8, difference: 0.1234 })).toBe(
    'This device says 3, the cloud 8; their scores differ by 0.12 at most.',
  )
})
