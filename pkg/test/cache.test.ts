import { describe, expect, it } from 'vitest'
import { openPlanCache } from '../ts/cache.js'

/** Cache Storage in a map. */
function fakeStorage(): { storage: CacheStorage; entries: Map<string, Response> } {
  const entries = new Map<string, Response>()
  const cache = {
    match: (url: string) => Promise.resolve(entries.get(url)?.clone()),
    put: (url: string, response: Response) => Promise.resolve(void entries.set(url, response)),
    keys: () => Promise.resolve([...entries.keys()].map((url) => new Request(url))),
    delete: (key: string | Request) => Promise.resolve(entries.delete(typeof key === 'string' ? key : key.url)),
  }
  return { storage: { open: () => Promise.resolve(cache) } as unknown as CacheStorage, entries }
}

const plan = new Blob([Uint8Array.of(1, 2, 3)])

describe('the plan cache', () => {
  it('gives back what was put, and forgets what was dropped', async () => {
    const cache = openPlanCache(fakeStorage().storage, 'v1')
    expect(await cache.get('aa')).toBeUndefined()
    await cache.put('aa', plan)
    expect(await cache.get('aa')).toEqual(Uint8Array.of(1, 2, 3))
    await cache.drop('aa')
    expect(await cache.get('aa')).toBeUndefined()
  })

  it('forgets the plans of another compiler', async () => {
    const { storage, entries } = fakeStorage()
    await openPlanCache(storage, 'v1').put('aa', plan)
    const cache = openPlanCache(storage, 'v2')
    expect(await cache.get('aa')).toBeUndefined()
    await cache.put('bb', plan)
    expect([...entries.keys()]).toEqual(['https://nearside.invalid/v2/bb'])
  })

  it('is as good as none where it does not work', async () => {
    const broken = { open: () => Promise.reject(new Error('SecurityError')) } as unknown as CacheStorage
    for (const cache of [openPlanCache(broken, 'v1'), openPlanCache(undefined, 'v1')]) {
      expect(await cache.get('aa')).toBeUndefined()
      await cache.put('aa', plan)
      await cache.drop('aa')
    }
  })
})
