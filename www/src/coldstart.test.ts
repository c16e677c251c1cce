import { expect, test } from 'vitest'
import { describeColdStart } from './coldstart'

const ENGINE = { variant: 'relaxed', worker: true, threads: 1, integerPath: 'relaxed dot', fallbackOperators: [] } as const
const SPANS = [
  { name: 'download', start: 0, duration: 20 },
  { name: 'compileWasm', start: 1, duration: 30 },
  { name: 'instantiate', start: 31, duration: 9 },
  { name: 'bind', start: 40, duration: 2 },
  { name: 'firstRun', start: 43, duration: 1 },
] as const
const DOWNLOADS = [
  { name: 'http://a/assets/core.relaxed-x.wasm', startTime: 10, responseEnd: 45, transferSize: 170_000 },
  { name: 'http://a/digits.int8.plan?v=1', startTime: 11, responseEnd: 30, transferSize: 60_000 },
  { name: 'http://a/assets/worker-x.js', startTime: 52, responseEnd: 60, transferSize: 4000 },
  { name: 'http://a/assets/main-x.css', startTime: 5, responseEnd: 9, transferSize: 3000 },
  { name: 'http://a/digits.int8.plan?v=1', startTime: 300, responseEnd: 310, transferSize: 60_000 },
]

test('the steps are in order and since navigation', () => {
  const start = describeColdStart({ spans: SPANS }, ENGINE, DOWNLOADS, 50, 95)
  expect(start.steps.map(({ name, from, ms }) => [name, from, ms])).toEqual([
    ['Open the page', 0, 50],
    ['Download runtime', 10, 35],
    ['Download model', 11, 19],
    ['Compile runtime', 51, 30],
    ['Download Worker', 52, 8],
    ['Start in a Worker', 81, 9],
    ['Bind the model', 90, 2],
    ['First run', 93, 1],
  ])
  expect(start.engine).toBe('It runs in a Worker on the relaxed SIMD binary, integers by relaxed dot.')
})

test('counts what came over the network before the answer, and only what the model needs', () => {
  expect(describeColdStart({ spans: SPANS }, ENGINE, DOWNLOADS, 50, 95).downloaded).toBe(234_000)
  const cached = DOWNLOADS.map((d) => ({ ...d, transferSize: 0 }))
  expect(describeColdStart({ spans: SPANS }, ENGINE, cached, 50, 95).downloaded).toBe(0)
})
