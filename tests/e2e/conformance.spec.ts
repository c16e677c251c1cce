/**
 * ONNX's backend tests in Chromium through the package: whatever passes natively passes in a page, as far as its tensors are of types
 * that JavaScript has arrays for.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { serve } from '../../benches/web/server.mjs'
import { ASSETS } from './cards.ts'
import { draws, type Plain, type PortOf, readPorts, readTensor, widened } from './tensor-proto.ts'

const ROOT = join(import.meta.dirname, '../..')
const PROGRAM = process.env['NEARSIDE_SERVER'] ?? join(ROOT, 'target/release/nearside')
const SETS = ['onnx_node_opset17', 'onnx_simple', 'onnx_pytorch-operator', 'onnx_pytorch-converted', 'fuzz_ops']
/** Cases that cross to the page at once. */
const BATCH = 50
const LIBRARY = '/package/index.js'

interface Case {
  name: string
  /** The model, in base64. */
  onnx: string
  /** It draws random numbers, of which only type and shape can be compared: ONNX fixes no generator. */
  draws: boolean
  /** Outputs whose numbers are bfloat16's. */
  brain: string[]
  sets: { inputs: [string, Plain][]; outputs: [string, Plain][] }[]
}

let server: { url: string; close: () => void }
test.beforeAll(async () => {
  server = await serve({ '/package/': join(ROOT, 'pkg/dist'), '/': join(import.meta.dirname, 'blank') })
})
test.afterAll(() => {
  server.close()
})

/** The cases of a set that pass natively, and the number of those that a page cannot be given. */
function passing(set: string): { cases: Case[]; left: number } {
  const folder = join(ASSETS ?? '', 'conformance', set)
  let report: string
  try {
    report = execFileSync(PROGRAM, ['conformance', '--json', folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 28 }) // prettier-ignore
  } catch (error) {
    // A set of which not all pass ends with another status.
    report = (error as { stdout: string }).stdout
  }
  const all = JSON.parse(report) as { name: string; path: string; status: string }[]
  const passed = all.filter(({ status }) => status === 'pass' || status === 'fallback')
  const cases = passed.flatMap(({ name, path }) => readCase(name, path) ?? [])
  return { cases, left: passed.length - cases.length }
}

function readCase(name: string, path: string): Case | undefined {
  const onnx = readFileSync(join(path, 'model.onnx'))
  const ports = readPorts(onnx)
  const sets: Case['sets'] = []
  for (const data of readdirSync(path).filter((entry) => entry.startsWith('test_data_set_'))) {
    const read = (kind: string, ports: PortOf[]): [string, Plain][] | undefined => {
      const out: [string, Plain][] = []
      for (const [i, { name, brain }] of ports.entries()) {
        const file = join(path, data, `${kind}_${String(i)}.pb`)
        if (!existsSync(file)) break
        const tensor = readTensor(readFileSync(file))
        if (tensor === undefined) return undefined
        out.push([name, brain ? widened(tensor) : tensor])
      }
      return out
    }
    const [inputs, outputs] = [read('input', ports.inputs), read('output', ports.outputs)]
    if (inputs === undefined || outputs === undefined) return undefined
    sets.push({ inputs, outputs })
  }
  const brain = ports.outputs.filter((port) => port.brain).map((port) => port.name)
  return { name, onnx: onnx.toString('base64'), draws: draws(onnx), brain, sets }
}

/** Runs cases in the page's own thread, where the compiler is started once; gives what is wrong, as sentences. */
async function runCases({ library, cases }: { library: string; cases: Case[] }): Promise<string[]> {
  const { Model, Tensor } = (await import(library)) as typeof Nearside
  const ARRAYS = { float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array } // prettier-ignore
  const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
  const array = ({ type, bytes: text }: Plain) => new ARRAYS[type as keyof typeof ARRAYS](bytes(text).buffer)
  const half = (bits: number): number => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
  }
  const numbers = (type: string, data: ArrayLike<number | bigint>): number[] =>
    Array.from(data, (v) => (type === 'float16' ? half(Number(v)) : Number(v)))
  const wrong: string[] = []
  for (const { name, onnx, draws, brain, sets } of cases) {
    let model: Nearside.Model | undefined
    try {
      model = await Model.load(bytes(onnx), { worker: false, cache: false, onWarning: () => {} })
      for (const { inputs, outputs } of sets) {
        const feeds: Record<string, Nearside.Feed> = {}
        for (const [port, plain] of inputs) {
          if (!model.inputs.some((input) => input.name === port)) continue
          feeds[port] = new Tensor(plain.type as 'float32', array(plain) as Float32Array<ArrayBuffer>, plain.dims)
        }
        const results = await model.run(feeds)
        for (const [port, plain] of outputs) {
          const tensor = results[port]
          if (tensor?.dims.join() !== plain.dims.join() || tensor.type !== plain.type) {
            wrong.push(`${name}: '${port}' is ${tensor?.type} [${tensor?.dims.join()}], not ${plain.type} [${plain.dims.join()}]`)
            continue
          }
          const [got, wanted] = [numbers(tensor.type, tensor.data as Float32Array), numbers(plain.type, array(plain))]
          const largest = wanted.reduce((a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a), 0)
          if (draws) continue
          const each = brain.includes(port) ? 2 ** -6 : plain.type === 'float16' ? 2 ** -9 : 1e-3
          // As the native tool, which names the source of these bounds.
          const exact = !plain.type.startsWith('float')
          const bad = wanted.findIndex((want, i) => {
            const value = got[i] ?? NaN
            if (Object.is(value, want) || value === want || (Number.isNaN(want) && Number.isNaN(value))) return false
            return exact || !(Math.abs(value - want) <= 1e-7 + each * Math.abs(want) + 1e-4 * largest)
          })
          if (bad >= 0) wrong.push(`${name}: '${port}' has ${String(got[bad])} for ${String(wanted[bad])} at ${String(bad)}`)
        }
      }
    } catch (error) {
      wrong.push(`${name}: ${String(error)}`)
    } finally {
      model?.dispose()
    }
  }
  return wrong
}

for (const set of SETS) {
  test(set, async ({ page }) => {
    test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
    test.setTimeout(600_000)
    const { cases, left } = passing(set)
    console.log(`${set}: ${String(cases.length)} cases, ${String(left)} with types that a page cannot be given`)
    const wrong: string[] = []
    for (let at = 0; at < cases.length; at += BATCH) {
      await page.goto(`${server.url}/index.html`)
      wrong.push(...(await page.evaluate(runCases, { library: LIBRARY, cases: cases.slice(at, at + BATCH) })))
    }
    expect(wrong).toEqual([])
  })
}
