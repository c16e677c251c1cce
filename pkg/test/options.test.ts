import { expect, it, vi } from 'vitest'
import { InputError, UnsupportedError } from '../ts/errors.js'
import { explained } from '../ts/options.js'

const cause = new TypeError('is not a function')

it('names an option of the wrong type', () => {
  for (const [options, message] of [
    [null, 'The options are null; give an object, or leave them out.'],
    [5, 'The options are 5; give an object, or leave them out.'],
    [{ signal: {} }, 'The option signal is an object of type Object; give the signal of an AbortController.'],
    [{ signal: null }, 'The option signal is null; give the signal of an AbortController.'],
    [{ onProgress: 5 }, 'The option onProgress is 5; give a function.'],
    [{ onTiming: 'x' }, "The option onTiming is 'x'; give a function."],
    [{ cache: null }, 'The option cache is null; give an object.'],
    [{ externalData: 'words', cache: true }, "The option externalData is 'words'; give an object."],
  ] as const)
    expect(explained(cause, options as object | null)).toEqual(new InputError(message, { cause }))
})

it('says that there is no WebAssembly', () => {
  vi.stubGlobal('WebAssembly', undefined)
  const error = explained(cause, {})
  vi.unstubAllGlobals()
  expect(error).toBeInstanceOf(UnsupportedError)
  expect(error.message).toMatch(/^This browser has no WebAssembly, .*; allow it/)
})

it('leaves others as they are', () => {
  const { signal } = new AbortController()
  for (const options of [{}, { signal, onProgress: () => {} }, { signal: undefined, threads: 'x' }])
    expect(explained(cause, options as object)).toBe(cause)
})
