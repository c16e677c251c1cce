import { describe, expect, test } from 'vitest'
import { argmax, largestDifference, LogAxis, Series, softmax } from './stats'

const seriesOf = (...totals: number[]): Series<{ total: number }> => {
  const series = new Series<{ total: number }>()
  for (const total of totals) series.add({ total })
  return series
}
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

describe('Series', () => {
  test('gives nearest-rank percentiles', () => {
    expect(seriesOf(...range(100).reverse()).percentiles()).toEqual({ p50: 50, p95: 95, p99: 99 })
    expect(seriesOf(15, 20, 35, 40, 50).at(0.3)?.total).toBe(20)
  })

  test('says nothing before there are enough samples', () => {
    expect(seriesOf().percentiles()).toEqual({ p50: undefined, p95: undefined, p99: undefined })
    expect(seriesOf(1, 2, 3, 4).percentiles().p50).toBeUndefined()
    expect(seriesOf(...range(19)).percentiles()).toEqual({ p50: 10, p95: undefined, p99: undefined })
    expect(seriesOf(...range(20)).percentiles().p95).toBe(19)
    expect(seriesOf(...range(99)).percentiles().p99).toBeUndefined()
  })

  test('keeps equal calls and the newest one', () => {
    const series = seriesOf(2, 1, 2, 2)
    expect(series.count).toBe(4)
    expect(series.latest?.total).toBe(2)
    expect([0.25, 0.5, 1].map((share) => series.at(share)?.total)).toEqual([1, 2, 2])
  })

  test('forgets the oldest calls when it is full, not the count', () => {
    const series = seriesOf(...range(5100))
    expect(series.count).toBe(5100)
    expect(series.at(0)?.total).toBe(101)
    expect(series.histogram(new LogAxis(0, 4, 1)).reduce((a, b) => a + b)).toBe(5000)
  })

  test('counts calls in logarithmic bins, those beyond the ends in the outermost', () => {
    expect(seriesOf(0.001, 0.2, 3, 30, 31, 99999).histogram(new LogAxis(-1, 2, 1))).toEqual([2, 1, 3])
  })
})

describe('LogAxis', () => {
  test('gives each decade the same room', () => {
    const axis = new LogAxis(-1, 3, 10)
    expect(axis.ticks).toEqual([0.1, 1, 10, 100, 1000])
    expect([0.1, 1, 10, 1000].map((ms) => axis.position(ms))).toEqual([0, 0.25, 0.5, 1])
    expect([0, 1e9].map((ms) => axis.position(ms))).toEqual([0, 1])
    expect(axis.bins).toBe(40)
  })
})

test('softmax is stable and sums to one', () => {
  const p = softmax([1000, 1001, 999])
  expect(p.reduce((a, b) => a + b)).toBeCloseTo(1)
  expect(argmax(p)).toBe(1)
})

test('the largest difference is that of any element', () => {
  expect(largestDifference([1, 2, 3], [1, 2.5, 2])).toBe(1)
  expect(largestDifference([1], [1])).toBe(0)
})
