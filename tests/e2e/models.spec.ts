/** Real models from raw ONNX to outputs in a real browser, through the package as it is published, against references. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Entry, entries } from '../../benches/web/catalog.mjs'
import { serve } from '../../benches/web/server.mjs'

const ROOT = join(import.meta.dirname, '../..')
const ASSETS = [process.env['NEARSIDE_ASSETS'], join(ROOT, '../shared/assets'), join(ROOT, '../../shared/assets')].find(
  (folder) => folder !== undefined && existsSync(join(folder, 'real')),
)

const MODELS = ['mnist_cntk', 'mobilenet_v2_imagenet', 'squeezenet_imagenet', 'mlp_tabular', 'all_minilm_l6_v2']

/** How an output compares with its reference. */
interface Comparison {
  output: string
  worst: number
  largest: number
  slack: number
  sameClass: boolean
}

const folders = { assets: ASSETS ?? '', models: join(ROOT, 'models') }
const models = ASSETS === undefined ? ['digits'] : [...MODELS, 'digits']
let server: { url: string; close: () => void }

test.beforeAll(async () => {
  server = await serve({
    '/package/': join(ROOT, 'pkg/dist'),
    '/assets/': folders.assets,
    '/models/': folders.models,
    '/': join(import.meta.dirname, 'blank'),
  })
})
test.afterAll(() => {
  server.close()
})

/** Loads the model in the page, in a Worker as by default, runs every case and compares there. */
async function compare({ library, cases }: { library: string; cases: Entry[] }): Promise<Comparison[]> {
  const { Model, Tensor } = (await import(library)) as typeof Nearside
  const TYPES = { f32: 'float32', i64: 'int64' } as const
  const read = async (url: string, dtype: string) => {
    const bytes = await (await fetch(url)).arrayBuffer()
    return dtype === 'i64' ? new BigInt64Array(bytes) : new Float32Array(bytes)
  }
  const top = (values: ArrayLike<number>, from: number, count: number) => {
    let best = from
    for (let i = from; i < from + count; i++) if ((values[i] ?? NaN) > (values[best] ?? NaN)) best = i
    return best
  }

  const results: Comparison[] = []
  const model = await Model.load(new URL(cases[0]?.url ?? '', location.href), { cache: false })
  if (model.engine.fallbackOperators.length > 0) throw new Error(`fallback for ${model.engine.fallbackOperators.join(', ')}`)
  for (const { inputs, expect: expected } of cases) {
    const feeds: Record<string, InstanceType<typeof Tensor>> = {}
    for (const { name, dtype, dims, url } of inputs) {
      const type = TYPES[dtype as keyof typeof TYPES]
      feeds[name] = new Tensor(type, await read(url, dtype), dims)
    }
    const outputs = await model.run(feeds)
    for (const { name, dims, dtype, url, stride, slack } of expected) {
      const reference = (await read(url, dtype)) as Float32Array
      const actual = outputs[name]
      if (actual === undefined) throw new Error(`no output '${name}'`)
      if (actual.dims.join() !== dims.join()) throw new Error(`'${name}' is [${actual.dims.join()}], not [${dims.join()}]`)
      const data = actual.data as Float32Array
      let [worst, largest] = [0, 0]
      for (const [i, wanted] of reference.entries()) {
        worst = Math.max(worst, Math.abs((data[i * stride] ?? NaN) - wanted))
        largest = Math.max(largest, Math.abs(wanted))
      }
      const batch = dims[0] ?? 1
      const classes = reference.length / batch
      let sameClass = true
      for (let row = 0; row < batch; row++) {
        sameClass &&= top(data, row * classes, classes) === top(reference, row * classes, classes)
      }
      results.push({ output: name, worst, largest, slack, sameClass })
    }
  }
  model.dispose()
  return results
}

for (const name of models) {
  // Half precision is not among what must work.
  const all = entries(name, folders).filter(({ variant }) => variant !== 'f16')
  for (const variant of new Set(all.map((entry) => entry.variant))) {
    const cases = all.filter((entry) => entry.variant === variant)
    test(`${name} ${variant}`, async ({ page }) => {
      await page.goto(`${server.url}/index.html`)
      const results = await page.evaluate(compare, { library: '/package/index.js', cases })
      expect(results.length).toBeGreaterThan(0)
      for (const { output, worst, largest, slack, sameClass } of results) {
        const tolerance = variant === 'f32' || variant === 'orig' ? 1e-4 * largest : Math.max(2 * slack, 0.02 * largest)
        expect(worst, `${output}, largest reference ${String(largest)}`).toBeLessThanOrEqual(tolerance)
        if (cases[0]?.classifier === true) expect(sameClass, `top class of ${output}`).toBe(true)
      }
    })
  }
}

test('models of the assets', () => {
  test.skip(ASSETS === undefined, 'the folder of test models is missing (set NEARSIDE_ASSETS)')
})
