import { expect, test } from 'vitest'

import { rows, table } from '../report.mjs'

const result = (engine: string, samples: number[], relative: number, sameTop = true) => ({
  ...{ engine, model: 'm', variant: 'qdq', case: 'c', threads: 1, classifier: true },
  measurement: {
    ...{ load_ms: samples.length, first_ms: 2, samples, peak_wasm_bytes: 2 ** 20, max_error: engine === 'litert' ? null : 0.5 },
    from_float: { max: 1, relative, sameTop },
    ...(engine === 'litert' ? { again: { load_ms: 3, first_ms: 4 } } : {}),
  },
})

test('one row per engine: all runs for the median, the medians of the rounds for the spread, the worst of the errors', () => {
  const summary = rows([
    result('nearside', [1, 2, 3], 0.01),
    result('litert', [4, 4, 8], 0.02),
    result('nearside', [5, 5, 5], 0.03, false),
  ])
  expect(summary.map(({ engine }) => engine)).toEqual(['nearside', 'litert'])
  expect(summary[0]).toMatchObject({
    median_ms: 4,
    rounds_ms: [2, 5],
    min_ms: 1,
    max_error: 0.5,
    from_float: 0.03,
    same_top: false,
  })
  expect(summary[1]).toMatchObject({ median_ms: 4, rounds_ms: [4, 4], max_error: null, from_float: 0.02, same_top: true })
})

test('the table says which answer is another one than the float32 model gives, and how many times longer it took', () => {
  const summary = rows([result('nearside', [2], 0.03, false), result('litert', [5], 0.25)])
  const [, , ours, theirs] = table(summary, ['nearside', 'litert']).split('\n')
  expect(ours).toBe('| m | qdq | nearside | 1.00 | 2.00 | – | 2.00 | 2.00–2.00 | 2.00 | 1.0 | 5.0e-1 | 3.0e-2, other top 1 |  |')
  expect(theirs).toBe('| m | qdq | litert | 1.00 | 2.00 | 3.00, 4.00 | 5.00 | 5.00–5.00 | 5.00 | 1.0 | – | 2.5e-1 | 2.50 |')
})

test('numbers of threads have rows of their own, compared with the first', () => {
  const two = { ...result('nearside', [2], 0.03), threads: 2 }
  const [, , one, both] = table(rows([result('nearside', [3], 0.03), two]), ['nearside']).split('\n')
  expect(one).toContain('| nearside |')
  expect(both).toContain('| nearside, 2 threads |')
  expect(both).toMatch(/\| 0\.67 \|$/)
})
