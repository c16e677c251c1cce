import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import type { First, FirstJob } from './first'
import type { Side } from './sides'
import { visitSides } from './visits'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const sides = ['a', 'b', 'c', 'd'].map((title): Side => ({
  title,
  job: { engine: 'nearside', model: title, variant: 'auto', threads: 0, worker: true },
}))
const { signal } = new AbortController()

/** Each visit takes so long; it is written down. */
function visiting(ms: number) {
  const [visited, told]: [string[], string[]] = [[], []]
  const measure = ({ model, fresh }: FirstJob): Promise<First> => {
    visited.push(`${typeof model === 'string' ? model : ''} ${fresh === undefined ? 'again' : 'fresh'}`)
    vi.advanceTimersByTime(ms)
    return Promise.resolve({ steps: [], downloaded: 0, firstAnswer: visited.length, memory: 0 })
  }
  const onSide = (title: string, fraction: number) => told.push(`${title} ${fraction}`)
  return { visited, told, options: { signal, onSide, measure } }
}

it('visits each side with nothing cached, and again with what that left', async () => {
  const { visited, told, options } = visiting(100)
  const visits = await visitSides(sides.slice(0, 2), {}, options)
  expect(visited).toEqual(['a fresh', 'a again', 'a again', 'b fresh', 'b again', 'b again'])
  expect(told).toEqual(['a 0', 'b 0.5'])
  expect(visits.map(({ cold, warm }) => [cold.firstAnswer, warm.firstAnswer])).toEqual([
    [1, 3],
    [4, 6],
  ])
})

it('leaves out of many sides those whose turn comes after a minute', async () => {
  expect((await visitSides(sides, {}, visiting(8000).options)).length).toBe(3)
  expect((await visitSides(sides, {}, visiting(50_000).options)).length).toBe(2)
})
