/** Sessions and the rest of the API beside onnxruntime-web's own, with a small model. Needs `cargo xtask build`. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as theirs from 'onnxruntime-web'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import * as ours from '../../ts/ort/index.js'
import { encodeOnnx } from '../onnx.js'
import { serve, type TestServer } from '../server.js'

type Library = typeof ours
const { InferenceSession, Tensor, env } = ours
const libraries: readonly [string, Library][] = [
  ['nearside/ort', ours],
  ['onnxruntime-web', theirs as unknown as Library],
]
const any = (value: unknown): never => value as never

const wasm = new URL('../../dist/wasm/', import.meta.url)
if (!existsSync(new URL('compiler.wasm', wasm))) throw new Error('The package is not built: run `cargo xtask build` first.')

/** `y = relu(x + [1, 2, 3])`, and the sum itself. */
const MODEL = encodeOnnx({
  inputs: { x: ['batch', 3] },
  outputs: { y: ['batch', 3], s: ['batch', 3] },
  constants: { c: [1, 2, 3] },
  nodes: [
    { op: 'Add', inputs: ['x', 'c'], outputs: ['s'] },
    { op: 'Relu', inputs: ['s'], outputs: ['y'] },
  ],
})

let server: TestServer
let warnings: string[]

beforeAll(async () => {
  server = await serve((request, response) => {
    const name = (request.url ?? '').slice(1)
    const body = name === 'sum.onnx' ? MODEL : existsSync(new URL(name, wasm)) ? readFileSync(new URL(name, wasm)) : undefined
    if (body === undefined) return void response.writeHead(404).end()
    const type = name.endsWith('.wasm') ? 'application/wasm' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body)
  })
  Object.assign(env.nearside, { wasmBase: server.url, worker: false })
})
afterAll(() => server.close())
beforeEach(() => {
  warnings = []
  vi.spyOn(console, 'warn').mockImplementation((text: string) => void warnings.push(text))
})
afterEach(() => vi.restoreAllMocks())

const feeds = ({ Tensor: T } = ours) => ({ x: new T('float32', [0, -5, 1], [1, 3]) })
const create = (options: ours.InferenceSession.SessionOptions = {}) => InferenceSession.create(MODEL, options)

it('has the exports of onnxruntime-web', () => {
  const names = Object.keys(theirs).filter((name) => name !== 'module.exports')
  expect(Object.keys(ours).sort()).toEqual(names.sort())
  const { default: whole, ...rest } = ours
  expect(whole).toEqual(rest)
})

describe('create', () => {
  it.each<[string, () => Promise<ours.InferenceSession>]>([
    ['an address', () => InferenceSession.create(`${server.url}/sum.onnx`)],
    ['an address and options', () => InferenceSession.create(`${server.url}/sum.onnx`, { executionProviders: ['wasm'] })],
    ['bytes', () => InferenceSession.create(MODEL, { executionProviders: [{ name: 'cpu' }] })],
    ['a buffer', () => InferenceSession.create(MODEL.buffer)],
    ['a buffer from an offset on', () => InferenceSession.create(Uint8Array.of(9, ...MODEL).buffer, 1)],
    ['a part of a buffer', () => InferenceSession.create(Uint8Array.of(9, ...MODEL, 9).buffer, 1, MODEL.length, {})],
    [
      'shared memory',
      () => {
        const shared = new SharedArrayBuffer(MODEL.length)
        new Uint8Array(shared).set(MODEL)
        return InferenceSession.create(shared)
      },
    ],
  ])('takes %s', async (_, make) => {
    const session = await make()
    const { y } = await session.run(feeds())
    expect(y).toBeInstanceOf(Tensor)
    expect(y).toMatchObject({ type: 'float32', dims: [1, 3], data: Float32Array.of(1, 0, 4), location: 'cpu', size: 3 })
    await session.release()
    expect(warnings).toEqual([])
  })

  it.each<[string, readonly unknown[]]>([
    ['nothing', []],
    ['a number', [5]],
    ['an array', [[1, 2]]],
    ['a view that is not of bytes', [new Int16Array(2)]],
    ['an offset that is no whole number', [new ArrayBuffer(8), 1.5]],
    ['an offset before the buffer', [new ArrayBuffer(8), -1]],
    ['an offset behind the buffer', [new ArrayBuffer(8), 8]],
    ['a length that is no number', [new ArrayBuffer(8), 1, 'all']],
    ['a length that is no whole number', [new ArrayBuffer(8), 1, 1.5]],
    ['a length of nothing', [new ArrayBuffer(8), 1, 0]],
    ['a length behind the buffer', [new ArrayBuffer(8), 1, 8]],
    ['options that are no object', ['model.onnx', 5]],
    ['options that are null', [new Uint8Array(8), null]],
    ['options of a buffer that are no object', [new ArrayBuffer(8), 'fast']],
    ['options of a part that are no object', [new ArrayBuffer(8), 1, 2, 5]],
    ['an unknown optimization level', [MODEL, { graphOptimizationLevel: 'most' }]],
    ['an unknown execution mode', [MODEL, { executionMode: 'backwards' }]],
    ['an unknown severity', [MODEL, { logSeverityLevel: 7 }]],
    ['a negative verbosity', [MODEL, { logVerbosityLevel: -1 }]],
  ])('refuses %s as onnxruntime-web does', async (_, call) => {
    const [own, their] = await Promise.all(
      libraries.map(([, { InferenceSession: Session }]) =>
        (Session.create as (...call: readonly unknown[]) => Promise<unknown>)(...call).then(
          () => expect.unreachable(),
          ({ name, message }: Error) => ({ name, message }),
        ),
      ),
    )
    expect(own).toEqual(their)
  })

  it('reports once what it does not do, unless less is asked for', async () => {
    const options = { optimizedModelFilePath: 'm', sparkle: 1, preferredOutputLocation: 'gpu-buffer', enableGraphCapture: false }
    const providers = { executionProviders: ['webgpu', { name: 'webnn', deviceType: 'npu' }, 'wasm'] }
    for (const severity of [3, undefined, undefined] as const) {
      const level = severity === undefined ? {} : { logSeverityLevel: severity }
      await (await create(any({ ...(severity === 3 ? {} : options), ...providers, ...level }))).release()
      if (severity === 3) expect(warnings).toEqual([])
    }
    expect(warnings.map((text) => text.replace('nearside/ort: ', ''))).toEqual([
      'the session option optimizedModelFilePath is ignored: the optimized model is not written; `nearside compile` makes a plan.',
      'the session option sparkle is ignored: it is not known.',
      'the session option preferredOutputLocation is ignored: outputs are on the CPU.',
    ])
  })

  it.each(libraries)('takes a tensor of one element for a scalar: %s', async (_, { InferenceSession: Session, Tensor }) => {
    const model = encodeOnnx({
      inputs: { x: [2], s: [] },
      outputs: { y: [2] },
      nodes: [{ op: 'Add', inputs: ['x', 's'], outputs: ['y'] }],
    })
    const session = await Session.create(model)
    for (const dims of [[], [1]]) {
      const { y } = await session.run({ x: new Tensor('float32', [1, 2], [2]), s: new Tensor('float32', [10], dims) })
      expect([y?.dims, y?.data]).toEqual([[2], Float32Array.of(11, 12)])
    }
    await session.release()
  })

  it('fixes open dimensions', async () => {
    const session = await create({ freeDimensionOverrides: { batch: 2, other: 5 } })
    expect(session.inputMetadata).toEqual([{ name: 'x', isTensor: true, type: 'float32', shape: [2, 3] }])
    await expect(session.run(feeds())).rejects.toThrow(/shape 1×3, the model takes 2×3/)
    await expect(create({ freeDimensionOverrides: { batch: -1 } })).rejects.toThrow(
      'free dimension override value must be a non-negative integer: -1',
    )
    const plan = new TextEncoder().encode('NEARPLAN')
    await expect(InferenceSession.create(plan, { freeDimensionOverrides: { batch: 1 } })).rejects.toThrow(/compiled plan/)
    await session.release()
  })
})

describe('weights in other files', () => {
  const data = new Uint8Array(Float32Array.of(9, 1, 2, 3, 9).buffer)
  const model = encodeOnnx({
    inputs: { x: ['batch', 3] },
    outputs: { y: ['batch', 3] },
    constants: { c: { dims: [3], location: './weights.bin', offset: 4, length: 12 } },
    nodes: [{ op: 'Add', inputs: ['x', 'c'], outputs: ['y'] }],
  })
  const withData = (file: ours.FileType, path = 'weights.bin') =>
    InferenceSession.create(model, { externalData: [{ path, data: file }] })

  it.each<[string, ours.FileType]>([
    ['bytes', data],
    ['a buffer', data.buffer],
    ['a Blob', new Blob([data])],
    ['an address', `data:application/octet-stream;base64,${Buffer.from(data).toString('base64')}`],
  ])('come from %s', async (_, file) => {
    const session = await withData(file)
    expect((await session.run(feeds()))['y']?.data).toEqual(Float32Array.of(1, -3, 4))
    await session.release()
  })

  it('come from files of this machine, with a model that is one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nearside-ort-'))
    const [path, weights] = [join(folder, 'model.onnx'), join(folder, 'weights.bin')]
    writeFileSync(path, model)
    writeFileSync(weights, data)
    const load = (file: string) => InferenceSession.create(path, { externalData: [{ path: 'weights.bin', data: file }] })
    const session = await load(weights)
    expect((await session.run(feeds()))['y']?.data).toEqual(Float32Array.of(1, -3, 4))
    await session.release()
    await expect(load(join(folder, 'none.bin'))).rejects.toThrow(/none\.bin cannot be read: there is no such file/)
    rmSync(folder, { recursive: true })
  })

  it('are named where they are missing', async () => {
    await expect(withData(data, 'other.bin')).rejects.toThrow(
      "The weight 'c' is in the file 'weights.bin', which was not given; add { path: 'weights.bin', data } to the session option externalData.",
    )
    await expect(withData(data.subarray(0, 8))).rejects.toThrow(/needs bytes 4 to 16 of the file 'weights.bin', which has 8/)
    await expect(withData(`${server.url}/none`)).rejects.toThrow(/the server answered 404/)
    await expect(InferenceSession.create(model, { externalData: any([{ data }]) })).rejects.toThrow(/needs a 'path'/)
    await expect(InferenceSession.create(model.subarray(0, 60), { externalData: ['data:,'] })).rejects.toThrow(/cut off/)
  })
})

describe.each(libraries)('a session of %s', (_, library) => {
  let session: ours.InferenceSession
  beforeAll(async () => {
    session = await library.InferenceSession.create(MODEL)
  })
  afterAll(() => session.release())

  it('describes itself', () => {
    expect([session.inputNames, session.outputNames]).toEqual([['x'], ['y', 's']])
    const port = (name: string) => ({ name, isTensor: true, type: 'float32', shape: ['batch', 3] })
    expect([session.inputMetadata, session.outputMetadata]).toEqual([[port('x')], [port('y'), port('s')]])
    expect(session).toBeInstanceOf(library.InferenceSession)
    const extended = session as ours.InferenceSession & { config?: string }
    extended.config = 'mine'
    expect(extended.config).toBe('mine')
  })

  it('runs for all outputs, some, or into tensors', async () => {
    expect(Object.keys(await session.run(feeds(library)))).toEqual(['y', 's'])
    expect(Object.keys(await session.run(feeds(library), { tag: 'a', logSeverityLevel: 2 }))).toEqual(['y', 's'])
    expect(Object.keys(await session.run(feeds(library), ['s'], { tag: 'a' }))).toEqual(['s'])
    expect(Object.keys(await session.run(feeds(library), { s: null }))).toEqual(['s'])
    const y = new library.Tensor('float32', new Float32Array(3), [1, 3])
    const { data } = y
    const results = await session.run(feeds(library), { y, s: null }, {})
    expect(results['y']).toBe(y)
    expect(y.data).toBe(data)
    // onnxruntime-web 1.30 gives the caller's tensor back without the result in it.
    if (library === ours) expect(data).toEqual(Float32Array.of(1, 0, 4))
  })

  it.each<[string, (tensor: ours.Tensor) => readonly unknown[], string, string]>([
    [
      'no feeds',
      () => [],
      'TypeError',
      "'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.",
    ],
    [
      'a bare tensor',
      (t) => [t],
      'TypeError',
      "'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.",
    ],
    [
      'an array',
      (t) => [[t]],
      'TypeError',
      "'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.",
    ],
    ['a missing input', () => [{}], 'Error', "input 'x' is missing in 'feeds'."],
    ['an unknown input', (x) => [{ x, z: x }], 'Error', "invalid input 'z'"],
    ['null', (x) => [{ x }, null], 'TypeError', 'Unexpected argument[1]: cannot be null.'],
    ['a name', (x) => [{ x }, 'y'], 'TypeError', "Unexpected argument[1]: must be 'fetches' or 'options'."],
    ['a tensor as fetches', (x) => [{ x }, x], 'TypeError', "'fetches' cannot be a Tensor"],
    ['no fetches', (x) => [{ x }, []], 'TypeError', "'fetches' cannot be an empty array."],
    ['fetches that are no names', (x) => [{ x }, [1]], 'TypeError', "'fetches' must be a string array or an object."],
    ['an unknown output', (x) => [{ x }, ['z']], 'RangeError', "'fetches' contains invalid output name: z."],
    ['options that are null', (x) => [{ x }, ['y'], null], 'TypeError', "'options' must be an object."],
    ['options that are a number', (x) => [{ x }, { y: null }, 5], 'TypeError', "'options' must be an object."],
    ['an unknown severity', (x) => [{ x }, { logSeverityLevel: 9 }], 'Error', 'log severity level is not valid: 9'],
  ])('refuses %s', async (__, call, name, message) => {
    const run = session.run.bind(session) as (...call: readonly unknown[]) => Promise<unknown>
    await expect(run(...call(feeds(library).x))).rejects.toMatchObject({ name, message })
  })
})

describe('a session', () => {
  it("takes and fills onnxruntime's tensors, and gives its own", async () => {
    const session = await create()
    const y = new theirs.Tensor('float32', new Float32Array(3), [1, 3])
    const results = await session.run(any(feeds(theirs as unknown as Library)), any({ y }))
    expect(results['y']).toBeInstanceOf(Tensor)
    expect(results['y']?.data).toBe(y.data)
    expect(y.data).toEqual(Float32Array.of(1, 0, 4))
    await session.release()
  })

  it('copies inputs at once and downloads those that are elsewhere', async () => {
    const session = await create()
    const input = feeds()
    const waiting = session.run(input)
    input.x.data.fill(NaN)
    expect((await waiting)['y']?.data).toEqual(Float32Array.of(1, 0, 4))
    const download = () => Promise.resolve(Float32Array.of(1, 1, 1))
    const away = Tensor.fromGpuBuffer(any({}), { dims: [1, 3], download })
    expect((await session.run({ x: away }))['y']?.data).toEqual(Float32Array.of(2, 3, 4))
    // As frameworks do it, with all objects inside.
    const reactive = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (object, key, receiver) => {
          const value: unknown = Reflect.get(object, key, receiver)
          return value !== null && typeof value === 'object' && !ArrayBuffer.isView(value) ? reactive(value) : value
        },
      })
    expect((await reactive(session).run(reactive(feeds())))['y']?.data).toEqual(Float32Array.of(1, 0, 4))
    await session.release()
  })

  it('says what does not fit, and goes on', async () => {
    const session = await create()
    const small = new Tensor('float32', new Float32Array(1))
    await expect(session.run(feeds(), { y: small })).rejects.toThrow(
      "The tensor given for output 'y' is float32 [1], the result float32 [1, 3]; prepare one of that type and shape.",
    )
    await expect(session.run({ x: new Tensor('int4', new Uint8Array(2), [1, 3]) })).rejects.toThrow(/Input 'x' is int4/)
    await expect(session.run({ x: new Tensor('int32', [1, 2, 3], [1, 3]) })).rejects.toThrow(/takes float32/)
    for (const none of [null, 5, [1, 2, 3], Float32Array.of(1), { type: 'float32' }])
      await expect(session.run({ x: any(none) })).rejects.toThrow("input 'x' is not a tensor; give new Tensor(type, data, dims).")
    await expect(session.run(feeds(), { terminate: true })).rejects.toThrow('its option terminate is true')
    const away = Float32Array.of(1, 2, 3)
    const detached = new Tensor('float32', away, [1, 3])
    structuredClone(away.buffer, { transfer: [away.buffer] })
    await expect(session.run({ x: detached })).rejects.toThrow("Input 'x' is detached: its buffer was transferred; give a copy.")
    const disposed = feeds()
    disposed.x.dispose()
    await expect(session.run(disposed)).rejects.toThrow('The tensor is disposed.')
    expect((await session.run(feeds()))['y']?.data).toEqual(Float32Array.of(1, 0, 4))
    await session.release()
    await session.release()
    await expect(session.run(feeds())).rejects.toThrow('The model was disposed; load it again to use it.')
  })

  it('tells what its runs took', async () => {
    const info = vi.spyOn(console, 'info').mockImplementation(() => undefined)
    const session = await create({ enableProfiling: true })
    for (let n = 0; n < 3; n++) await session.run(feeds())
    session.endProfiling()
    session.startProfiling()
    session.endProfiling()
    expect(info.mock.calls.map(([text]) => text as string)).toEqual([
      expect.stringMatching(/^nearside\/ort: 3 runs \(simd, .*\); compute in ms: least [\d.]+, median [\d.]+, most [\d.]+\.$/),
      expect.stringContaining('0 runs'),
    ])
    await session.release()
  })
})

describe('env', () => {
  it('has what applications set, and no version that would make them fetch', () => {
    expect(env.versions).toEqual({ common: theirs.env.versions.common })
    expect('web' in env.versions).toBe(false)
    env.wasm.wasmPaths = { wasm: 'x.wasm', mjs: 'x.mjs' }
    expect(env.wasm.wasmPaths).toBeUndefined()
    env.wasm.wasmPaths = '/ort/'
    expect(env.wasm.wasmPaths).toBe('/ort/')
    env.wasm.wasmPaths = undefined
    Object.assign(env.wasm, { numThreads: 4, simd: true, proxy: false, initTimeout: 5 })
    Object.assign(env.webgpu, { powerPreference: 'high-performance', profiling: { mode: 'default' } })
    env.webgl.pack = true
    env['mine'] = 1
    expect([env.wasm.numThreads, env['mine'], { ...env }.webgpu.powerPreference]).toEqual([4, 1, 'high-performance'])
  })

  it('checks and obeys the log level', async () => {
    expect(env.logLevel).toBe('warning')
    expect(() => (env.logLevel = any('loud'))).toThrow('Unsupported logging level: loud')
    env.logLevel = undefined
    env.logLevel = 'error'
    await (await create(any({ glitter: 1 }))).release()
    expect(warnings).toEqual([])
    env.logLevel = 'warning'
    expect(Object.keys(env)).toContain('logLevel')
  })
})

describe('registerBackend', () => {
  const handler = (data: number): ours.InferenceSessionHandler => ({
    inputNames: ['x'],
    outputNames: ['y'],
    inputMetadata: [],
    outputMetadata: [],
    run: () => Promise.resolve({ y: any({ type: 'int8', data: Int8Array.of(data), dims: [1] }) }),
    dispose: () => Promise.resolve(),
    startProfiling: () => undefined,
    endProfiling: () => undefined,
  })
  const backend = (data: number): ours.Backend => ({
    init: () => (data < 0 ? Promise.reject(new Error('no device')) : Promise.resolve()),
    createInferenceSessionHandler: () => Promise.resolve(handler(data)),
  })

  it('is asked where a session names it, the highest priority first', async () => {
    const first = backend(1)
    ours.registerBackend('mine', first, 1)
    ours.registerBackend('mine', first, 1)
    ours.registerBackend('mine', backend(0), 0)
    expect(() => ours.registerBackend('mine', backend(2), 1)).toThrow('cannot register backend "mine" using priority 1')
    const value = async () => {
      const session = await create({ executionProviders: ['mine'] })
      const { y } = await session.run(feeds())
      expect(y).toBeInstanceOf(Tensor)
      return y?.data[0]
    }
    expect(await value()).toBe(1)
    ours.registerBackend('mine', backend(3), 2)
    expect(await value()).toBe(3)
    expect((await (await create()).run(feeds()))['y']?.data).toEqual(Float32Array.of(1, 0, 4))
    for (const none of [undefined, {}, { init: () => Promise.resolve() }])
      expect(() => ours.registerBackend('none', any(none), 0)).toThrow('not a valid backend')
  })

  it('is passed over where it does not start', async () => {
    ours.registerBackend('broken', backend(-1), 0)
    const session = await create({ executionProviders: ['broken', 'wasm'] })
    expect((await session.run(feeds()))['y']?.data).toEqual(Float32Array.of(1, 0, 4))
    expect(warnings[0]).toContain(
      'removing requested execution provider "broken" from session options because it is not available: no device',
    )
    await session.release()
    await expect(create({ executionProviders: any([5]) })).rejects.toThrow(/'executionProviders' must be/)
  })
})

it('TRACE marks the time line while env.trace is set', () => {
  const stamp = vi.fn()
  vi.stubGlobal('console', { ...console, timeStamp: stamp, time: stamp, timeEnd: stamp })
  function traceMe(): void {
    ours.TRACE('CPU', 'here')
    ours.TRACE_FUNC_BEGIN('more')
    ours.TRACE_FUNC_END()
    ours.TRACE_EVENT_BEGIN('event')
    ours.TRACE_EVENT_END('event')
  }
  traceMe()
  expect(stamp).not.toHaveBeenCalled()
  for (const flags of [env, env.wasm]) {
    flags.trace = true
    traceMe()
    delete flags.trace
    const labels = stamp.mock.calls.splice(0).map(([label]) => label as string)
    expect(labels).toEqual([
      'CPU::ORT::here',
      'CPU::ORT::FUNC_BEGIN::traceMe::more',
      'CPU::ORT::FUNC_END::traceMe',
      'ORT::event',
      'ORT::event',
    ])
  }
  vi.unstubAllGlobals()
})
