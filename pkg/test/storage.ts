/** Cache Storage in a map. */

export interface FakeStorage {
  readonly storage: CacheStorage
  readonly entries: Map<string, Response>
  /** Bytes that the device gives for one entry. */
  quota: number
}

export function fakeStorage(): FakeStorage {
  const entries = new Map<string, Response>()
  const url = (key: string | Request): string => (typeof key === 'string' ? key : key.url)
  const cache = {
    match: (key: string | Request) => Promise.resolve(entries.get(url(key))?.clone()),
    put: async (key: string | Request, response: Response) => {
      const { size } = await response.clone().blob()
      if (size > fake.quota) throw new DOMException('no room', 'QuotaExceededError')
      entries.set(url(key), response)
    },
    keys: () => Promise.resolve([...entries.keys()].map((key) => new Request(key))),
    delete: (key: string | Request) => Promise.resolve(entries.delete(url(key))),
  }
  const storage = { open: () => Promise.resolve(cache), delete: () => Promise.resolve(entries.clear()) }
  const fake = { storage: storage as unknown as CacheStorage, entries, quota: Infinity }
  return fake
}

/** Cache Storage that the browser keeps from the page. */
export function blockedStorage(): CacheStorage {
  return { open: () => Promise.reject(new Error('SecurityError')) } as unknown as CacheStorage
}

/** Keys of the entries that are there. */
export function kept({ entries }: FakeStorage): string[] {
  return [...entries.keys()].map((key) => key.replace('https://nearside.invalid/', '')).filter((key) => key !== 'index')
}
