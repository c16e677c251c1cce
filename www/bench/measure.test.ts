import { describe, expect, it } from 'vitest'

import type { Runner } from './engines'
import { parseInputs, randomInputs } from './inputs'
import { compare, quantile, race, topEntries } from './measure'
import { byOperator, describeDifference, peakFor, traceOf } from './result'

const value = (data: Float32Array<ArrayBuffer>) => ({ x: { type: 'float32', dims: [data.length], data } })

/** A side that writes its name down at each run. */
function runner(name: string, log: string[]): Runner {
  const run = () => {
    log.push(name)
    return Promise.resolve({ outputs: value(Float32Array.of(1)), total: 1, compute: 0.5 })
  }
  return {
    ...{ description: name, loadMs: 0, ports: [], notes: [], run, latest: run },
    explain: () => Promise.resolve(undefined),
    profile: () => Promise.resolve(undefined),
    memory: () => Promise.resolve(0),
    dispose: () => {},
  }
}

describe('a race', () => {
  it('goes in turns, the other way round in each round', async () => {
    const log: string[] = []
    const seen: number[] = []
    const options = { n: 1, rounds: 2, resolution: 0, signal: new AbortController().signal }
    const times = await race([runner('a', log), runner('b', log)], {}, { ...options, onRound: (round) => seen.push(round) })
    expect(log.slice(-4)).toEqual(['a', 'b', 'b', 'a'])
    expect(seen).toEqual([1, 2])
    expect(times.map(({ samples, compute, batch }) => [samples.length, compute, batch])).toEqual([
      [2, [0.5, 0.5], 1],
      [2, [0.5, 0.5], 1],
    ])
  })

  it('ends when it is cancelled', async () => {
    const options = { n: 1, rounds: 1, resolution: 0, signal: AbortSignal.abort(new Error('stop')) }
    await expect(race([runner('a', [])], {}, { ...options, onRound: () => {} })).rejects.toThrow('stop')
  })
})

it('takes quantiles that happened', () => {
  expect([0.1, 0.5, 0.9].map((share) => quantile([5, 1, 4, 2, 3], share))).toEqual([1, 3, 5])
})

it('compares answers element by element', () => {
  const a = value(Float32Array.of(1, -2, NaN))
  expect(compare(a, a)).toEqual([{ output: 'x', largest: 0, scale: NaN, steps: 0, identical: true }])
  expect(compare(value(Float32Array.of(1, -2)), value(Float32Array.of(1, -2.5)))).toEqual([
    { output: 'x', largest: 0.5, scale: 2, steps: 2 ** 21, identical: false },
  ])
  expect(compare(a, value(Float32Array.of(1, -2, 0)))[0]?.largest).toBe(Infinity)
  expect(compare(a, value(Float32Array.of(1)))[0]).toMatchObject({ largest: NaN, steps: NaN })
})

it('counts the float32 between two answers', () => {
  const steps = (a: number, b: number) => compare(value(Float32Array.of(a)), value(Float32Array.of(b)))[0]?.steps
  const least = 2 ** -149
  expect([steps(1, 1 + 2 ** -23), steps(-1, -1 - 2 ** -23), steps(least, -least), steps(0, -0)]).toEqual([1, 1, 2, 0])
  expect([steps(1, NaN), steps(NaN, NaN)]).toEqual([Infinity, 0])
  const integers = (...data: number[]) => ({ x: { type: 'int32', dims: [data.length], data: Int32Array.from(data) } })
  expect(compare(integers(1), integers(3))).toEqual([{ output: 'x', largest: 2, scale: 1, steps: undefined, identical: false }])
})

it('says how far answers are apart', () => {
  const difference = { output: 'x', largest: 0.5, scale: 2, steps: 2 ** 21, identical: false }
  expect(describeDifference(difference)).toBe(
    'x: the largest difference is 0.50, the largest value 2.00, at most 2,097,152 ULP apart',
  )
  expect(describeDifference({ ...difference, steps: undefined })).toBe(
    'x: the largest difference is 0.50, the largest value 2.00',
  )
  expect(describeDifference({ ...difference, steps: 0, identical: true })).toBe('x: the same numbers, bit for bit')
  expect(describeDifference({ ...difference, largest: NaN, steps: NaN })).toBe('x: of another shape')
})

it('finds the largest entries', () => {
  expect(topEntries(value(Float32Array.of(0, 3, 1)), 2)).toEqual([
    { index: 1, value: 3 },
    { index: 2, value: 1 },
  ])
})

describe('inputs', () => {
  const ports = [
    { name: 'input_ids', type: 'int64', dims: ['batch', 'length'] },
    { name: 'attention_mask', type: 'int64', dims: ['batch', 'length'] },
    { name: 'x', type: 'float32', dims: [2] },
  ] as const

  it('are the same for the same seed, with the sizes that were given', () => {
    const inputs = randomInputs(ports, { length: 4 }, 1)
    expect(inputs).toEqual(randomInputs(ports, { length: 4 }, 1))
    expect(inputs['x']).not.toEqual(randomInputs(ports, {}, 2)['x'])
    expect(inputs['input_ids']?.dims).toEqual([1, 4])
    expect(inputs['attention_mask']?.data).toEqual(BigInt64Array.of(1n, 1n, 1n, 1n))
  })

  it('come from a file', () => {
    const text = JSON.stringify({
      input_ids: { dims: [1, 2], data: [5, 6] },
      attention_mask: { dims: [1, 2], data: [1, 1] },
      x: [1, 2],
    })
    const inputs = parseInputs(text, ports, {})
    expect(inputs['input_ids']?.data).toEqual(BigInt64Array.of(5n, 6n))
    expect(inputs['x']?.data).toEqual(Float32Array.of(1, 2))
  })

  it.each([
    [
      '{',
      /^The file of inputs is no JSON \(.+\); give an object with an array of numbers, or \{ dims, data \}, for each input\.$/,
    ],
    ['null', /^The file of inputs holds no object; give /],
    ['[1, 2]', /^The file of inputs holds no object; give /],
    ['{}', /^The file has no input 'x'; give its numbers/],
    ['{ "x": { "dims": [2] } }', /^The file has no input 'x'; give its numbers/],
    ['{ "x": 5 }', /^Input 'x' has no array of numbers; give one/],
    ['{ "x": [1, 2, 3] }', /^Input 'x' has 3 numbers, its shape \[2\] holds 2\.$/],
    ['{ "x": [1, "two"] }', /^Input 'x' has "two" at 1; give numbers\.$/],
    ['{ "x": { "dims": [1, -2], "data": [] } }', /^The dims of input 'x' are \[1,-2\]; give whole numbers\.$/],
    [
      '{ "x": { "dims": [1e9, 1e9], "data": [] } }',
      /^Input 'x' has 0 numbers, its shape \[1000000000, 1000000000\] holds 1000000000000000000\.$/,
    ],
    ['{ "x": { "dims": 2, "data": [1, 2] } }', /^The dims of input 'x' are 2; give whole numbers\.$/],
  ])('that are not right have a sentence: %s', (text, message) => {
    expect(() => parseInputs(text, ports.slice(2), {})).toThrow(message)
  })

  it('of whole numbers are whole', () => {
    const text = '{ "input_ids": [1.5] }'
    expect(() => parseInputs(text, ports.slice(0, 1), {})).toThrow(/^Input 'input_ids' is int64 and has 1\.5 at 0; give whole/)
  })
})

it('adds nodes up by operator', () => {
  const node = { index: 0, name: '', dims: [], macs: 2e6, bytes: 1e6, mean: 2, min: 1, fused: [] }
  const [conv, pool] = byOperator([
    { ...node, op: 'MaxPool', macs: 0 },
    { ...node, op: 'Conv' },
    { ...node, op: 'Conv' },
  ])
  expect(conv).toEqual({ op: 'Conv', nodes: 2, ms: 2, share: 2 / 3, gmacs: 2, gbs: 1, ofPeak: 0 })
  expect(pool?.gmacs).toBe(0)
})

it('compares nodes with the peak of what they compute on', () => {
  const about = { op: 'Conv', dims: [], fused: [] }
  const node = { ...about, name: '', macs: 2e6, bytes: 1e6, mean: 2, min: 1 }
  const graph = [
    { ...about, name: 'integers', type: 'uint8' },
    { ...about, name: 'floats', type: 'float32' },
  ] as const
  const engine = { variant: 'relaxed', worker: true, threads: 2, integerPath: 'relaxed dot', fallbackOperators: [] } as const
  const peak = peakFor(graph, engine, { float: 10, dot16: 20, dot8: 40, floatBy: 'relaxed madd' })
  expect([peak({ ...node, index: 0 }), peak({ ...node, index: 1 })]).toEqual([80, 20])
  expect(byOperator([{ ...node, index: 1 }], peak)[0]?.ofPeak).toBeCloseTo(2 / 20)
})

it('writes nodes as a trace, one after the other', () => {
  const node = { name: 'a', op: 'Conv', dims: [1], macs: 4, ms: 2 }
  const { traceEvents } = JSON.parse(traceOf([node, { ...node, name: 'b' }])) as { traceEvents: { ts: number; dur: number }[] }
  expect(traceEvents.map(({ ts, dur }) => [ts, dur])).toEqual([
    [0, 2000],
    [2000, 2000],
  ])
})
