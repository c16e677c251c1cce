/**
 * Models that are damaged or made to harm, and bad calls of a good one, in Chromium through the package: each gives what `hostile.json`
 * expects, soon and in little memory, and the next good model runs.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { serve } from '../../benches/web/server.mjs'
import { ASSETS } from './cards.ts'

const ROOT = join(import.meta.dirname, '../..')
const LIBRARY = '/package/index.js'
const SECONDS = 10
const BYTES = 2 ** 30

interface Entry {
  file: string
  expect: string
  inputs: Record<string, { dtype: string; shape: number[]; fill: number }> | null
}

interface Call {
  id: string
  inputs: Record<string, { dtype: string; shape: number[]; fill?: number; elements?: number; values?: string[]; js?: string }>
  expect?: string
}

interface Outcome {
  kind: 'load_error' | 'run_error' | 'ok' | 'loaded'
  error: string
  seconds: number
  /** What the good model gives afterwards. */
  after: string
}

let server: { url: string; close: () => void }
test.beforeAll(async () => {
  server = await serve({
    '/package/': join(ROOT, 'pkg/dist'),
    '/hostile/': join(ASSETS ?? ROOT, 'hostile'),
    '/': join(import.meta.dirname, 'blank'),
  })
})
test.afterAll(() => {
  server.close()
})

/** Loads and runs a file, then a good one. */
async function attempt({ library, entry }: { library: string; entry: Entry }): Promise<Outcome> {
  const { Model, Tensor, NearsideError } = (await import(library)) as typeof Nearside
  const start = performance.now()
  let [kind, error]: [Outcome['kind'], string] = ['load_error', '']
  const quiet = { cache: false, onWarning: () => {} }
  try {
    const model = await Model.load(`/hostile/${entry.file}`, quiet)
    kind = 'run_error'
    try {
      const ARRAYS = { f32: Float32Array, u8: Uint8Array, i32: Int32Array } as const
      const TYPES = { f32: 'float32', u8: 'uint8', i32: 'int32' } as const
      const feeds: Record<string, Nearside.Feed> = {}
      let known = true
      const given = Object.entries(entry.inputs ?? {})
      for (const [name, { dtype, shape, fill }] of given) {
        const data = new ARRAYS[dtype as 'f32'](shape.reduce((a, b) => a * b, 1)).fill(fill)
        feeds[name] = new Tensor(TYPES[dtype as 'f32'], data, shape)
      }
      if (given.length === 0) {
        for (const { name, type, dims } of model.inputs) {
          const count = dims.reduce<number>((n, d) => (typeof d === 'number' ? n * d : NaN), 1)
          known &&= count < 2 ** 20 && type === 'float32'
          if (known) feeds[name] = new Tensor('float32', new Float32Array(count), dims as number[])
        }
      }
      if (known) await model.run(feeds)
      kind = known ? 'ok' : 'loaded'
    } finally {
      model.dispose()
    }
  } catch (thrown) {
    error = `${thrown instanceof NearsideError ? thrown.name : `not typed: ${String(thrown)}`}: ${(thrown as Error).message}`
  }
  const seconds = (performance.now() - start) / 1000
  const good = await Model.load('/hostile/relu_good.onnx', quiet)
  const { y } = await good.run({ x: [-1, 2, -3, 4] })
  good.dispose()
  return { kind, error, seconds, after: String(y?.data) }
}

function isExpected(expected: string, kind: Outcome['kind']): boolean {
  const error = kind === 'load_error' || kind === 'run_error'
  if (expected === 'load_error') return kind === 'load_error'
  if (expected === 'load_or_run_error' || expected === 'hang_or_error') return error
  if (expected === 'ok' || expected === 'ok_special') return kind === 'ok'
  return true
}

/** Most memory that a process of the browser has held. */
function peakBytes(): number {
  const processes = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n')
  const renderers = processes.filter((line) => line.includes('--type=renderer')).map((line) => Number.parseInt(line, 10))
  const peaks = renderers.map((pid) => {
    const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))
    return Number(line?.[1] ?? 0) * 1024
  })
  return Math.max(0, ...peaks)
}

test('hostile files', async ({ page }) => {
  test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
  test.setTimeout(600_000)
  const { models } = JSON.parse(readFileSync(join(ASSETS ?? '', 'hostile/hostile.json'), 'utf8')) as { models: Entry[] }
  await page.goto(`${server.url}/index.html`)
  for (const entry of models) {
    const { kind, error, seconds, after } = await page.evaluate(attempt, { library: LIBRARY, entry })
    const what = `${entry.file} (${entry.expect}): ${kind} ${error}`
    expect.soft(isExpected(entry.expect, kind), what).toBe(true)
    expect.soft(error, entry.file).not.toMatch(/not typed|InternalError/)
    expect.soft(after, `the good model after ${entry.file}`).toBe('0,2,0,4')
    expect.soft(seconds, entry.file).toBeLessThan(SECONDS)
  }
  expect(peakBytes()).toBeLessThan(BYTES)
})

/** Makes a bad call of the good model; gives the error's class, or the result, and what a good call gives afterwards. */
async function call({ library, one }: { library: string; one: Call }): Promise<[string, string]> {
  const { Model, Tensor } = (await import(library)) as typeof Nearside
  const model = await Model.load('/hostile/relu_good.onnx', { cache: false })
  let outcome: string
  try {
    const feeds: Record<string, Nearside.Feed> = {}
    for (const [name, { dtype, shape, fill, elements, values, js }] of Object.entries(one.inputs)) {
      const count = elements ?? shape.reduce((a, b) => a * b, 1)
      const data = dtype === 'i32' ? new Int32Array(count).fill(fill ?? 0) : new Float32Array(count).fill(fill ?? 0)
      values?.forEach((value, i) => (data[i] = Number(value)))
      if (js !== undefined) structuredClone(data.buffer, { transfer: [data.buffer] })
      const plain = { type: dtype === 'i32' ? 'int32' : 'float32', data, dims: shape }
      feeds[name] = js === undefined ? plain : plain
    }
    const { y } = await model.run(feeds)
    outcome = `ok ${String(y?.data)}`
  } catch (error) {
    outcome = (error as Error).name
  }
  const { y } = await model.run({ x: new Tensor('float32', Float32Array.of(1, -1, 2, -2), [1, 4]) })
  model.dispose()
  return [outcome, String(y?.data)]
}

test('bad calls', async ({ page }) => {
  test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
  const { cases } = JSON.parse(readFileSync(join(ASSETS ?? '', 'hostile/runtime_inputs.json'), 'utf8')) as { cases: Call[] }
  await page.goto(`${server.url}/index.html`)
  for (const one of cases) {
    const [outcome, after] = await page.evaluate(call, { library: LIBRARY, one })
    expect.soft(outcome, one.id).toMatch(one.expect === 'ok' ? /^ok / : /^InputError$/)
    expect.soft(after, `the good call after ${one.id}`).toBe('1,0,2,0')
  }
})
