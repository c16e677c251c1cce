import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { find } from '../catalog.mjs'

const file = (name: string, more: object = {}) => ({ dtype: 'f32', shape: [1, 2], file: `io/${name}.bin`, ...more })
const CASES = ['first', 'second'].map((id) => ({
  id,
  inputs: { x: file(`${id}.x`) },
  expect: { f32: { y: file(`${id}.f32`) }, qdq: { y: file(`${id}.qdq`, { ort_all_maxdiff: 0.5 }) } },
}))
const VARIANTS = { f32: { file: 'f32.onnx' }, qdq: { file: 'qdq.onnx' } }

let assets = ''
beforeAll(() => {
  assets = mkdtempSync(join(tmpdir(), 'nearside-catalog-'))
  mkdirSync(join(assets, 'real/m'), { recursive: true })
  const card = { trained: true, latency_case: 'second', variants: VARIANTS, cases: CASES }
  writeFileSync(join(assets, 'real/m/model.json'), JSON.stringify(card))
})
afterAll(() => rmSync(assets, { recursive: true }))

test("a variant has its own reference and the float32 model's, of the case meant for measuring", () => {
  const found = find('m:qdq', { assets, models: '' })
  expect(found.map((one) => [one.case, one.url, one.classifier])).toEqual([['second', '/assets/real/m/qdq.onnx', true]])
  const [{ expect: own, float } = { expect: [], float: [] }] = found
  expect(own.map(({ url, slack }) => [url, slack])).toEqual([['/assets/real/m/io/second.qdq.bin', 0.5]])
  expect(float.map(({ url, slack }) => [url, slack])).toEqual([['/assets/real/m/io/second.f32.bin', 0]])
})

test('all variants, or another case', () => {
  expect(find('m', { assets, models: '' }).map(({ variant }) => variant)).toEqual(['f32', 'qdq'])
  expect(find('m:f32:first', { assets, models: '' }).map((one) => one.case)).toEqual(['first'])
  expect(() => find('m', { assets: undefined, models: '' })).toThrow('--assets')
})
