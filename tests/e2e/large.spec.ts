/** A model of more than 200 MB in a page: compiled there, kept, loaded again, and never held twice. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test, type Page } from '@playwright/test'
import type * as Nearside from 'nearside'

import { type Handler, serve } from '../../benches/web/server.mjs'

const ROOT = join(import.meta.dirname, '../..')
const MB = 1 << 20

/** The weights: how many, rows, columns. */
const [COUNT, K, N] = [12, 7168, 640]
const WEIGHT_BYTES = COUNT * K * N * 4

/** Element of the n-th weight; all are multiples of 1/64, so that sums of products with small integers are exact. */
const weight = (n: number, i: number): number => (((i + n) % 127) - 63) / 64
const input = (i: number): number => (i % 7) - 3

/** `y₀ = x · w₀, y₁ = x · w₁, …`, as an ONNX file (protobuf; field numbers from onnx.proto). */
function largeModel(): Buffer {
  const varint = (value: number): number[] => (value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))])
  const number = (field: number, value: number): Buffer => Buffer.from([...varint(field * 8), ...varint(value)])
  const bytes = (field: number, ...content: Buffer[]): Buffer => {
    const length = content.reduce((sum, { length }) => sum + length, 0)
    return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(length)]), ...content])
  }
  const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value))
  const float = number(1, 1)
  const value = (field: number, name: string, length: number): Buffer => {
    const dims = [1, length].map((dim) => bytes(1, number(1, dim)))
    return bytes(field, text(1, name), bytes(2, bytes(1, float, bytes(2, ...dims))))
  }
  const each = (part: (n: number) => Buffer): Buffer[] => Array.from({ length: COUNT }, (_, n) => part(n))
  const node = (n: number): Buffer =>
    bytes(1, text(1, 'x'), text(1, `w${n}`), text(2, `y${n}`), text(3, `p${n}`), text(4, 'MatMul'))
  const constant = (n: number): Buffer => {
    const data = Buffer.from(Float32Array.from({ length: K * N }, (_, i) => weight(n, i)).buffer)
    return bytes(5, number(1, K), number(1, N), number(2, 1), text(8, `w${n}`), bytes(9, data))
  }
  const ports = [value(11, 'x', K), ...each((n) => value(12, `y${n}`, N))]
  const graph = bytes(7, ...each(node), text(2, 'large'), ...each(constant), ...ports)
  return Buffer.concat([number(1, 8), graph, bytes(8, text(1, ''), number(2, 17))])
}

/** The first results of the last product. */
function expected(count: number): number[] {
  return Array.from({ length: count }, (_, column) => {
    let sum = 0
    for (let row = 0; row < K; row += 1) sum += input(row) * weight(COUNT - 1, row * N + column)
    return sum
  })
}

/** The most memory that any process of this browser's pages has had at once, in bytes. */
async function peak(page: Page): Promise<number> {
  const devtools = await page.context().browser()?.newBrowserCDPSession()
  const { processInfo } = (await devtools?.send('SystemInfo.getProcessInfo')) ?? { processInfo: [] }
  const peaks = processInfo
    .filter(({ type }) => type === 'renderer')
    .map(({ id }) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1]) * 1024)
  return Math.max(...peaks)
}

test('a model of 210 MB is compiled, kept and loaded without being held twice', async ({ page }) => {
  const model = largeModel()
  const file: Handler = (request, response) => {
    if (request.url !== '/large.onnx') return false
    response.removeHeader('Cache-Control')
    response.writeHead(200, { 'Content-Length': model.length, ETag: '"large"' }).end(model)
    return true
  }
  const server = await serve({ '/package/': join(ROOT, 'pkg/dist'), '/': join(import.meta.dirname, 'blank') }, file)
  try {
    await page.goto(server.url)
    const idle = await peak(page)
    const visit = () =>
      page.evaluate(
        async ([library, length, last]) => {
          const { Model } = (await import(library)) as typeof Nearside
          const fractions: number[] = []
          const model = await Model.load('/large.onnx', { onProgress: ({ fraction }) => fractions.push(fraction) })
          const outputs = await model.run(Float32Array.from({ length }, (_, i) => (i % 7) - 3))
          const { wasm } = await model.memory()
          const first = Array.from(outputs[last]?.data as Float32Array).slice(0, 64)
          const { cached, total } = model.timings
          model.dispose()
          // The plan and the index.
          const cache = await caches.open('nearside-models')
          for (let i = 0; i < 200 && (await cache.keys()).length !== 2; i += 1) await new Promise((go) => setTimeout(go, 50))
          return { wasm, first, cached, total, steps: fractions.length }
        },
        ['/package/index.js', K, `y${COUNT - 1}`] as const,
      )
    const first = await visit()
    const compiling = await peak(page)
    const second = await visit()
    console.log(
      `${(WEIGHT_BYTES / MB).toFixed(0)} MB: first ${first.total.toFixed(0)} ms, from the cache ${second.total.toFixed(0)} ms,`,
      `wasm ${(second.wasm / MB).toFixed(0)} MB, peak ${((compiling - idle) / MB).toFixed(0)} MB`,
    )
    for (const { first: scores } of [first, second]) expect(scores).toEqual(expected(64))
    expect([first.cached, second.cached]).toEqual([false, true])
    expect(first.steps).toBeGreaterThan(20)
    // Beside all weights there is room for some that are being packed, until those before them gave theirs back.
    for (const { wasm } of [first, second]) expect(wasm).toBeLessThan(WEIGHT_BYTES * (1 + 4 / COUNT))
    // The compiler takes about 100 MB for itself, and what crosses between it, the network and the cache lies in pieces of at most 16 MB.
    expect(compiling - idle).toBeLessThan(2 * WEIGHT_BYTES + 128 * MB)
  } finally {
    server.close()
  }
})
