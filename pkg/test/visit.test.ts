import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Keeper, PIECE } from '../ts/begun.js'
import { parseIndex } from '../ts/cache-index.js'
import { openPlanCache } from '../ts/cache.js'
import { download } from '../ts/download.js'
import { FileBuilder } from '../ts/file.js'
import { openVisit, type Visit } from '../ts/visit.js'
import { serve, type TestServer } from './server.js'
import { blockedStorage, fakeStorage, type FakeStorage, kept } from './storage.js'

const MB = 1 << 20
const random = (length: number, seed: number): Buffer => {
  const words = Uint32Array.from({ length: length / 4 }, (_, i) => Math.imul(i + seed, 0x9e3779b1) ^ (i >>> 3))
  return Buffer.from(words.buffer)
}
const FILE = random(10 * MB, 1)
const CHANGED = random(9 * MB, 2)
const PIECES = [0, 1].map((n) => name(FILE.subarray(n * PIECE, (n + 1) * PIECE)))

function name(piece: Buffer): string {
  return `piece/${createHash('sha256').update(piece).digest('hex')}`
}

/** How the server behaves. */
interface Conduct {
  file: Buffer
  tag: string | undefined
  /** What it does with conditional ranges: keeps to them, knows none, sends ranges whatever the condition, or answers with a status. */
  ranges: 'good' | 'none' | 'careless' | number
  headers: Record<string, string>
  chunked: boolean
  /** After how many bytes it falls silent. */
  silent: number
  /** How it behaves once it is asked for a range. */
  afterwards?: Partial<Conduct>
}

let server: TestServer
let conduct: Conduct
/** What was asked: ranges with their conditions. */
const asked: string[] = []

beforeAll(async () => {
  server = await serve((request, response) => {
    const { range = '', 'if-range': condition = '' } = request.headers
    if (range !== '') Object.assign(conduct, conduct.afterwards)
    const { file, tag, ranges, headers, chunked, silent } = conduct
    asked.push(`${range} ${String(condition)}`.trim())
    if (range !== '' && typeof ranges === 'number') return response.writeHead(ranges).end()
    const wanted = ranges === 'careless' || (ranges === 'good' && condition === tag)
    const from = wanted ? Number(/bytes=(\d+)-/.exec(range)?.[1] ?? 0) : 0
    const body = file.subarray(from, silent)
    response.writeHead(from > 0 ? 206 : 200, {
      ...(tag === undefined ? {} : { etag: tag }),
      ...(chunked ? {} : { 'content-length': file.length - from }),
      ...headers,
    })
    return silent < file.length ? response.write(body) : response.end(body)
  })
})
afterAll(() => server.close())
beforeEach(() => {
  asked.length = 0
  conduct = { file: FILE, tag: '"v1"', ranges: 'good', headers: {}, chunked: false, silent: Infinity }
  // Pages change the index one after the other.
  let last: Promise<unknown> = Promise.resolve()
  const request = (_: string, work: () => Promise<void>) => (last = last.then(work))
  vi.stubGlobal('navigator', { locks: { request } })
})

interface Options {
  readonly maxBytes?: number
  /** Is given each number of bytes that are there, and what ends the visit. */
  readonly onBytes?: (loaded: number, close: () => void) => void
}

const open = (storage: CacheStorage, maxBytes = 1 << 30): Visit =>
  openVisit(storage, { address: `${server.url}/m`, label: 'm', maxBytes, warn: () => expect.unreachable() })

/** Downloads the file as a load does. */
async function load(storage: CacheStorage, { maxBytes, onBytes }: Options = {}): Promise<Buffer> {
  const visit: Visit = open(storage, maxBytes)
  const stop = new AbortController()
  try {
    const bytes = await download(`${server.url}/m`, {
      timeout: 5000,
      signal: stop.signal,
      begun: (version, total) => visit.begun(version, total),
      onBytes: (loaded, _, arriving) => {
        visit.arrive(arriving)
        onBytes?.(loaded, () => stop.abort(new Error('closed')))
      },
      onAnswer: (response) => visit.answered(response, undefined),
    })
    if (!(bytes instanceof Uint8Array)) expect.unreachable()
    return Buffer.from(bytes)
  } finally {
    visit.settle()
  }
}

/** A visit that ends after so many bytes; whoever looks afterwards finds what was kept until then. */
async function cutOff(storage: CacheStorage, after = 9 * MB, options: Options = {}): Promise<void> {
  conduct.silent = after
  const onBytes = (loaded: number, close: () => void): void => {
    if (loaded === after) close()
  }
  await expect(load(storage, { ...options, onBytes })).rejects.toThrow('closed')
  conduct.silent = Infinity
}

const holds = (fake: FakeStorage, names: readonly string[]): Promise<void> =>
  vi.waitFor(() => expect(kept(fake).sort()).toEqual([...names].sort()), 5000)

async function begun(): Promise<FakeStorage> {
  const fake = fakeStorage()
  await cutOff(fake.storage)
  await holds(fake, PIECES)
  asked.length = 0
  return fake
}

describe('a download that a visit did not end', () => {
  it('goes on at the next visit, from the pieces that are there, which then are gone', async () => {
    const fake = await begun()
    const seen: number[] = []
    expect((await load(fake.storage, { onBytes: (loaded) => seen.push(loaded) })).equals(FILE)).toBe(true)
    expect(asked).toEqual(['', `bytes=${2 * PIECE}- "v1"`])
    expect(seen[0]).toBe(2 * PIECE)
    await holds(fake, [])
  })

  it('can be cut off again', async () => {
    const fake = fakeStorage()
    await cutOff(fake.storage, 5 * MB)
    await holds(fake, PIECES.slice(0, 1))
    await cutOff(fake.storage)
    await holds(fake, PIECES)
    expect((await load(fake.storage)).equals(FILE)).toBe(true)
    expect(asked.filter((range) => range !== '')).toEqual([`bytes=${PIECE}- "v1"`, `bytes=${2 * PIECE}- "v1"`])
  })

  it('counts for the budget as one, which goes as a whole', async () => {
    const fake = await begun()
    const index = parseIndex(await fake.entries.get('https://nearside.invalid/index')?.clone().text())
    expect([...index.entries.values()].map(({ size }) => size)).toEqual([2 * PIECE])
    await openPlanCache(fake.storage, { maxBytes: 2 * PIECE }).put('plan', new Blob(['plan']))
    expect(kept(fake)).toEqual(['plan'])
  })

  it('waits while no server answers', async () => {
    const fake = await begun()
    const visit = open(fake.storage)
    const refused = download('http://127.0.0.1:1/m', {
      timeout: 5000,
      onBytes: () => {},
      begun: (version, total) => visit.begun(version, total),
    })
    await expect(refused).rejects.toMatchObject({ reason: 'unreachable' })
    visit.settle()
    await load(fake.storage)
    expect(asked).toEqual(['', `bytes=${2 * PIECE}- "v1"`])
  })

  it('begins anew where the file was changed', async () => {
    const fake = await begun()
    Object.assign(conduct, { file: CHANGED, tag: '"v2"' })
    const seen: number[] = []
    expect((await load(fake.storage, { onBytes: (loaded) => seen.push(loaded) })).equals(CHANGED)).toBe(true)
    expect(asked).toEqual([''])
    expect(seen[0]).toBeLessThan(PIECE)
    await holds(fake, [])
  })

  it.each([
    ['the server keeps to the condition', 'good', 2],
    ['the server sends the range of another version', 'careless', 3],
    ['the server has no such range', 416, 3],
    ['the server has no ranges', 'none', 2],
  ] as const)('begins anew where the file is changed between two answers and %s', async (_, ranges, requests) => {
    const fake = await begun()
    conduct.afterwards = { file: CHANGED, tag: '"v2"', ranges }
    const seen: number[] = []
    expect((await load(fake.storage, { onBytes: (loaded) => seen.push(loaded) })).equals(CHANGED)).toBe(true)
    expect(asked).toEqual(['', `bytes=${2 * PIECE}- "v1"`, ''].slice(0, requests))
    expect(seen[0]).toBeLessThan(PIECE)
    await holds(fake, [])
  })

  it('begins anew, and keeps the pieces of the new version, where that is cut off, too', async () => {
    const fake = await begun()
    Object.assign(conduct, { file: CHANGED, tag: '"v2"' })
    await cutOff(fake.storage, 5 * MB)
    await holds(fake, [name(CHANGED.subarray(0, PIECE))])
  })

  it.each([['none'], [403], [500]] as const)('begins anew where the server will not send the rest: %s', async (ranges) => {
    const fake = await begun()
    conduct.ranges = ranges
    expect((await load(fake.storage)).equals(FILE)).toBe(true)
    await holds(fake, [])
  })

  it('does not wait in vain where the server sends the same from its beginning', async () => {
    const fake = await begun()
    conduct.ranges = 'none'
    await cutOff(fake.storage)
    await holds(fake, [])
  })

  it('forgets pieces that are damaged', async () => {
    const fake = await begun()
    fake.entries.set(`https://nearside.invalid/${PIECES[1]}`, new Response(new Uint8Array(PIECE)))
    expect((await load(fake.storage)).equals(FILE)).toBe(true)
    expect(asked).toEqual([''])
    await holds(fake, [])
  })

  it('is forgotten where the next answer is not to be stored', async () => {
    const fake = await begun()
    conduct.headers = { 'cache-control': 'no-store' }
    expect((await load(fake.storage)).equals(FILE)).toBe(true)
    await holds(fake, [])
  })
})

describe('what is not kept in pieces', () => {
  it.each<[string, Partial<Conduct>, number?]>([
    ['files that are small', { file: FILE.subarray(0, 3 * MB) }],
    ['files without a tag', { tag: undefined }],
    ['files with a weak tag', { tag: 'W/"v1"' }],
    ['files of unknown length', { chunked: true }],
    ['files that are not to be stored', { headers: { 'cache-control': 'private, no-store' } }],
    ['files beyond the budget', {}, 9 * MB],
    ['files too large for memory', { headers: { 'content-length': String(65 * MB) } }],
  ])('%s', async (_, change, maxBytes) => {
    Object.assign(conduct, change)
    const fake = fakeStorage()
    await cutOff(fake.storage, Math.min(9 * MB, conduct.file.length - 1), { maxBytes: maxBytes ?? 1 << 30 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([...fake.entries.keys()]).toEqual([])
  })

  it('the last bytes of a file: with them it is whole', async () => {
    const fake = fakeStorage()
    conduct.file = FILE.subarray(0, 2 * PIECE)
    await cutOff(fake.storage, 2 * PIECE - 1)
    await holds(fake, PIECES.slice(0, 1))
  })
})

describe('a device', () => {
  it('that lets nothing be stored does not disturb the download', async () => {
    expect((await load(blockedStorage())).equals(FILE)).toBe(true)
  })

  it('that is full loses no plans to pieces, and the pieces that there are', async () => {
    const fake = fakeStorage()
    await openPlanCache(fake.storage, { maxBytes: 1 << 30 }).put('plan', new Blob(['plan']))
    await cutOff(fake.storage, 5 * MB)
    await holds(fake, [...PIECES.slice(0, 1), 'plan'])
    fake.quota = MB
    expect((await load(fake.storage)).equals(FILE)).toBe(true)
    await holds(fake, ['plan'])
  })

  it('whose cache is emptied meanwhile keeps no more of the file', async () => {
    const fake = fakeStorage()
    conduct.silent = 5 * MB
    let [end, keptFirst] = [() => {}, false]
    const loading = load(fake.storage, { onBytes: (_, close) => (end = close) })
    await holds(fake, PIECES.slice(0, 1)).then(() => (keptFirst = true))
    fake.entries.clear()
    end()
    await expect(loading).rejects.toThrow('closed')
    expect(keptFirst).toBe(true)
    await holds(fake, [])
  })
})

describe('two pages with the same file', () => {
  it('keep each piece once, and go on from what either kept', async () => {
    const fake = fakeStorage()
    const puts = vi.spyOn(await fake.storage.open(''), 'put')
    await Promise.all([cutOff(fake.storage), cutOff(fake.storage)])
    await holds(fake, PIECES)
    expect(puts.mock.calls.filter(([key]) => typeof key === 'string' && key.includes('piece/'))).toHaveLength(2)
    const files = await Promise.all([load(fake.storage), load(fake.storage)])
    for (const file of files) expect(file.equals(FILE)).toBe(true)
    await holds(fake, [])
  })

  it('do not mix two versions of it', async () => {
    const fake = fakeStorage()
    await cutOff(fake.storage, 5 * MB)
    await holds(fake, PIECES.slice(0, 1))
    const store = openPlanCache(fake.storage, { maxBytes: 1 << 30 })
    const arrive = (file: Buffer, version: string, keeper: Keeper, end: number): Promise<void> => {
      const builder = new FileBuilder(file.length)
      builder.push(file.subarray(0, end))
      return keeper.arrive({ file: builder, total: file.length, version })
    }
    const keeper = (): Keeper => new Keeper(store, `${server.url}/m`, undefined)
    await arrive(CHANGED, '"v2"', keeper(), 5 * MB)
    expect(kept(fake)).toEqual([name(CHANGED.subarray(0, PIECE))])
    await arrive(FILE, '"v1"', keeper(), 9 * MB)
    expect(kept(fake).sort()).toEqual([...PIECES].sort())
  })
})
