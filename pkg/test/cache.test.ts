import { describe, expect, it } from 'vitest'
import { evict, formatIndex, parseIndex, versionOf } from '../ts/cache-index.js'
import { clearCache, compiledKey, openPlanCache, type PlanCache } from '../ts/cache.js'
import { keepTuned } from '../ts/keep-tuned.js'
import { blockedStorage, fakeStorage, kept } from './storage.js'

const plan = (size = 3): Blob => new Blob([new Uint8Array(size).fill(7)])
const open = (storage: CacheStorage, maxBytes = 1000, onFailure?: (why: string) => void): PlanCache =>
  openPlanCache(storage, { maxBytes, onFailure })
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

describe('the plan cache', () => {
  it('gives back what was put, and forgets what was dropped', async () => {
    const cache = open(fakeStorage().storage)
    expect(await cache.get('aa')).toBeUndefined()
    await cache.put('aa', plan())
    expect(await cache.get('aa')).toEqual(Uint8Array.of(7, 7, 7))
    await cache.drop('aa')
    expect(await cache.get('aa')).toBeUndefined()
  })

  it('knows which address had which content', async () => {
    const fake = fakeStorage()
    await open(fake.storage).put('aa', plan(), 'https://a.example/m.onnx', '"v1"')
    expect(await open(fake.storage).known('https://a.example/m.onnx')).toEqual({ key: 'aa', version: '"v1"' })
    expect(await open(fake.storage).known('https://a.example/other.onnx')).toBeUndefined()
  })

  it('takes plans of each compiler for others', () => {
    expect(compiledKey('aa', 'v1')).not.toBe(compiledKey('aa', 'v2'))
  })

  it('keeps within its budget: what was not used for the longest time goes', async () => {
    const fake = fakeStorage()
    const cache = open(fake.storage, 10)
    await cache.put('first', plan(4), 'https://a.example/1')
    await settled()
    await cache.put('second', plan(4))
    await settled()
    await cache.get('first')
    await settled()
    await cache.put('third', plan(4))
    expect(kept(fake).sort()).toEqual(['first', 'third'])
    await cache.put('huge', plan(11))
    expect(kept(fake).sort()).toEqual(['first', 'third'])
  })

  it('makes room where the device gives no more, and says so where that does not help', async () => {
    const fake = fakeStorage()
    const failures: string[] = []
    const cache = open(fake.storage, 1000, (why) => failures.push(why))
    await cache.put('old', plan(100))
    fake.quota = 50
    await cache.put('new', plan(60))
    expect(failures).toEqual(['no room'])
    expect(kept(fake)).toEqual([])
    await cache.put('small', plan(40))
    expect(kept(fake)).toEqual(['small'])
  })

  it('deletes entries that its index does not name', async () => {
    const fake = fakeStorage()
    fake.entries.set('https://nearside.invalid/orphan', new Response('x'))
    fake.entries.set('https://nearside.invalid/index', new Response('{ this is no JSON'))
    await open(fake.storage).put('aa', plan())
    expect(kept(fake)).toEqual(['aa'])
  })

  it('can be emptied', async () => {
    const fake = fakeStorage()
    await open(fake.storage).put('aa', plan())
    await clearCache(fake.storage)
    await clearCache(undefined)
    expect(await open(fake.storage).get('aa')).toBeUndefined()
  })

  it('is as good as none where it does not work', async () => {
    const cache = open(blockedStorage())
    expect(await cache.get('aa')).toBeUndefined()
    expect(await cache.known('https://a.example/')).toBeUndefined()
    await cache.put('aa', plan())
    await cache.drop('aa')
  })
})

describe('the index', () => {
  it('survives being written and read', () => {
    const index = parseIndex('{"entries":[["a",{"size":1,"used":2}]],"addresses":[["u",{"key":"a","version":""}]]}')
    expect(parseIndex(formatIndex(index))).toEqual(index)
    expect(parseIndex(undefined).entries.size).toBe(0)
  })

  it('forgets addresses of what it evicts', () => {
    const index = parseIndex('{"entries":[["a",{"size":5,"used":2}]],"addresses":[["u",{"key":"a","version":""}]]}')
    evict(index, 5)
    expect(index.addresses.size).toBe(1)
    evict(index, 4)
    expect(index.entries.size + index.addresses.size).toBe(0)
  })

  it.each([
    [{ etag: '"x"', 'last-modified': 'yesterday', 'content-length': '5' }, '"x"'],
    [{ 'last-modified': 'yesterday', 'content-length': '5' }, 'yesterday 5'],
    [{ 'last-modified': 'yesterday' }, ''],
    [{}, ''],
  ])('tells versions by tag, else by date and size: %o', (headers, version) => {
    expect(versionOf(new Response('', { headers: headers as Record<string, string> }))).toBe(version)
  })
})

describe('a tuned plan', () => {
  const tuned = (plan: Blob): Blob => new Blob([plan, 'a record'])
  const wide = plan(100)

  it('takes the place of the plan, whatever its key, and of the one tuned before', async () => {
    const fake = fakeStorage()
    const cache = open(fake.storage)
    await cache.put('aa', wide)
    await cache.put('bb', new Blob([new Uint8Array(100).fill(8)]))
    for (const twice of [1, 2]) {
      expect(await keepTuned(fake.storage, wide, tuned(wide)), String(twice)).toBe(true)
      expect((await cache.get('aa')) as Uint8Array).toHaveLength(108)
      expect((await cache.get('bb')) as Uint8Array).toHaveLength(100)
    }
  })

  it('is told from others by every byte of the header, whether or not they are text', async () => {
    const [one, other] = [0xfe, 0xff].map((byte) => new Blob([new Uint8Array(100).fill(byte)]))
    const fake = fakeStorage()
    await open(fake.storage).put('aa', one as Blob)
    expect(await keepTuned(fake.storage, other as Blob, tuned(other as Blob))).toBe(false)
    expect(await open(fake.storage).get('aa')).toHaveLength(100)
  })

  it('is not kept where the plan is not, or nothing can be', async () => {
    const fake = fakeStorage()
    expect(await keepTuned(fake.storage, wide, tuned(wide))).toBe(false)
    expect(await keepTuned(undefined, wide, tuned(wide))).toBe(false)
    await open(fake.storage).put('aa', wide)
    fake.quota = 100
    expect(await keepTuned(fake.storage, wide, tuned(wide))).toBe(false)
    expect(await open(fake.storage).get('aa')).toHaveLength(100)
  })
})
