import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Answer } from './engines'
import { watch } from './live'

const answer: Answer = { outputs: {}, total: 0, compute: undefined }
const { signal } = new AbortController()

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] })
  vi.stubGlobal('requestAnimationFrame', (onFrame: () => void) => setTimeout(onFrame, 16))
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** A model that takes 20 ms for each call, one after the other. */
function slow(): () => Promise<Answer> {
  let last = Promise.resolve(answer)
  return () => (last = last.then(() => new Promise((done) => setTimeout(done, 20, answer))))
}

describe('a source', () => {
  it('gives its frames on time, and waits for the last answer', async () => {
    const watched = watch(slow(), { interval: 10, duration: 1000, signal, onFrame: () => {} })
    await vi.runAllTimersAsync()
    const { frames, answers, ages } = await watched
    expect(frames).toBeGreaterThan(90)
    expect(answers).toBe(frames)
    expect(Math.max(...ages), 'the queue grew').toBeGreaterThan(900)
  })

  it('counts no answer for what was dropped', async () => {
    let call = 0
    const run = () => Promise.resolve(call++ % 2 === 0 ? answer : undefined)
    const watched = watch(run, { interval: 0, duration: 500, signal, onFrame: () => {} })
    await vi.runAllTimersAsync()
    const { frames, answers } = await watched
    expect(answers).toBe(Math.ceil(frames / 2))
  })

  it('ends when told', async () => {
    const stop = new AbortController()
    const watched = watch(slow(), { interval: 10, duration: 1e6, signal: stop.signal, onFrame: () => stop.abort() })
    const failed = expect(watched).rejects.toThrow('abort')
    await vi.advanceTimersByTimeAsync(100)
    await failed
  })

  it('fails as the model does', async () => {
    const run = () => Promise.reject(new Error('no model'))
    const failed = expect(watch(run, { interval: 10, duration: 100, signal, onFrame: () => {} })).rejects.toThrow('no model')
    await vi.runAllTimersAsync()
    await failed
  })
})
