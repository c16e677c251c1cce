/**
 * Every function of the package, called with what it does not take: each argument and each option in turn is one of the wrong values. What comes of it
 * is an error of the package that is a sentence, never one of JavaScript's own. A function without an entry fails. Needs `cargo xtask build`.
 */

import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as audio from '../ts/audio/index.js'
import * as digits from '../ts/digits.js'
import * as nearside from '../ts/index.js'
import * as inline from '../ts/inline.js'
import * as ort from '../ts/ort/index.js'
import * as post from '../ts/post/index.js'
import * as vite from '../ts/tools/vite/index.js'
import { serve, type TestServer } from './server.js'

const { Model, NearsideError, Tensor } = nearside
const built = (name: string): URL => new URL(`../dist/${name}`, import.meta.url)
if (!existsSync(built('digits.plan'))) throw new Error('The package is not built: run `cargo xtask build` first.')
const plan = new Uint8Array(readFileSync(built('digits.plan')))

/** Made anew for each call: what is detached stays so. */
const WRONG: { readonly [name: string]: () => unknown } = {
  undefined: () => undefined,
  null: () => null,
  // No whole number, and as a time long enough.
  number: () => 1234.5,
  string: () => 'words',
  boolean: () => true,
  object: () => ({}),
  array: () => [],
}

/** What only stands where an object is right. */
const DETACHED: typeof WRONG = {
  'detached-buffer': () => transferred(new ArrayBuffer(8)),
  'detached-array': () => transferred(new Float32Array(2)),
}

function transferred<T extends ArrayBuffer | Float32Array<ArrayBuffer>>(given: T): T {
  structuredClone(0, { transfer: [given instanceof ArrayBuffer ? given : given.buffer] })
  return given
}

/** The arguments of a call that succeeds, and which of the wrong values a function takes, too. */
interface Entry {
  readonly good: () => readonly unknown[]
  /** Names of wrong values that are right or make no difference, by the argument's position or the option's name. */
  readonly takes: { readonly [argument: string]: string | undefined }
  /** What the last argument may hold, where that is an object of options. */
  readonly options: readonly string[]
  /** Whose method it is. */
  readonly on: () => unknown
}

type Table = { readonly [name: string]: Entry }

/** @param options their names, with spaces between */
function entry(
  good: Entry['good'] = () => [],
  takes: Entry['takes'] = {},
  options = '',
  on: Entry['on'] = () => undefined,
): Entry {
  return { good, takes, options: options.split(' ').filter((name) => name !== ''), on }
}

let server: TestServer
let model: nearside.Model
let remote: nearside.RemoteModel
let session: ort.InferenceSession

const where = { wasmBase: built('wasm/'), worker: false }
const ink = () => new Float32Array(784)
const scores = () => new Tensor('float32', [1, 2], [1, 2])
const size = () => ({ width: 4, height: 4 })
const sound = () => ({ channels: [new Float32Array(4)], sampleRate: 8000 })
const picture = () => new ort.Tensor('float32', new Float32Array(12), [1, 3, 2, 2])
const backend = () => ({ init: () => Promise.resolve(), createInferenceSessionHandler: () => Promise.resolve() })

/** Options may be left out, and any object is one without them. */
const OPTIONAL = 'undefined object array detached-buffer detached-array'
/** Of two ways, the one that whatever is true or false means. */
const TRUTH = 'null number string boolean object array'
const ANYTHING = `undefined ${TRUTH} detached-buffer detached-array`

class FakeImageData {
  readonly data = new Uint8ClampedArray(16)
  readonly width = 2
  readonly height = 2
}

const NEARSIDE: Table = {
  'new Tensor': entry(() => ['int8', [1], [1]], { 2: 'undefined array' }),
  'Tensor.from': entry(() => [Int8Array.of(1), [1]], { 1: 'undefined array' }),
  'Tensor#reshape': entry(
    () => [[1, 1]],
    { 0: 'array' },
    '',
    () => new Tensor('int8', [1]),
  ),
  // No call is right: models are loaded.
  'new Model': entry(() => [undefined]),
  'Model.load': entry(
    () => [plan.slice(), where],
    {
      ...{
        worker: 'null',
        onProgress: 'null',
        cache: 'boolean object number string array',
        timeout: 'null number boolean array',
      },
      ...{
        request: TRUTH,
        urls: TRUTH,
        onWarning: 'null',
        logger: TRUTH,
        externalData: TRUTH,
        limits: 'object array',
        early: TRUTH,
      },
    },
    'worker signal onProgress integrity cache timeout request variant threads wasmBase urls onWarning logger externalData limits early',
  ),
  'Model.connect': entry(
    () => [server.url, 'm', {}],
    {
      1: 'string',
      2: OPTIONAL,
      timeout: 'null number',
      signal: 'null',
      version: TRUTH,
      binary: TRUTH,
      request: TRUTH,
      onWarning: 'null',
    },
    'timeout signal version binary request onWarning',
  ),
  'Model.clearCache': entry(),
  'Model#run': entry(
    () => [ink(), {}],
    { 0: 'array', 1: OPTIONAL, onTiming: 'null', latest: TRUTH },
    'signal onTiming latest',
    () => model,
  ),
  'Model#profile': entry(
    () => [ink(), { runs: 1 }],
    { 0: 'array', 1: OPTIONAL },
    'runs signal',
    () => model,
  ),
  'Model#tune': entry(
    () => [ink(), { budget: 1 }],
    { 0: 'array', 1: OPTIONAL, budget: 'number', onProgress: 'null', keep: TRUTH },
    'budget signal onProgress keep',
    () => model,
  ),
  'Model#explain': entry(undefined, {}, '', () => model),
  'Model#memory': entry(undefined, {}, '', () => model),
  'Model#dispose': entry(undefined, {}, '', () => Model.load(plan.slice(), where)),
  'RemoteModel#run': entry(
    () => [ink(), {}],
    { 1: OPTIONAL, onTiming: 'null' },
    'signal onTiming',
    () => remote,
  ),
  'RemoteModel#dispose': entry(undefined, {}, '', () => Model.connect(server.url, 'm')),
}

const POST: Table = {
  softmax: entry(() => [scores(), 0], { 1: 'undefined' }),
  sigmoid: entry(() => [scores()], { 0: 'array' }),
  topK: entry(() => [scores(), 1, {}], { 0: 'array', 2: OPTIONAL, labels: 'null' }, 'labels'),
  above: entry(() => [scores(), 0, {}], { 0: 'array', 1: 'number', 2: OPTIONAL, labels: 'null' }, 'labels'),
  rows: entry(() => [scores()]),
  nms: entry(
    () => [new Float32Array(4), [1], {}],
    {
      0: 'array',
      2: OPTIONAL,
      iouThreshold: 'null boolean array',
      scoreThreshold: TRUTH,
      perClass: TRUTH,
      columns: TRUTH,
      labels: 'null',
    },
    'iouThreshold scoreThreshold maxDetections format perClass columns labels',
  ),
  classMask: entry(() => [new Tensor('float32', ink(), [4, 14, 14]), {}], { 1: OPTIONAL }, 'layout'),
  fitOf: entry(() => [size(), size(), {}], { 2: OPTIONAL, crop: 'boolean' }, 'fit crop'),
  toPicture: entry(() => [[0, 0, 1, 1], post.fitOf(size(), size()), {}], { 2: OPTIONAL, relative: TRUTH }, 'relative'),
}

const AUDIO: Table = {
  toMono: entry(() => [sound(), 16_000]),
  'new Resampler': entry(() => [8000, 16_000]),
  'Resampler#push': entry(
    () => [new Float32Array(4)],
    {},
    '',
    () => new audio.Resampler(8000, 16_000),
  ),
  'Resampler#flush': entry(undefined, {}, '', () => new audio.Resampler(8000, 16_000)),
}

const VITE: Table = {
  nearside: entry(() => [{}], { 0: OPTIONAL, types: 'string boolean', cacheDir: 'string' }, 'types cacheDir'),
}

const ORT: Table = {
  'new Tensor': entry(() => ['int8', [1], [1]], { 2: 'undefined array' }),
  'Tensor.fromImage': entry(
    () => [new FakeImageData(), {}],
    { 1: ANYTHING, tensorFormat: 'null', norm: TRUTH },
    'tensorFormat tensorLayout dataType resizedWidth resizedHeight norm',
  ),
  'Tensor.fromTexture': entry(() => [{}, { width: 1, height: 1 }], { 0: ANYTHING }),
  'Tensor.fromGpuBuffer': entry(() => [{}, { dims: [1] }], { 0: ANYTHING, dims: 'array' }, 'dims dataType'),
  'Tensor.fromMLTensor': entry(() => [{}, { dims: [1] }], { 0: ANYTHING, dims: 'array' }, 'dims dataType'),
  'Tensor.fromPinnedBuffer': entry(() => ['int8', Int8Array.of(1), [1]], { 2: 'undefined array' }),
  'Tensor#getData': entry(() => [false], { 0: ANYTHING }, '', picture),
  'Tensor#dispose': entry(undefined, {}, '', picture),
  'Tensor#reshape': entry(() => [[12]], { 0: 'undefined' }, '', picture),
  'Tensor#toDataURL': entry(() => [{}], { 0: ANYTHING, format: 'null', norm: TRUTH }, 'tensorLayout format norm', picture),
  'Tensor#toImageData': entry(() => [{}], { 0: ANYTHING, format: 'null', norm: TRUTH }, 'tensorLayout format norm', picture),
  // As in onnxruntime-web, of use to nobody.
  'new InferenceSession': entry(),
  'InferenceSession.create': entry(
    () => [plan.slice(), {}],
    {
      ...{ 1: OPTIONAL, executionProviders: 'null string array', externalData: 'null array', preferredOutputLocation: TRUTH },
      freeDimensionOverrides: 'null number boolean object array',
    },
    'executionProviders graphOptimizationLevel executionMode freeDimensionOverrides externalData logSeverityLevel logVerbosityLevel preferredOutputLocation',
  ),
  'InferenceSession#run': entry(
    () => [{ image: new ort.Tensor('float32', ink(), [1, 1, 28, 28]) }, ['logits'], {}],
    { 1: OPTIONAL.replace(' array', ''), 2: OPTIONAL, terminate: 'null' },
    'terminate logSeverityLevel logVerbosityLevel',
    () => session,
  ),
  'InferenceSession#release': entry(undefined, {}, '', () => ort.InferenceSession.create(plan)),
  'InferenceSession#startProfiling': entry(undefined, {}, '', () => session),
  'InferenceSession#endProfiling': entry(undefined, {}, '', () => session),
  registerBackend: entry(() => ['mine', backend(), 1], { 0: ANYTHING, 2: ANYTHING }),
  TRACE: entry(() => ['CPU', 'x'], { 0: ANYTHING, 1: ANYTHING }),
  TRACE_FUNC_BEGIN: entry(() => ['x'], { 0: ANYTHING }),
  TRACE_FUNC_END: entry(() => ['x'], { 0: ANYTHING }),
  TRACE_EVENT_BEGIN: entry(() => ['x'], { 0: ANYTHING }),
  TRACE_EVENT_END: entry(() => ['x'], { 0: ANYTHING }),
}

/** What `package.json` exports, with its functions. */
const ENTRIES: { readonly [name: string]: readonly [exports: object, table: Table] } = {
  '.': [nearside, NEARSIDE],
  './inline': [inline, NEARSIDE],
  './ort': [ort, ORT],
  './audio': [audio, AUDIO],
  './post': [post, POST],
  './digits': [digits, {}],
  './vite': [vite, VITE],
}

/** Errors of JavaScript itself. `nearside/ort` has the classes and sentences of onnxruntime-web, TypeErrors among them. */
const RAW =
  /^Cannot (read|set|destructure|use|perform|convert|mix) |is not (a function|iterable|a constructor|an object|defined)\b/

function isTyped(error: unknown, table: Table): boolean {
  if (error instanceof NearsideError) return / .*\.$/s.test(error.message)
  return table === ORT && error instanceof Error && !RAW.test(error.message)
}

/** The functions that a module exports: with a class its methods, its static ones and `new`. Errors are made by the package. */
function functionsOf(exports: object): string[] {
  return Object.entries(exports).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value !== 'function' || value.prototype instanceof Error) return []
    if (!Function.prototype.toString.call(value).startsWith('class')) return [name]
    const methods = (of: object, mark: string): string[] =>
      Object.entries(Object.getOwnPropertyDescriptors(of))
        .filter(([key, { value }]) => typeof value === 'function' && key !== 'constructor')
        .map(([key]) => `${name}${mark}${key}`)
    return [`new ${name}`, ...methods(value, '.'), ...methods(value.prototype as object, '#')]
  })
}

type Functions = { readonly [name: string]: (...given: readonly unknown[]) => unknown }

/** Calls a function of a module by its name in the table. */
async function call(exports: object, name: string, own: Entry, given: readonly unknown[]): Promise<unknown> {
  const [place = '', method] = name.replace('new ', '').split(/[.#]/)
  const found = (exports as Functions)[place]
  if (name.startsWith('new ')) return Reflect.construct(found as never, given)
  if (method === undefined) return found?.(...given)
  const whose = name.includes('#') ? await own.on() : found
  return (whose as Functions)[method]?.(...given)
}

/** The error of a call, if it fails. */
async function failureOf(...given: Parameters<typeof call>): Promise<unknown> {
  try {
    const made = await call(...given)
    if (made instanceof Model) made.dispose()
    return undefined
  } catch (error) {
    return error
  }
}

beforeAll(async () => {
  server = await serve((request, response) => {
    const port = { name: 'x', datatype: 'FP32', shape: [784] }
    const outputs = [{ name: 'x', datatype: 'FP32', shape: [1], data: [1] }]
    response.end(JSON.stringify(request.url?.endsWith('/infer') === true ? { outputs } : { inputs: [port], outputs: [port] }))
  })
  for (const method of ['warn', 'info'] as const) vi.spyOn(console, method).mockImplementation(() => {})
  vi.stubGlobal('ImageData', FakeImageData)
  const canvas = { getContext: () => ({ putImageData: () => {} }), toDataURL: () => 'data:,' }
  vi.stubGlobal('document', { createElement: () => canvas })
  Object.assign(ort.env.nearside, where)
  model = await Model.load(plan.slice(), where)
  remote = await Model.connect(server.url, 'm')
  session = await ort.InferenceSession.create(plan)
})
afterAll(async () => {
  model.dispose()
  await session.release()
  await server.close()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

it('knows all entries of the package', () => {
  const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { exports: object }
  const entries = Object.keys(exports).filter((name) => !/\.(wasm|js|json)$|\/client$/.test(name))
  expect(entries.sort()).toEqual(Object.keys(ENTRIES).sort())
})

it.each(Object.entries(ENTRIES))('knows all functions of %s', (_, [exports, table]) => {
  const { default: whole, ...named } = exports as { readonly [name: string]: unknown }
  const own = Object.values(named).includes(whole) || typeof whole !== 'function' ? named : exports
  const more =
    table === NEARSIDE ? functionsOf({ RemoteModel: remote.constructor }).filter((name) => !name.startsWith('new ')) : []
  expect([...functionsOf(own), ...more].sort()).toEqual(Object.keys(table).sort())
})

it('has in one file what it has in several', () => {
  expect({ ...inline }).toEqual({ ...nearside })
})

const CALLED = Object.entries(ENTRIES).filter(([name, [, table]]) => name !== './inline' && Object.keys(table).length > 0)

describe.each(CALLED)('%s: what is not right has a sentence', (_, [exports, table]) => {
  it.each(Object.entries(table))('%s', async (name, own) => {
    const good = own.good()
    if (name !== 'new Model') expect(await failureOf(exports, name, own, own.good()), 'the good call').toBeUndefined()
    const found: string[] = []
    const attempt = async (argument: string | number, wrong: string, given: readonly unknown[]): Promise<void> => {
      const error = await failureOf(exports, name, own, given)
      const taken = own.takes[argument]?.split(' ').includes(wrong) === true
      if (error === undefined ? !taken : taken || !isTyped(error, table))
        found.push(`${argument} is ${wrong}: ${error instanceof Error ? `${error.name}: ${error.message}` : 'no error'}`)
    }
    for (const [i, right] of good.entries())
      for (const [wrong, make] of Object.entries({ ...WRONG, ...(typeof right === 'object' ? DETACHED : {}) }))
        await attempt(i, wrong, own.good().with(i, make()))
    for (const option of own.options)
      for (const [wrong, make] of Object.entries(WRONG))
        if (wrong !== 'undefined')
          await attempt(option, wrong, own.good().with(-1, { ...(good.at(-1) as object), [option]: make() }))
    expect(found).toEqual([])
  })
})
