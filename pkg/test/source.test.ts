import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { InputError, NetworkError } from '../ts/errors.js'
import type { DownloadOptions } from '../ts/download.js'
import { readRange } from '../ts/range.js'
import { readSource, type SourceBytes } from '../ts/source.js'
import type { ModelSource } from '../ts/types.js'
import { failure } from './failure.js'
import { serve, type TestServer } from './server.js'

const payload = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251))
let server: TestServer
const asked: (string | undefined)[] = []

beforeAll(async () => {
  server = await serve((request, response) => {
    switch (request.url) {
      case '/model':
        return response.writeHead(200, { 'content-length': payload.length }).end(payload)
      case '/chunked':
        response.write(payload.subarray(0, 70_000))
        return response.end(payload.subarray(70_000))
      case '/ranges': {
        const [, from = '0', to = ''] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
        asked.push(request.headers.range)
        return response.writeHead(206).end(payload.subarray(Number(from), Number(to) + 1))
      }
      case '/missing':
        return response.writeHead(404, { 'content-type': 'text/html' }).end('<!doctype html><title>Not found</title>')
      case '/page':
        return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>App</title>')
      case '/cut':
        response.writeHead(200, { 'content-length': payload.length })
        return response.write(payload.subarray(0, 1000), () => response.destroy())
      case '/stall':
        response.writeHead(200, { 'content-length': payload.length })
        return response.write(payload.subarray(0, 1000))
      default:
        return undefined // hangs
    }
  })
})
afterAll(() => server.close())

async function read(source: ModelSource, options: Partial<DownloadOptions> = {}): Promise<SourceBytes> {
  return (await readSource(source, { timeout: 5000, onBytes: () => {}, ...options })) ?? expect.unreachable()
}

/** The bytes of a small source. */
async function inMemory(source: ModelSource): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes } = await read(source)
  if (bytes instanceof Blob) expect.unreachable()
  return bytes
}

describe('readRange', () => {
  it('gives a part of any source, and asks servers for it', async () => {
    const range = { start: 60_000, end: 80_000 }
    for (const source of [`${server.url}/ranges`, `${server.url}/chunked`, payload, new Blob([payload])] as ModelSource[]) {
      const pieces: [number, Uint8Array][] = []
      await readRange(source, range, { timeout: 5000 }, (at, bytes) => Promise.resolve(pieces.push([at, bytes])))
      const whole = Buffer.alloc(payload.length)
      for (const [at, bytes] of pieces) whole.set(bytes, at)
      const part = (bytes: Buffer): Buffer => bytes.subarray(range.start, range.end)
      expect(part(whole).equals(part(payload))).toBe(true)
    }
    expect(asked).toEqual(['bytes=60000-79999'])
  })

  it('names a file that is missing', async () => {
    const reading = readRange(`${server.url}/missing`, { start: 0, end: 10 }, { timeout: 5000 }, () => Promise.resolve())
    expect(await failure(reading)).toMatchObject({ name: 'NetworkError', reason: 'status' })
    const page = readRange(`${server.url}/page`, { start: 0, end: 10 }, { timeout: 5000 }, () => Promise.resolve())
    expect(await failure(page)).toMatchObject({ name: 'NetworkError', reason: 'html' })
  })
})

describe('readSource', () => {
  it('reads addresses, requests, answers, files and bytes alike', async () => {
    const address = `${server.url}/model`
    const view = new Uint8Array(payload.length + 8)
    view.set(payload, 3)
    const sources: ModelSource[] = [
      address,
      new URL(address),
      new Request(address),
      await fetch(address),
      `${server.url}/chunked`,
      new Blob([payload]),
      new File([payload], 'model.onnx'),
      Uint8Array.from(payload).buffer,
      view.subarray(3, 3 + payload.length),
      new DataView(view.buffer, 3, payload.length),
    ]
    for (const source of sources) expect(Buffer.from(await inMemory(source)).equals(payload)).toBe(true)
  })

  it("marks the caller's buffer as shared and copies a part of one", async () => {
    const whole = Uint8Array.of(1, 2, 3)
    expect(await read(whole)).toMatchObject({ shared: true })
    expect((await inMemory(whole.subarray(1))).buffer.byteLength).toBe(2)
    expect(await read(new Blob([whole]))).toMatchObject({ shared: false })
  })

  it('reports bytes and, where the server says it, their number', async () => {
    const seen: [number, number | undefined][] = []
    await read(`${server.url}/model`, { onBytes: (loaded, total) => seen.push([loaded, total]) })
    expect(seen.at(-1)).toEqual([payload.length, payload.length])
    seen.length = 0
    await read(`${server.url}/chunked`, { onBytes: (loaded, total) => seen.push([loaded, total]) })
    expect(seen.at(-1)).toEqual([payload.length, undefined])
  })

  it.each([
    [
      '/missing',
      { reason: 'status', status: 404 },
      /the server answered 404 Not Found, with a web page instead of the model; check the address/,
    ],
    ['/page', { reason: 'html', status: 200 }, /is a web page \(\d+ bytes of HTML\), not a model/],
    ['/cut', { reason: 'unreachable' }, /could not be fetched/],
    ['/stall', { reason: 'timeout' }, /sent nothing for 200 ms; check the server/],
    ['/hang', { reason: 'timeout' }, /sent nothing for 200 ms; check the server/],
  ] as const)('%s is a typed error, and the next good read works', async (path, about, message) => {
    const error = await failure(read(server.url + path, { timeout: 200 }))
    expect(error).toBeInstanceOf(NetworkError)
    expect(error).toMatchObject({ ...about, url: server.url + path })
    expect(error.message).toMatch(message)
    expect((await inMemory(`${server.url}/model`)).length).toBe(payload.length)
  })

  it('names a server that is not there', async () => {
    const error = await failure(read('http://127.0.0.1:1/model'))
    expect(error).toMatchObject({ name: 'NetworkError', reason: 'unreachable' })
  })

  it.each(['/stall', '/hang', '/model'])("rejects with the signal's reason when aborted: %s", async (path) => {
    const controller = new AbortController()
    const reading = read(server.url + path, { signal: controller.signal })
    const reason = new Error('changed my mind')
    controller.abort(reason)
    expect(await failure(reading)).toBe(reason)
  })

  it('aborts before anything is asked for', async () => {
    expect(await failure(read('http://127.0.0.1:1/', { signal: AbortSignal.abort() }))).toMatchObject({ name: 'AbortError' })
  })

  it('refuses what is no source, and an answer that was read', async () => {
    expect(await failure(read(5 as unknown as string))).toBeInstanceOf(InputError)
    const used = await fetch(`${server.url}/model`)
    await used.arrayBuffer()
    expect(await failure(read(used))).toBeInstanceOf(InputError)
  })
})
