import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DisposedError, InputError, LimitError, NetworkError } from '../ts/errors.js'
import { parseRetryAfter } from '../ts/remote/http.js'
import { connect } from '../ts/remote/remote.js'
import { parseServerTiming } from '../ts/remote/server-timing.js'
import { decodeResponse, encodeRequest, HEADER_LENGTH } from '../ts/remote/wire.js'
import { type AnyTensor, Tensor } from '../ts/tensor.js'
import type { Port, RemoteOptions } from '../ts/types.js'
import { failure } from './failure.js'
import { serve, type TestServer } from './server.js'

const METADATA = {
  name: 'double',
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
}

interface Call {
  readonly headers: IncomingMessage['headers']
  readonly json: { inputs: { name: string; datatype: string; shape: number[]; data?: number[] }[] }
}

let server: TestServer
let extensions: string[] | undefined
let calls: Call[]
/** Answers `infer` in place of the model, when set. */
let instead: ((response: ServerResponse) => void) | undefined

/** A server with one model that doubles its input. */
beforeAll(async () => {
  server = await serve((request, response, body) => {
    const json = (value: unknown): void => void response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
    switch (request.url) {
      case '/v2':
        return json({ name: 'test', extensions })
      case '/v2/models/double':
        return json(METADATA)
      case '/v2/models/odd':
        return json({ ...METADATA, inputs: [{ name: 'x', datatype: 'BF16', shape: [1] }] })
      case '/v2/models/page':
        return response.setHeader('content-type', 'text/html').end('<!doctype html>')
      case '/v2/models/slow':
        return undefined
      case '/v2/models/double/infer':
        return instead === undefined ? infer(request, response, body) : instead(response)
      default:
        response.statusCode = 404
        return json({ error: "there is no model 'nope'" })
    }
  })
})
afterAll(() => server.close())
beforeEach(() => {
  extensions = ['binary_tensor_data']
  calls = []
  instead = undefined
})

function infer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const length = Number(request.headers[HEADER_LENGTH.toLowerCase()] ?? body.length)
  const json = JSON.parse(body.subarray(0, length).toString()) as Call['json']
  calls.push({ headers: request.headers, json })
  const [input] = json.inputs
  const bytes = Uint8Array.from(body.subarray(length))
  const x = input?.data === undefined ? new Float32Array(bytes.buffer) : Float32Array.from(input.data)
  const y = x.map((v) => v * 2)
  response.setHeader('server-timing', 'queue;dur=0.25, compute;dur=1.5')
  const output = { name: 'y', datatype: 'FP32', shape: input?.shape }
  if (input?.data !== undefined) return void response.end(JSON.stringify({ outputs: [{ ...output, data: [...y] }] }))
  const head = Buffer.from(JSON.stringify({ outputs: [{ ...output, parameters: { binary_data_size: y.byteLength } }] }))
  response.setHeader(HEADER_LENGTH, head.length).end(Buffer.concat([head, Buffer.from(y.buffer)]))
}

const open = (options: RemoteOptions = {}, name = 'double'): ReturnType<typeof connect> => connect(server.url, name, options)

describe('Model.connect', () => {
  it('learns inputs and outputs, and predicts with bytes', async () => {
    const model = await open()
    expect(model.inputs).toEqual([{ name: 'x', type: 'float32', dims: ['?', 2] }])
    const { y } = await model.run({ x: new Float32Array([1, 2, 3, Number.NaN]) })
    expect(y).toMatchObject({ type: 'float32', dims: [2, 2], data: Float32Array.of(2, 4, 6, Number.NaN) })
    expect(calls[0]?.headers['content-type']).toBe('application/octet-stream')
    expect(model.lastTiming).toMatchObject({ queue: 0.25, compute: 1.5 })
    expect(model.lastTiming?.bytesSent).toBeGreaterThan(16)
    expect(model.lastTiming?.bytesReceived).toBeGreaterThan(16)
  })

  it('speaks JSON to a server without the binary extension, or when told', async () => {
    extensions = []
    for (const options of [{}, { binary: false }]) {
      const { y } = await (await open(options)).run([1, 2])
      expect(y?.data).toEqual(Float32Array.of(2, 4))
    }
    expect(calls.map((call) => call.json.inputs[0]?.data)).toEqual([
      [1, 2],
      [1, 2],
    ])
    expect(await failure((await open()).run([Number.NaN, 1]))).toBeInstanceOf(InputError)
  })

  it('accepts an address with a slash or with /v2', async () => {
    for (const end of ['/', '/v2', '/v2/']) expect((await connect(server.url + end, 'double', {})).url).toBe(server.url)
  })

  it('sends headers of the caller', async () => {
    const model = await open({ request: { headers: { authorization: 'Bearer t' } } })
    await model.run([1, 2])
    expect(calls[0]?.headers.authorization).toBe('Bearer t')
  })

  it.each([
    ['nope', 'status', /answered 404 Not Found: there is no model 'nope'; check the address and the model's name/],
    [
      'page',
      'protocol',
      /does not follow the Open Inference Protocol: it is not JSON; check that the address is an inference server/,
    ],
    ['odd', 'protocol', /the type "BF16", which is not known here/],
    ['slow', 'timeout', /did not answer within 300 ms/],
  ] as const)('names what is wrong with the model %s', async (name, reason, message) => {
    const error = await failure(open({ timeout: 300 }, name))
    expect(error).toBeInstanceOf(NetworkError)
    expect(error).toMatchObject({ reason })
    expect(error.message).toMatch(message)
  })

  it('names a server that is not there', async () => {
    for (const [server, name, options, message] of [
      [undefined, 'm', {}, "undefined, 'm', an object of type Object"],
      ['/', 5, {}, "'/', 5, an object of type Object"],
      ['/', 'm', null, "'/', 'm', null"],
    ] as const)
      expect(await failure(connect(server as never, name as never, options as never))).toEqual(
        new InputError(`Model.connect takes the address of a server, the name of a model and options; ${message} were given.`),
      )
    expect(await failure(connect('http://127.0.0.1:1', 'm', {}))).toMatchObject({ name: 'NetworkError', reason: 'unreachable' })
  })

  it.each<[string, (response: ServerResponse) => void, abstract new (...args: never[]) => Error, object, RegExp]>([
    [
      'busy',
      (r) => r.writeHead(503, { 'retry-after': '2' }).end('{"error":"queue is full"}'),
      NetworkError,
      { status: 503, retryAfter: 2 },
      /is busy \(503: queue is full\); try again after 2 s/,
    ],
    [
      'refusing',
      (r) => r.writeHead(400).end('{"error":"x must be positive."}'),
      InputError,
      {},
      /refused the inputs: x must be positive\./,
    ],
    ['too small', (r) => r.writeHead(413).end(), LimitError, {}, /larger than the server .* accepts/],
    [
      'failing',
      (r) => r.writeHead(500).end('oops'),
      NetworkError,
      { status: 500, reason: 'status' },
      /answered 500 Internal Server Error/,
    ],
    ['talking nonsense', (r) => r.end('[1'), NetworkError, { reason: 'protocol' }, /is not JSON/],
    ['incomplete', (r) => r.end('{"outputs":[]}'), NetworkError, { reason: 'protocol' }, /it lacks the output 'y'/],
    [
      'cutting off',
      (r) => r.end('{"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}1234'),
      NetworkError,
      { reason: 'protocol' },
      /the bytes of output 'y' are not all there/,
    ],
    ['hanging up', (r) => r.destroy(), NetworkError, { reason: 'unreachable' }, /could not be reached/],
    [
      'hanging',
      () => {},
      NetworkError,
      { reason: 'timeout' },
      /did not answer within 300 ms; check it, or raise the option timeout/,
    ],
  ])('a server that is %s is a typed error, and the next call works', async (_, answer, Class, about, message) => {
    const model = await open({ timeout: 300 })
    instead = answer
    const error = await failure(model.run([1, 2]))
    expect(error).toBeInstanceOf(Class)
    expect(error).toMatchObject(about)
    expect(error.message).toMatch(message)
    instead = undefined
    expect((await model.run([1, 2])).y?.data).toEqual(Float32Array.of(2, 4))
  })

  it('checks inputs before it sends anything', async () => {
    const model = await open()
    expect((await failure(model.run({ x: [1, 2], z: [1] }))).message).toContain("no input 'z'")
    expect(calls).toEqual([])
  })

  it('ends with its signal, and with dispose', async () => {
    const model = await open()
    instead = () => {}
    const controller = new AbortController()
    const aborted = model.run([1, 2], { signal: controller.signal })
    const cut = model.run([1, 2])
    controller.abort(new Error('enough'))
    expect((await failure(aborted)).message).toBe('enough')
    model.dispose()
    expect(await failure(cut)).toBeInstanceOf(DisposedError)
    expect(await failure(model.run([1, 2]))).toBeInstanceOf(DisposedError)
  })
})

describe('the wire', () => {
  const tensors: AnyTensor[] = [
    new Tensor('float32', [1.5, -0, 1e-40], [3]),
    new Tensor('float64', Float64Array.of(Math.PI), [1]),
    new Tensor('int64', [1n, -(2n ** 63n)], [2, 1]),
    new Tensor('uint64', [2n ** 63n], []),
    new Tensor('bool', [true, false], [2]),
    new Tensor('uint8', [0, 255], [2]),
    new Tensor('string', ['', 'grüezi', '"{}\\'], [3]),
  ] as AnyTensor[]
  const ports: Port[] = tensors.map((t, i) => ({ name: `t${i}`, type: t.type, dims: t.dims }))

  /** An answer with the inputs of a request as its outputs. */
  function echo(binary: boolean): { body: Uint8Array<ArrayBuffer>; length: number | undefined } {
    const { body, headers } = encodeRequest(ports, tensors, ports, binary)
    const length = headers[HEADER_LENGTH] === undefined ? body.length : Number(headers[HEADER_LENGTH])
    const { inputs } = JSON.parse(new TextDecoder().decode(body.subarray(0, length))) as { inputs: unknown }
    const json = new TextEncoder().encode(JSON.stringify({ outputs: inputs }))
    const out = new Uint8Array(json.length + body.length - length)
    out.set(json)
    out.set(body.subarray(length), json.length)
    return { body: out, length: binary ? json.length : undefined }
  }

  it('carries every type as bytes, also when the header cannot be seen', () => {
    const { body, length } = echo(true)
    for (const known of [length, undefined]) expect(Object.values(decodeResponse(body, known))).toEqual(tensors)
  })

  it('carries every type but float16 as JSON', () => {
    // JSON has no negative zero.
    const values = (list: AnyTensor[]): unknown[][] => list.map((t) => [...t.data].map((v) => (v === 0 ? 0 : v)))
    expect(values(Object.values(decodeResponse(echo(false).body, undefined)))).toEqual(values(tensors))
  })
})

it.each([
  [null, undefined, undefined],
  ['queue;dur=0.2, compute;desc="a, b";dur=3.5', 0.2, 3.5],
  ['compute; dur=12', undefined, 12],
  ['cache;desc=hit, queue', undefined, undefined],
  ['queue;dur="1.5"', 1.5, undefined],
])('parseServerTiming(%j)', (header, queue, compute) => {
  expect(parseServerTiming(header)).toEqual({ queue, compute })
})

it.each([
  [null, undefined],
  ['5', 5],
  ['soon', undefined],
  ['Thu, 01 Jan 1970 00:01:40 GMT', 90],
  ['Thu, 01 Jan 1970 00:00:01 GMT', 0],
])('parseRetryAfter(%j) is %s', (header, seconds) => {
  expect(parseRetryAfter(header, 10_000)).toBe(seconds)
})
