import { expect, it } from 'vitest'
import { InputError } from '../ts/errors.js'
import { checkLimits } from '../ts/limits.js'

it('takes whole numbers under known names', () => {
  expect(checkLimits({ nodes: 10, tensorBytes: undefined })).toEqual({ nodes: 10, tensorBytes: undefined })
  expect(checkLimits()).toEqual({})
  expect(() => checkLimits({ patience: 1 } as object)).toThrow(InputError)
  expect(() => checkLimits({ patience: 1 } as object)).toThrow(/no 'patience'; it may hold modelBytes, nodes/)
  for (const value of [-1, 1.5, Number.NaN, '5'])
    expect(() => checkLimits({ nodes: value as number })).toThrow(/limits.nodes is .*whole number/)
})
