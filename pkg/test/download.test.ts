import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { download } from '../ts/download.js'
import { NetworkError } from '../ts/errors.js'
import { serve, type TestServer } from './server.js'

const payload = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 241))
let server: TestServer
/** What was asked: ranges with their conditions. */
const asked: string[] = []
/** After how many bytes the next answers break off. */
let breaks: number[] = []
let tag: (() => string | undefined) | undefined
let honoursRanges = true
/** Whether the server has no more of the file than the whole. */
let shortened = false

beforeAll(async () => {
  server = await serve((request, response) => {
    const { range = '', 'if-range': condition = '' } = request.headers
    asked.push(`${range} ${String(condition)}`.trim())
    if (shortened && range !== '') return response.writeHead(416).end()
    const from = honoursRanges ? Number(/bytes=(\d+)-/.exec(range)?.[1] ?? 0) : 0
    const etag = tag?.()
    const partial = from > 0 && (condition === '' || condition === etag)
    const body = partial ? payload.subarray(from) : payload
    const headers = { 'content-length': body.length, ...(etag === undefined ? {} : { etag }) }
    response.writeHead(partial ? 206 : 200, headers)
    const end = breaks.shift()
    if (end === undefined) return response.end(body)
    return response.write(body.subarray(0, end), () => setTimeout(() => response.destroy(), 20))
  })
})
afterAll(() => server.close())
beforeEach(() => {
  asked.length = 0
  breaks = []
  tag = () => '"v1"'
  honoursRanges = true
  shortened = false
})

async function get(signal?: AbortSignal): Promise<Buffer> {
  const seen: number[] = []
  const bytes = await download(`${server.url}/m`, { timeout: 5000, signal, onBytes: (loaded) => seen.push(loaded) })
  if (!(bytes instanceof Uint8Array)) expect.unreachable()
  return Buffer.from(bytes)
}

describe('a download that breaks off', () => {
  it('goes on where it was, as often as three times', async () => {
    breaks = [20_000, 10_000, 5000]
    expect((await get()).equals(payload)).toBe(true)
    expect(asked).toEqual(['', 'bytes=20000- "v1"', 'bytes=30000- "v1"', 'bytes=35000- "v1"'])
  })

  it('fails with a typed error after that', async () => {
    breaks = [100, 100, 100, 100]
    await expect(get()).rejects.toMatchObject({ name: 'NetworkError', reason: 'unreachable' })
    expect(asked.length).toBe(4)
  })

  it('begins anew where the file was changed meanwhile', async () => {
    breaks = [20_000]
    let version = 0
    tag = () => `"v${(version += 1)}"`
    expect((await get()).equals(payload)).toBe(true)
    expect(asked).toEqual(['', 'bytes=20000- "v1"'])
  })

  it.each([
    ['the server gives no tag', () => void (tag = undefined)],
    ['the tag is weak', () => void (tag = () => 'W/"v1"')],
  ])('begins anew where %s', async (_, prepare) => {
    prepare()
    breaks = [20_000]
    expect((await get()).equals(payload)).toBe(true)
    expect(asked).toEqual(['', ''])
  })

  it('begins anew where the file became shorter', async () => {
    breaks = [20_000]
    shortened = true
    expect((await get()).equals(payload)).toBe(true)
    expect(asked).toEqual(['', 'bytes=20000- "v1"', ''])
  })

  it('takes the whole file where the server knows no ranges', async () => {
    breaks = [20_000]
    honoursRanges = false
    expect((await get()).equals(payload)).toBe(true)
  })

  it('can be aborted while it waits', async () => {
    breaks = [20_000]
    const controller = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 120)
    await expect(get(controller.signal)).rejects.toBe(reason)
    expect(asked.length).toBe(1)
  })
})

describe('a download', () => {
  it('ends at the headers if these say enough', async () => {
    const versions: (string | null)[] = []
    const bytes = await download(`${server.url}/m`, {
      timeout: 5000,
      onBytes: () => expect.unreachable(),
      onAnswer: (response) => versions.push(response.headers.get('etag')) > 0,
    })
    expect(bytes).toBeUndefined()
    expect(versions).toEqual(['"v1"'])
  })

  it('is not tried again if nothing came', async () => {
    const refused = download('http://127.0.0.1:1/m', { timeout: 5000, onBytes: () => {} })
    await expect(refused).rejects.toBeInstanceOf(NetworkError)
  })
})
