/** The built package: real WebAssembly, real ONNX, in the calling thread and in a Worker. Needs `cargo xtask build`. */

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type * as Package from '../ts/index.js'
import type { LoadOptions, Progress } from '../ts/types.js'
import { failure } from './failure.js'
import { type Dims, encodeOnnx, RESHAPED } from './onnx.js'
import { serve, type TestServer } from './server.js'
import { alive, WorkerShim } from './worker-shim.js'

const dist = new URL('../dist/', import.meta.url)
const file = (name: string): Buffer => readFileSync(new URL(name, dist))

if (!existsSync(new URL('index.js', dist)) || !existsSync(new URL('wasm/compiler.wasm', dist))) {
  throw new Error('The package is not built: run `cargo xtask build` first.')
}
const nearside = (await import(new URL('index.js', dist).href)) as typeof Package
const { Model, Tensor } = nearside

/** `y = relu(x + [1, 2, 3])`. */
const SUM = encodeOnnx({
  inputs: { x: ['batch', 3] },
  outputs: { y: ['batch', 3] },
  constants: { c: [1, 2, 3] },
  nodes: [
    { op: 'Add', inputs: ['x', 'c'], outputs: ['s'] },
    { op: 'Relu', inputs: ['s'], outputs: ['y'] },
  ],
})

/** `y = x + w`, where w is in a file of its own, with something before it. */
const SPLIT = encodeOnnx({
  inputs: { x: [3] },
  outputs: { y: [3] },
  constants: { w: { dims: [3], location: 'data/w.bin', offset: 64, length: 12 } },
  nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
})
const WEIGHTS = new Uint8Array([...new Uint8Array(64), ...new Uint8Array(Float32Array.of(1, 2, 3).buffer)])

const unary = (op: string, dims: Dims): Uint8Array<ArrayBuffer> =>
  encodeOnnx({ inputs: { x: dims }, outputs: { y: dims }, nodes: [{ op, inputs: ['x'], outputs: ['y'] }] })

/** Cache Storage that lives for one test. */
class FakeCaches {
  readonly entries = new Map<string, ArrayBuffer>()

  /** What is kept beside the index. */
  get plans(): Map<string, ArrayBuffer> {
    return new Map([...this.entries].filter(([url]) => !url.endsWith('/index')))
  }

  open(): Promise<unknown> {
    return Promise.resolve({
      match: (url: string) => Promise.resolve(this.entries.has(url) ? new Response(this.entries.get(url)) : undefined),
      put: async (url: string, response: Response) => void this.entries.set(url, await response.arrayBuffer()),
      keys: () => Promise.resolve([...this.entries.keys()].map((url) => new Request(url))),
      delete: (key: string | Request) => Promise.resolve(this.entries.delete(typeof key === 'string' ? key : key.url)),
    })
  }
}

let server: TestServer
let requests: string[]
let fakeCaches: FakeCaches

beforeAll(async () => {
  const wasm = (name: string): [string, Buffer] => [`/wasm/${name}`, file(`wasm/${name}`)]
  const files = new Map([
    wasm('core.simd.wasm'),
    wasm('compiler.wasm'),
    ['/sum.onnx', Buffer.from(SUM)],
    ['/split/split.onnx', Buffer.from(SPLIT)],
    ['/split/data/w.bin', Buffer.from(WEIGHTS)],
  ] as const)
  server = await serve((request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const body = files.get(path)
    if (path.startsWith('/hang')) return
    if (path.startsWith('/html')) return void response.setHeader('content-type', 'text/html').end('<!doctype html>')
    if (body === undefined) return void response.writeHead(404).end()
    const type = path.endsWith('.wasm') ? 'application/wasm' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body)
  })
  vi.stubGlobal('Worker', WorkerShim)
})
afterAll(() => server.close())

beforeEach(() => {
  requests = []
  fakeCaches = new FakeCaches()
  vi.stubGlobal('caches', fakeCaches)
})
afterEach(async () => {
  // Nothing leaks: every test disposes its models, and no Worker outlives them.
  await vi.waitFor(() => expect(alive.size).toBe(0))
})

const options = (more: LoadOptions = {}): LoadOptions => ({
  wasmBase: `${server.url}/wasm`,
  onWarning: (message) => expect.unreachable(message),
  ...more,
})
const load = (more: LoadOptions = {}, source: Package.ModelSource = `${server.url}/sum.onnx`): Promise<Package.Model> =>
  Model.load(source, options(more))

describe.each([
  ['in a Worker', true],
  ['in the calling thread', false],
])('a model %s', (_, worker) => {
  async function expectWorks(model: Package.Model): Promise<void> {
    const { y } = await model.run({ x: new Float32Array([0, -5, 1]) })
    expect(y).toMatchObject({ type: 'float32', dims: [1, 3], data: Float32Array.of(1, 0, 4) })
    expect(y).toBeInstanceOf(Tensor)
  }

  it('compiles ONNX, runs, and tells what it took', async () => {
    const seen: Progress[] = []
    using model = await load({ worker, onProgress: (progress) => seen.push(progress) })
    expect(model.inputs).toEqual([{ name: 'x', type: 'float32', dims: ['batch', 3] }])
    expect(model.outputs).toMatchObject([{ name: 'y', type: 'float32' }])
    expect(model.engine).toEqual({ variant: 'simd', worker, threads: 1, integerPath: 'i16 dot', fallbackOperators: [] })
    await expectWorks(model)
    const { timings } = model
    for (const step of ['download', 'instantiate', 'compileModel', 'bind', 'firstRun'] as const)
      expect(timings[step]).toBeGreaterThanOrEqual(0)
    expect(timings.total).toBeGreaterThan(0)
    expect(timings.cached).toBe(false)
    const starts = timings.spans.map((span) => span.start)
    expect(starts).toEqual([...starts].sort((a, b) => a - b))
    const fractions = seen.map((progress) => progress.fraction)
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
    expect(new Set(seen.map((progress) => progress.phase))).toEqual(new Set(['download', 'compile', 'bind', 'ready']))
    expect(fractions.at(-1)).toBe(1)
    expect(await model.memory()).toMatchObject({ wasm: expect.any(Number) as number, activations: expect.any(Number) as number })
  })

  it('tells what each node takes', async () => {
    using model = await load({ worker })
    const nodes = await model.profile({ x: new Float32Array(6) }, { runs: 3 })
    expect(nodes.length).toBeGreaterThan(0)
    for (const node of nodes) {
      expect(node).toMatchObject({ name: expect.any(String) as string, op: expect.any(String) as string, dims: [2, 3] })
      expect(node.mean).toBeGreaterThanOrEqual(node.min)
      expect(node.bytes).toBeGreaterThanOrEqual(48)
    }
    await expect(model.profile({ x: new Float32Array(3) }, { runs: 0 })).rejects.toThrow(
      'The option runs is 0; give a whole number from 1 on.',
    )
    await expectWorks(model)
  })

  it('explains what runs where, and of what each node was made', async () => {
    const messages: string[] = []
    using model = await load({ worker, logger: { info: (message) => messages.push(message) } })
    const explanation = await model.explain()
    expect(explanation).toMatchObject({ executor: 'runtime', fallbackOperators: [], notes: [] })
    expect(explanation.producer).toMatch(/^nearside \d/)
    expect(explanation.sourceSha256).toBe(createHash('sha256').update(SUM).digest('hex'))
    expect(explanation.nodes).toEqual([
      {
        ...{ name: 'the Add', op: 'Add', type: 'float32', dims: ['batch', 3] },
        fused: [
          { op: 'Add', name: 'the Add' },
          { op: 'Relu', name: 'the Relu' },
        ],
      },
    ])
    const [node] = await model.profile({ x: new Float32Array(6) })
    expect(node?.fused).toEqual(explanation.nodes[0]?.fused)
    // The plan can be taken along, and is the same model.
    using kept = await load({ worker }, explanation.plan)
    await expectWorks(kept)
    expect(messages).toEqual([expect.stringMatching(/sum\.onnx' is ready after \d+ ms \(simd binary, i16 dot, in /)])
  })

  it('takes its plan from the cache, without the compiler', async () => {
    ;(await load({ worker })).dispose()
    await vi.waitFor(() => expect(fakeCaches.plans.size).toBe(1))
    requests = []
    using model = await load({ worker })
    expect(model.timings.cached).toBe(true)
    expect(model.timings.compileModel).toBeUndefined()
    expect(requests).toEqual(['/sum.onnx'])
    await expectWorks(model)
  })

  it('leaves the cache alone when told', async () => {
    ;(await load({ worker })).dispose()
    await vi.waitFor(() => expect(fakeCaches.plans.size).toBe(1))
    using model = await load({ worker, cache: false })
    expect(model.timings.cached).toBe(false)
    fakeCaches.entries.clear()
    ;(await load({ worker, cache: false })).dispose()
    expect(fakeCaches.plans.size).toBe(0)
  })

  it('loads the plan file itself, from bytes that stay usable', async () => {
    ;(await load({ worker })).dispose()
    await vi.waitFor(() => expect(fakeCaches.plans.size).toBe(1))
    const plan = new Uint8Array([...fakeCaches.plans.values()][0] as ArrayBuffer)
    fakeCaches.entries.clear()
    for (const source of [plan, plan.buffer, new Blob([plan])]) {
      using model = await load({ worker }, source)
      await expectWorks(model)
    }
    expect(plan.length).toBeGreaterThan(0)
    const cut = await failure(load({ worker }, plan.slice(0, -1)))
    expect(cut).toBeInstanceOf(nearside.PlanError)
    expect(cut.message).toMatch(/The plan is truncated/)
    const flipped = plan.slice()
    flipped[100] = (flipped[100] ?? 0) ^ 1
    expect((await failure(load({ worker }, flipped))).message).toMatch(
      /The plan is damaged: its checksum does not match; download it/,
    )
  })

  it('drops a broken entry of the cache and compiles again', async () => {
    ;(await load({ worker })).dispose()
    await vi.waitFor(() => expect(fakeCaches.plans.size).toBe(1))
    const [[key, good] = []] = fakeCaches.plans
    if (key === undefined || good === undefined) expect.unreachable()
    fakeCaches.entries.set(key, good.slice(0, 100))
    using model = await load({ worker })
    expect(model.timings.cached).toBe(false)
    await expectWorks(model)
    await vi.waitFor(() => expect(fakeCaches.entries.get(key)).toEqual(good))
  })

  it('checks integrity, and knows the cached plan by it without a download', async () => {
    const integrity = `sha256-${createHash('sha256').update(SUM).digest('base64')}`
    const wrong = await failure(load({ worker, integrity: integrity.replace(/.=$/, 'A=') }))
    expect(wrong).toBeInstanceOf(nearside.IntegrityError)
    ;(await load({ worker, integrity })).dispose()
    await vi.waitFor(() => expect(fakeCaches.plans.size).toBe(1))
    requests = []
    using model = await load({ worker, integrity })
    expect(requests).toEqual([])
    await expectWorks(model)
  })

  it('computes digests where crypto.subtle is missing', async () => {
    const integrity = createHash('sha256').update(SUM).digest('hex')
    vi.stubGlobal('crypto', {})
    try {
      using model = await load({ worker, integrity })
      await expectWorks(model)
      expect(await failure(load({ worker, integrity: '0'.repeat(64) }))).toBeInstanceOf(nearside.IntegrityError)
    } finally {
      vi.stubGlobal('crypto', globalThis.process.getBuiltinModule('node:crypto').webcrypto)
    }
  })

  it.each<[string, Package.ModelSource, string, RegExp]>([
    [
      'text',
      new TextEncoder().encode('this is no model'),
      'ModelFormatError',
      /The given model is neither an ONNX model nor a compiled plan/,
    ],
    ['nothing', new Uint8Array(0), 'ModelFormatError', /is empty/],
    ['a cut-off model', SUM.slice(0, SUM.length - 40), 'ModelFormatError', /./],
    [
      'noise after a good start',
      Uint8Array.from([0x08, 0x08, 0x3a, 0x7f, ...new Array<number>(40).fill(0xff)]),
      'ModelFormatError',
      /./,
    ],
    ['an operator that nobody knows', unary('Frobnicate', [2, 2]), 'UnsupportedError', /Frobnicate/],
  ])('%s is a typed error, and the next good load works', async (__, source, name, message) => {
    const error = await failure(load({ worker }, source))
    expect(error).toMatchObject({ name })
    expect(error).toBeInstanceOf(nearside.NearsideError)
    expect(error.message).toMatch(message)
    expect(error.message).toMatch(/^[A-Z'].*\.$/s)
    using model = await load({ worker })
    await expectWorks(model)
  })

  it('names a missing file, a page, and a server that hangs', async () => {
    const expected = [
      ['/nothing.onnx', 'status'],
      ['/html.onnx', 'html'],
      ['/hang.onnx', 'timeout'],
    ] as const
    for (const [path, reason] of expected) {
      const error = await failure(load({ worker, timeout: 300 }, server.url + path))
      expect(error).toMatchObject({ name: 'NetworkError', reason, url: server.url + path })
    }
  })

  it('rejects bad inputs and goes on', async () => {
    using model = await load({ worker })
    const bad: [Package.Feeds, RegExp][] = [
      [{}, /Input 'x' is missing: give a float32 tensor of shape batch×3\./],
      [{ x: new Float32Array(3), z: 1 }, /no input 'z'/],
      [{ x: new Tensor('float32', new Float32Array(4), [1, 4]) }, /has shape 1×4, the model takes batch×3/],
      [{ x: new Int32Array(3) }, /takes float32, an Int32Array was given/],
      [{ x: new Float32Array(4) }, /a multiple of 3 elements\), 4 were given/],
    ]
    for (const [feeds, message] of bad) {
      const error = await failure(model.run(feeds))
      expect(error).toBeInstanceOf(nearside.InputError)
      expect(error.message).toMatch(message)
      await expectWorks(model)
    }
    const { y } = await model.run([Number.NaN, Number.POSITIVE_INFINITY, 0])
    expect(y?.data[1]).toBe(Number.POSITIVE_INFINITY)
    await expectWorks(model)
  })

  it('names options of the wrong type, and arrays that were given away', async () => {
    const wrong = (options: object): LoadOptions => options
    for (const [given, message] of [
      [{ signal: {} }, /The option signal is an object/],
      [{ onProgress: 5 }, /The option onProgress is 5; give a function\./],
      [{ integrity: 5 }, /The option integrity is 5; give 'sha256-'/],
      [{ variant: 'x' }, /The option variant is 'x'/],
      [{ limits: 5 }, /The option limits is 5; give an object\./],
      [{ limits: { nodes: 'many' } }, /limits\.nodes is 'many'/],
    ] as const) {
      const error = await failure(load({ worker, ...wrong(given) }))
      expect(error).toBeInstanceOf(nearside.InputError)
      expect(error.message).toMatch(message)
    }
    expect((await failure(nearside.Model.load(SUM, null as unknown as LoadOptions))).message).toMatch(/^The options are null/)
    for (const source of [null, undefined, 5])
      expect(await failure(nearside.Model.load(source as unknown as string, options({ worker })))).toBeInstanceOf(
        nearside.InputError,
      )
    const given = SUM.slice()
    const { buffer } = given
    structuredClone(buffer, { transfer: [buffer] })
    for (const source of [given, buffer]) {
      const error = await failure(load({ worker }, source))
      expect(error).toBeInstanceOf(nearside.ModelFormatError)
      expect(error.message).toMatch(/is empty; .*a copy, if its buffer was transferred/)
    }

    using model = await load({ worker })
    for (const [given, message] of [
      [null, /^The options are null/],
      [{ signal: {} }, /^The option signal is an object/],
      [{ onTiming: 5 }, /^The option onTiming is 5/],
    ] as const) {
      const error = await failure(model.run([1, 2, 3], given as unknown as Package.RunOptions))
      expect(error).toBeInstanceOf(nearside.InputError)
      expect(error.message).toMatch(message)
      await expectWorks(model)
    }
    const [bare, tensor] = [Float32Array.of(1, 2, 3), new Tensor('float32', [1, 2, 3], [1, 3])]
    for (const array of [bare, tensor.data]) structuredClone(array.buffer, { transfer: [array.buffer] })
    for (const feed of [bare, tensor]) {
      const error = await failure(model.run({ x: feed }))
      expect(error).toEqual(new nearside.InputError("Input 'x' is detached: its buffer was transferred; give a copy."))
      await expectWorks(model)
    }
    const failed = new TypeError('the caller’s own')
    const onTiming = (): never => {
      throw failed
    }
    expect(await failure(model.run([1, 2, 3], { onTiming }))).toBe(failed)
  })

  it('needs WebAssembly SIMD', async () => {
    const validate = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false)
    const error = await failure(load({ worker }))
    validate.mockRestore()
    expect(error).toBeInstanceOf(nearside.UnsupportedError)
    expect(error.message).toMatch(/no WebAssembly SIMD, which Nearside needs; update it/)
    using model = await load({ worker })
    await expectWorks(model)
  })

  it('runs calls in order, and copies inputs at once', async () => {
    using model = await load({ worker })
    const input = new Float32Array(3)
    const calls = Array.from({ length: 20 }, (__, n) => model.run(input.fill(n)))
    const results = await Promise.all(calls)
    expect(results.map(({ y }) => y?.data[0])).toEqual(Array.from({ length: 20 }, (__, n) => n + 1))
  })

  it('notes a conversion once', async () => {
    const warnings: string[] = []
    using model = await load({ worker, onWarning: (message) => warnings.push(message) })
    for (let n = 0; n < 3; n++) await model.run(Float64Array.of(0, 0, 0))
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('takes float32; the Float64Array')
  })

  it('aborts in every phase, and the next load works', async () => {
    for (const phase of ['download', 'compile', 'bind'] as const) {
      const controller = new AbortController()
      const reason = new Error(`stop at ${phase}`)
      const onProgress = (progress: Progress): void => {
        if (progress.phase === phase) controller.abort(reason)
      }
      expect(await failure(load({ worker, cache: false, signal: controller.signal, onProgress }))).toBe(reason)
    }
    expect(await failure(load({ worker, signal: AbortSignal.abort() }))).toMatchObject({ name: 'AbortError' })
    using model = await load({ worker })
    await expectWorks(model)
    expect(await failure(model.run([1, 2, 3], { signal: AbortSignal.abort() }))).toMatchObject({ name: 'AbortError' })
    await expectWorks(model)
  })

  it('refuses to run after dispose', async () => {
    const model = await load({ worker })
    const waiting = model.run([1, 2, 3])
    model.dispose()
    model.dispose()
    expect(await failure(waiting)).toBeInstanceOf(nearside.DisposedError)
    expect((await failure(model.run([1, 2, 3]))).message).toBe('The model was disposed; load it again to use it.')
    await expect(model.memory()).rejects.toThrow(nearside.DisposedError)
  })

  it('keeps models apart', async () => {
    using a = await load({ worker })
    {
      using b = await load({ worker }, unary('Neg', [2]))
      expect((await b.run([1, -2])).y?.data).toEqual(Float32Array.of(-1, 2))
    }
    await expectWorks(a)
  })

  it('runs what the runtime lacks on the fallback, with one warning that names it', async () => {
    const warnings: string[] = []
    const dims = [1, 1, 1, 1, 3]
    const source = encodeOnnx({
      inputs: { x: dims },
      outputs: { y: dims },
      constants: { w: { dims: [1, 1, 1, 1, 1], data: [2] } },
      nodes: [{ op: 'ConvTranspose', inputs: ['x', 'w'], outputs: ['y'] }],
    })
    using model = await load({ worker, onWarning: (message) => warnings.push(message) }, source)
    expect(model.engine.fallbackOperators).toEqual(['ConvTranspose'])
    const { executor, notes, nodes, plan } = await model.explain()
    expect([executor, nodes.length, plan]).toEqual(['compiler', 0, undefined])
    expect(notes.join()).toContain('ConvTranspose')
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/ runs in the compiler, more slowly: it uses ConvTranspose, which the runtime lacks\.$/)
    for (let n = 0; n < 2; n++) expect((await model.run([1, 5, 2])).y?.data).toEqual(Float32Array.of(2, 10, 4))
    expect(await failure(model.run({ x: new Float32Array(4) }))).toBeInstanceOf(nearside.InputError)
    expect(fakeCaches.plans.size).toBe(0)
  })

  it('says of a model whose inputs decide shapes why the compiler runs it, and what makes a plan', async () => {
    const warnings: string[] = []
    using model = await load({ worker, onWarning: (message) => warnings.push(message) }, encodeOnnx(RESHAPED))
    expect(warnings).toEqual([
      expect.stringMatching(
        /^The given model runs in the compiler, more slowly\. The values of 'shape' decide shapes or branches in this model: .*\. `nearside compile` with --value shape=… makes a plan for one set, [^.]*\.$/,
      ),
    ])
    for (const shape of [
      [3, 2],
      [6, 1],
      [3, 2],
    ] as const) {
      const { y } = await model.run({ x: new Float32Array(6), shape: new Tensor('int64', shape.map(BigInt), [2]) })
      expect(y?.dims).toEqual(shape)
    }
  })

  it("takes weights from other files: of the model's folder, or given", async () => {
    const sources: [Package.ModelSource, LoadOptions][] = [
      [`${server.url}/split/split.onnx`, {}],
      [SPLIT, { externalData: { 'data/w.bin': WEIGHTS } }],
      [new Blob([SPLIT]), { externalData: { 'data/w.bin': new Blob([WEIGHTS]) } }],
      [SPLIT, { externalData: { 'data/w.bin': `${server.url}/split/data/w.bin` } }],
    ]
    for (const [source, options] of sources) {
      using model = await load({ worker, ...options }, source)
      expect((await model.run([1, 1, 1])).y?.data).toEqual(Float32Array.of(2, 3, 4))
    }
    expect(fakeCaches.plans.size).toBe(0)
    const cases: [Package.ModelSource, LoadOptions, string, RegExp][] = [
      [SPLIT, {}, 'InputError', /weights in the file 'data\/w.bin'; give it in the option externalData/],
      [
        SPLIT,
        { externalData: { 'data/w.bin': new Uint8Array(70) } },
        'ModelFormatError',
        /Bytes 64 to 76 of 'data\/w.bin' are needed, the file ends before/,
      ],
      [SPLIT, { externalData: { 'data/w.bin': `${server.url}/missing.bin` } }, 'NetworkError', /404/],
    ]
    for (const [source, options, name, message] of cases) {
      const error = await failure(load({ worker, ...options }, source))
      expect(error).toMatchObject({ name })
      expect(error.message).toMatch(message)
    }
  })

  it('keeps to limits and names them', async () => {
    const cases: [Package.Limits, RegExp][] = [
      [{ modelBytes: 100 }, /\d+ bytes, the limit is 100 \(modelBytes\)/],
      [{ nodes: 1 }, /2 nodes, the limit is 1 \(nodes\)/],
    ]
    for (const [limits, message] of cases) {
      const error = await failure(load({ worker, limits, cache: false }))
      expect(error).toBeInstanceOf(nearside.LimitError)
      expect(error.message).toMatch(message)
    }
    using model = await load({ worker, limits: { tensorBytes: 1000 }, cache: false })
    await expectWorks(model)
    const { plan } = await model.explain()
    const tooLarge = await failure(load({ worker, limits: { modelBytes: 100 }, cache: false }, plan))
    expect(tooLarge).toBeInstanceOf(nearside.LimitError)
    expect(tooLarge.message).toMatch(/^The model has \d+ bytes, the limit is 100 \(modelBytes\); raise it/)
    expect((await failure(model.run(new Float32Array(3000)))).message).toMatch(/limit of 1000 bytes \(tensorBytes\)/)
    await expectWorks(model)
  })

  it('says where its WebAssembly should be', async () => {
    for (const [path, reason] of [
      ['/none', 'status'],
      ['/html', 'html'],
    ] as const) {
      const error = await failure(load({ worker, urls: { simd: `${server.url}${path}` } }, SUM))
      expect(error.message).toMatch(/wasmBase/)
      expect(error).toMatchObject({ name: 'NetworkError', reason })
    }
  })
})

describe('a Worker', () => {
  it('that dies is replaced: the caller gets a typed error, and models come back', async () => {
    using a = await load({ worker: true })
    using b = await load({ worker: true })
    const [worker] = alive
    expect(alive.size).toBe(1)
    const first = a.run([0, 0, 0])
    const second = b.run([0, 0, 0])
    // Microtasks only: the call has left, and its answer cannot be here yet.
    for (let n = 0; n < 50; n++) await Promise.resolve()
    worker?.die('out of memory')
    const error = await failure(first)
    expect(error).toBeInstanceOf(nearside.WorkerError)
    expect(error.message).toBe("Nearside's Worker died (out of memory). The next call starts a new one.")
    expect((await second).y?.data).toEqual(Float32Array.of(1, 2, 3))
    expect((await a.run([0, 0, 0])).y?.data).toEqual(Float32Array.of(1, 2, 3))
  })

  it('that cannot start is named with the remedy', async () => {
    const error = await failure(load({ urls: { worker: new URL('missing.js', dist) } }))
    expect(error).toBeInstanceOf(nearside.WorkerError)
    expect(error.message).toMatch(/could not start .*worker.js.*worker-src.*\{ worker: false \}/s)
  })

  it('is shared by models and ends with the last', async () => {
    const models = await Promise.all([load(), load(), load()])
    expect(alive.size).toBe(1)
    for (const model of models) {
      expect(alive.size).toBe(1)
      model.dispose()
    }
  })
})

describe('what the page started early', () => {
  const module = (): Promise<WebAssembly.Module> => WebAssembly.compile(new Uint8Array(file('wasm/core.simd.wasm')))
  const script = new URL('worker.js', dist)

  // Only the first load of an engine opens it, and other spellings of an address have engines of their own.
  it('is used: no second Worker, no second download', async () => {
    const early = { variant: 'simd', worker: new Worker(script), module: module() } as const
    const [worker] = alive
    using model = await load({ early, wasmBase: `${server.url}/./wasm` }, SUM)
    expect((await model.run([0, 0, 0])).y?.data).toEqual(Float32Array.of(1, 2, 3))
    expect([...alive]).toEqual([worker])
    expect(requests).not.toContain('/wasm/core.simd.wasm')
  })

  it('is made up for where it failed', async () => {
    const early = {
      variant: 'simd',
      worker: undefined,
      module: Promise.reject<WebAssembly.Module>(new Error('no network')),
    } as const
    early.module.catch(() => {})
    using model = await load({ early, wasmBase: `${server.url}/././wasm` }, SUM)
    expect((await model.run([0, 0, 0])).y?.data).toEqual(Float32Array.of(1, 2, 3))
  })
})

it('holds the files that package.json promises, and each binary once', () => {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { exports: object }
  for (const target of JSON.stringify(manifest.exports).match(/\.\/dist\/[\w./-]+/g) ?? []) {
    expect(existsSync(fileURLToPath(new URL(`../${target}`, import.meta.url))), target).toBe(true)
  }
  expect(
    readdirSync(new URL('wasm/', dist))
      .filter((name) => name.endsWith('.wasm'))
      .sort(),
  ).toEqual(['compiler.wasm', 'core.relaxed.threads.wasm', 'core.relaxed.wasm', 'core.simd.threads.wasm', 'core.simd.wasm'])
  for (const name of readdirSync(dist).filter((n) => n.endsWith('.js'))) {
    const text = file(name).toString()
    for (const [, target] of text.matchAll(/new URL\([`"'](\.\/[^`"']+)[`"'],\s*import\.meta\.url\)/g)) {
      expect(existsSync(new URL(target ?? '', dist)), `${name}: ${target}`).toBe(true)
    }
  }
})
