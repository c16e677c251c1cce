import { describe, expect, it, vi } from 'vitest'
import { InputError } from '../ts/errors.js'
import { measureParallelism, pickThreads } from '../ts/threads.js'

describe('pickThreads', () => {
  it.each([
    [1, 1],
    [2, 1],
    [3, 2],
    [4, 2],
    [8, 4],
    [64, 4],
  ])('takes half of %i cores: %i', (cores, threads) => {
    expect(pickThreads({ isolated: true, cores }, true)).toEqual({ threads })
    expect(pickThreads({ isolated: false, cores }, true)).toEqual({ threads: 1 })
    expect(pickThreads({ isolated: true, cores }, false, 'auto')).toEqual({ threads: 1 })
  })

  it('takes what it is told, where that can be', () => {
    const isolated = { isolated: true, cores: 2 }
    expect(pickThreads(isolated, true, 3)).toEqual({ threads: 3 })
    expect(pickThreads(isolated, true, 1000)).toEqual({ threads: 64 })
    expect(pickThreads(isolated, true, 1)).toEqual({ threads: 1 })
  })

  it('says why there is only one', () => {
    const { threads, note } = pickThreads({ isolated: false, cores: 8 }, true, 4)
    expect(threads).toBe(1)
    expect(note).toMatch(/one thread instead of 4, because .*Cross-Origin-Opener-Policy/)
    expect(pickThreads({ isolated: true, cores: 8 }, false, 4).note).toMatch(/worker/)
    expect(pickThreads({ isolated: false, cores: 8 }, true, 1).note).toBeUndefined()
  })

  it.each([0, -1, 1.5, NaN, 'two', null])('refuses %s', (wanted) => {
    expect(() => pickThreads({ isolated: true, cores: 8 }, true, wanted as number)).toThrow(InputError)
  })

  it('finds that Node shares memory', () => {
    expect(measureParallelism().isolated).toBe(true)
  })

  it('asks a page whether it is isolated', () => {
    vi.stubGlobal('crossOriginIsolated', false)
    vi.stubGlobal('navigator', { hardwareConcurrency: 6 })
    expect(measureParallelism()).toEqual({ isolated: false, cores: 6 })
    vi.unstubAllGlobals()
  })
})
