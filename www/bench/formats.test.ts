import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

import { Comparison, describeFastest, formatLines, formatOf, type FormatResult, weigh } from './formats'

const repository = (name: string): Blob => new Blob([readFileSync(join(import.meta.dirname, '../../models', name))])
const values = (...data: number[]) => ({ y: { type: 'float32', dims: [data.length], data: Float32Array.from(data) } })

describe('the format of a file', () => {
  it.each([
    ['digits.onnx', 'float'],
    ['digits.int8.onnx', 'QDQ'],
    ['digits.qop.onnx', 'QOperator'],
    ['digits.dyn.onnx', 'dynamic'],
  ])('%s is %s', async (name, format) => {
    expect(await formatOf(repository(name))).toBe(format)
  })

  it.each([
    ['MatMulInteger, DequantizeLinear, DynamicQuantizeLinear', 'dynamic'],
    ['NEARPLAN, QLinearConv', 'plan'],
    ['', 'float'],
  ])("by its operators: '%s' is %s", async (text, format) => {
    expect(await formatOf(new Blob([text]))).toBe(format)
  })
})

it('weighs a file as it is and after gzip', async () => {
  const { signal } = new AbortController()
  const { bytes, wire } = await weigh(new Blob([new Uint8Array(10_000)]), signal)
  expect(bytes).toBe(10_000)
  expect(wire).toBeLessThan(100)
  await expect(weigh(new Blob(['x']), AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop')
})

describe('answers beside those of the reference', () => {
  it('agree by their largest entry, and differ by a part of all', () => {
    const comparison = new Comparison()
    comparison.add(values(3, 4), values(3, 4))
    comparison.add(values(0, 5), values(1, 0))
    expect(comparison.agreement).toEqual({ inputs: 2, same: 1, error: Math.sqrt(26 / 50) })
  })

  it('are the same, be they all zero', () => {
    const comparison = new Comparison()
    comparison.add(values(0, 0), values(0, 0))
    expect(comparison.agreement).toEqual({ inputs: 1, same: 1, error: 0 })
  })

  it('have no largest entry where there is one number, and no error where shapes differ', () => {
    const [single, other] = [new Comparison(), new Comparison()]
    single.add(values(2), values(1))
    expect(single.agreement).toEqual({ inputs: 1, same: undefined, error: 0.5 })
    other.add(values(1, 2), values(1, 3, 2))
    expect(other.agreement.error).toBeNaN()
    other.add(values(1, 2), {})
    expect(other.agreement).toEqual({ inputs: 2, same: 1, error: NaN })
  })
})

describe('in words', () => {
  const one: FormatResult = {
    ...{ title: 'float32', format: 'float', engine: 'Nearside', p10: 1, median: 2, p90: 3, bytes: 2000, wire: 1000 },
    agreement: undefined,
  }
  const other: FormatResult = {
    ...one,
    title: 'QDQ',
    format: 'QDQ',
    median: 1,
    agreement: { inputs: 20, same: 19, error: 0.012 },
  }

  it('are the fastest and the line of each', () => {
    expect(describeFastest([one, { ...other, engine: 'onnxruntime-web', median: 4 }, other])).toBe(
      'QDQ on Nearside is the fastest, 2.0 times as fast as float32 there',
    )
    expect(describeFastest([one, { ...other, median: 4 }])).toBe('float32 on Nearside is the fastest')
    expect(describeFastest([one, { ...other, engine: 'onnxruntime-web' }])).toBe('QDQ on onnxruntime-web is the fastest')
    expect(formatLines([one, other])).toEqual([
      'float32 (float) on Nearside: median 2.00 ms, 10 to 90 percent 1.00 ms to 3.00 ms; 2.0 KB, 1.0 KB after gzip; the reference',
      'QDQ (QDQ) on Nearside: median 1.00 ms, 10 to 90 percent 1.00 ms to 3.00 ms; 2.0 KB, 1.0 KB after gzip; the same best entry for 19 of 20, relative error 1.2 %',
    ])
  })
})
