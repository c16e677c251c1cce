import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { find } from '../catalog.mjs'
import { task } from '../peers/models.mjs'

const FOLDERS = { assets: undefined, models: join(import.meta.dirname, '../../../models') }
const CARD = {
  inputs: [{ name: 'image', nhwc: true, dims: [1, 1, 28, 28] }],
  outputs: [{ name: 'logits', nhwc: false }],
  models: { litert: { f32: 'f32.tflite', int8: 'int8.tflite' }, tfjs: { f32: 'tfjs/model.json' } },
}

let folder = ''
const write = (card: object) => writeFileSync(join(folder, 'digits/card.json'), JSON.stringify(card))
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'nearside-peers-'))
  mkdirSync(join(folder, 'digits'))
  write(CARD)
})
afterAll(() => rmSync(folder, { recursive: true }))

const digits = (variant: string) => {
  const [entry] = find(`digits:${variant}`, FOLDERS)
  if (entry === undefined) throw new Error('the repository has no digits')
  return entry
}

test('a float32 model is fed and compared as the ONNX file, under its own names', () => {
  const found = task('tfjs', digits('f32'), folder)
  expect(found?.url).toBe('/converted/digits/tfjs/model.json')
  expect(found?.inputs).toEqual([{ ...digits('f32').inputs[0], name: 'in0', nhwc: true }])
  expect(found?.expect).toEqual([{ ...digits('f32').expect[0], name: 'out0', nhwc: false }])
})

test('an int8 model, being another quantization, is compared with float32 only', () => {
  const found = task('litert', digits('qdq'), folder)
  expect(found?.url).toBe('/converted/digits/int8.tflite')
  expect(found?.expect).toEqual([])
  expect(found?.float).toEqual([{ ...digits('f32').expect[0], name: 'out0', nhwc: false }])
})

test('without a model of that kind, or of those shapes, there is nothing to run', () => {
  expect(task('tfjs', digits('qdq'), folder)).toBeUndefined()
  expect(task('litert', { ...digits('f32'), variant: 'qop' }, folder)).toBeUndefined()
  expect(task('litert', { ...digits('f32'), model: 'other' }, folder)).toBeUndefined()
  write({ ...CARD, inputs: [{ name: 'image', nhwc: true, dims: [2, 1, 28, 28] }] })
  expect(task('litert', digits('f32'), folder)).toBeUndefined()
})
