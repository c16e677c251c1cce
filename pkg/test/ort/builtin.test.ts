/** The small graphs of transformers.js, against onnxruntime-web's results for the same graphs. */

import { readFileSync } from 'node:fs'
import * as theirs from 'onnxruntime-web'
import { beforeAll, describe, expect, it } from 'vitest'
import * as ours from '../../ts/ort/index.js'

/** The graphs, as the source keys them; their order is that of the table. */
const source = readFileSync(new URL('../../ts/ort/builtin.ts', import.meta.url), 'utf8')
const models = [...source.matchAll(/^ {2}'?([A-Za-z0-9+/=]{60,})'?:/gm)].map(
  ([, text]) => new Uint8Array(Buffer.from(text ?? '', 'base64')),
)
const NAMES = ['nearest', 'linear', 'cubic', 'matmul', 'stft', 'rfft', 'topK', 'slice'] as const
type Name = (typeof NAMES)[number]

let seed = 1
function random(length: number): Float32Array {
  return Float32Array.from({ length }, () => (seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5)
}
const float = (...dims: number[]): ours.Tensor => new ours.Tensor(random(dims.reduce((n, d) => n * d, 1)), dims)
const int = (...values: number[]): ours.Tensor => new ours.Tensor('int64', values)
const scalar = (value: number): ours.Tensor => new ours.Tensor('int64', [value], [])

const cases: [Name, { readonly [name: string]: ours.Tensor }][] = [
  ...(['nearest', 'linear', 'cubic'] as const).flatMap((name) =>
    [
      [7, 9],
      [3, 2],
      [5, 6],
      [20, 1],
    ].map((size): [Name, { readonly [name: string]: ours.Tensor }] => [name, { x: float(2, 3, 5, 6), s: int(2, 3, ...size) }]),
  ),
  ['matmul', { a: float(3, 4), b: float(4, 5) }],
  ['matmul', { a: float(2, 1, 3, 4), b: float(5, 4, 2) }],
  ['matmul', { a: float(4), b: float(2, 4, 3) }],
  ['matmul', { a: float(2, 3, 4), b: float(4) }],
  ['matmul', { a: float(4), b: float(4) }],
  ['stft', { s: float(2, 50, 1), j: scalar(7), w: float(16), l: scalar(16) }],
  ['stft', { s: float(1, 33, 1), j: scalar(3), w: float(9), l: scalar(9) }],
  ['rfft', { x: float(3, 24, 1), a: scalar(1) }],
  ['rfft', { x: float(3, 7, 1), a: scalar(-2) }],
  ['topK', { x: float(40), k: int(7) }],
  ['topK', { x: new ours.Tensor(Float32Array.of(1, 3, 3, 2, 3, 1), [2, 3]), k: int(3) }],
  ['slice', { x: float(5, 6), s: int(1, -4), e: int(4, 100), a: int(0, 1), t: int(2, 1) }],
  ['slice', { x: float(5, 6), s: int(100), e: int(-100), a: int(-1), t: int(-2) }],
  ['slice', { x: float(5), s: int(3), e: int(1), a: int(0), t: int(1) }],
]

describe('the graphs of transformers.js', () => {
  beforeAll(() => {
    theirs.env.logLevel = 'error'
    expect(models).toHaveLength(NAMES.length)
  })

  it.each(cases)('%s %#', async (name, feeds) => {
    const model = models[NAMES.indexOf(name)] ?? expect.unreachable()
    const session = await ours.InferenceSession.create(model)
    const reference = await theirs.InferenceSession.create(model)
    expect(session.inputNames).toEqual(reference.inputNames)
    expect(session.outputNames).toEqual(reference.outputNames)
    expect(session.inputMetadata.map((port) => ('type' in port ? port.type : ''))).toEqual(
      reference.inputMetadata.map((port) => ('type' in port ? port.type : '')),
    )
    const outputs = await session.run(feeds)
    const expected = await reference.run(
      Object.fromEntries(Object.entries(feeds).map(([key, t]) => [key, new theirs.Tensor(t.type, t.data, t.dims)])),
    )
    for (const [key, { type, dims, data }] of Object.entries(expected)) {
      expect(outputs[key]).toBeInstanceOf(ours.Tensor)
      expect([outputs[key]?.type, outputs[key]?.dims]).toEqual([type, dims])
      const own = Array.from(outputs[key]?.data as Float32Array, Number)
      // Sums of up to 50 products of numbers below 1, in another order: 50 roundings of 2^-24 each.
      own.forEach((value, i) => expect(Math.abs(value - Number(data[i]))).toBeLessThanOrEqual(50 * 2 ** -24 * 4))
    }
    await session.release()
    await reference.release()
    await expect(session.run(feeds)).rejects.toThrow('The session was released; create it again to use it.')
  })

  it.each<[Name, { readonly [name: string]: ours.Tensor }, RegExp]>([
    ['linear', { x: float(2, 2), s: int(1, 2, 3) }, /Resize: \[2, 2\] cannot become \[1, 2, 3\]/],
    ['matmul', { a: float(2, 3), b: float(2, 3) }, /MatMul: \[2, 3\] and \[2, 3\] do not fit together/],
    ['topK', { x: float(3), k: int(4) }, /TopK: k is 4, the last axis of \[3\] has 3 elements/],
    ['slice', { x: float(3), s: int(0), e: int(1), a: int(1), t: int(1) }, /Slice: axis 1 is not among the 1/],
    ['slice', { x: float(3), s: int(0), e: int(1), a: int(0), t: int(0) }, /Slice: a step is 0/],
    ['stft', { s: float(1, 3, 1), j: scalar(1), w: float(4), l: scalar(4) }, /STFT: .* do not fit together/],
    ['rfft', { x: float(3, 4, 1), a: scalar(2) }, /DFT: the last axis/],
    ['matmul', { a: int(1), b: float(1) }, /Input 'a' takes float32, a int64 tensor was given/],
  ])('%s says what does not fit', async (name, feeds, message) => {
    const session = await ours.InferenceSession.create(models[NAMES.indexOf(name)] ?? expect.unreachable())
    await expect(session.run(feeds)).rejects.toThrow(message)
  })

  it('write into tensors that are prepared', async () => {
    const session = await ours.InferenceSession.create(models[NAMES.indexOf('topK')] ?? expect.unreachable())
    const feeds = { x: new ours.Tensor(Float32Array.of(1, 3, 2)), k: int(2) }
    const v = new ours.Tensor(new Float32Array(2))
    expect((await session.run(feeds, { v }))['v']).toBe(v)
    expect(v.data).toEqual(Float32Array.of(3, 2))
    await expect(session.run(feeds, { v: new ours.Tensor(new Float32Array(1)) })).rejects.toThrow(
      "The tensor given for output 'v' is float32 [1], the result float32 [2]; prepare one of that type and shape.",
    )
  })
})
