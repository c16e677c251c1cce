import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { type Count, countOf, pageBytes } from './page-memory'

const never: Count = () => new Promise(() => {})

describe('the page’s memory', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is told where the browser tells it, or a sentence says why not', async () => {
    const performance = {
      bytes: 7,
      measureUserAgentSpecificMemory() {
        return Promise.resolve({ bytes: this.bytes })
      },
    }
    const count = countOf({ crossOriginIsolated: true, performance })
    if (typeof count === 'string') throw new Error(count)
    expect(await pageBytes(count, new AbortController().signal)).toBe(7)
    expect(vi.getTimerCount()).toBe(0)
    expect(countOf({ crossOriginIsolated: true, performance: {} })).toMatch(/^This browser does not tell/)
    expect(countOf({ crossOriginIsolated: false, performance: {} })).toMatch(/COOP and COEP/)
  })

  it('is not waited for for ever', async () => {
    const counted = expect(pageBytes(never, new AbortController().signal, 5000)).rejects.toThrow(/within 5 seconds/)
    await vi.advanceTimersByTimeAsync(5000)
    await counted
  })

  it('is not waited for once it is cancelled', async () => {
    const stop = new AbortController()
    const counted = pageBytes(never, stop.signal)
    stop.abort()
    await expect(counted).rejects.toThrow(/abort/)
    expect(vi.getTimerCount()).toBe(0)
    await expect(pageBytes(never, stop.signal)).rejects.toThrow(/abort/)
  })

  it('passes on what the browser says against it', async () => {
    const refused: Count = () => Promise.reject(new Error('not allowed'))
    await expect(pageBytes(refused, new AbortController().signal)).rejects.toThrow('not allowed')
    expect(vi.getTimerCount()).toBe(0)
  })
})
