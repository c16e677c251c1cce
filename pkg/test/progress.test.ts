import { expect, it } from 'vitest'
import { ProgressMeter } from '../ts/progress.js'
import type { Progress } from '../ts/types.js'

function record(work: (meter: ProgressMeter) => void): Progress[] {
  const seen: Progress[] = []
  work(new ProgressMeter((progress) => seen.push(progress)))
  return seen
}

it.each<[string, (meter: ProgressMeter) => void]>([
  ['known length', (m) => [0, 10, 500, 1000].forEach((n) => m.bytes(n, 1000))],
  ['unknown length', (m) => [0, 1, 1 << 20, 1 << 30].forEach((n) => m.bytes(n, undefined))],
  ['a length that turns out wrong', (m) => [0, 900, 2000].forEach((n) => m.bytes(n, n > 1000 ? undefined : 1000))],
  ['an empty file', (m) => m.bytes(0, 0)],
  ['no download at all', () => {}],
])('never falls and ends at 1: %s', (_, download) => {
  for (const compiled of [false, true]) {
    const seen = record((meter) => {
      download(meter)
      if (compiled) meter.enter('compile')
      meter.enter('bind')
      meter.enter('ready')
    })
    const fractions = seen.map((p) => p.fraction)
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
    expect(fractions.every((f) => f >= 0 && f <= 1)).toBe(true)
    expect(seen.at(-1)).toMatchObject({ phase: 'ready', fraction: 1 })
  }
})
