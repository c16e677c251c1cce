/**
 * Plans on the device, in Cache Storage: by the sha-256 of the file that they came from and, for ONNX, the compiler that made them. A
 * cache that does not work (private windows, file://, http, a full disk) is as good as none: nothing here throws. What is read is
 * checked like any plan (its file holds a digest), so an entry that was cut off or changed is found, dropped and made anew.
 */

import { type Begun, evict, formatIndex, type Index, type Known, namesOf, parseIndex, totalBytes } from './cache-index.js'
import { FOLDER, INDEX, STORE } from './cache-place.js'
import { type FileBytes, LARGE } from './file.js'

/** Access to what the cache holds; neither throws. */
export interface Store {
  /** Changes the index, one page after the other, and deletes what it does not name. */
  change(work: (cache: Cache, index: Index) => void | Promise<void>): Promise<void>
  attempt<T>(work: (cache: Cache) => Promise<T>): Promise<T | undefined>
}

/** A cache of plans. */
export interface PlanCache extends Store {
  /** The plan of this key, if there is one. */
  get(key: string): Promise<FileBytes | undefined>
  /** Keeps a plan that is known to load, and which address leads to it. */
  put(key: string, plan: Blob, address?: string, version?: string): Promise<void>
  /** Forgets a plan that did not load. */
  drop(key: string): Promise<void>
  /** What an address gave when it was asked last. */
  known(address: string): Promise<Known | undefined>
  /** What is there of an address's file. */
  begun(address: string): Promise<Begun | undefined>
}

/** What a cache needs to know. */
export interface CacheSettings {
  /** The most bytes that it holds; what was not used for the longest time goes first. */
  readonly maxBytes: number
  /** Called if a plan could not be kept, with the reason. */
  readonly onFailure?: ((why: string) => void) | undefined
}

/** Digest of the compiler's binary, set by the build: any change of it makes plans anew. */
declare const NEARSIDE_COMPILER_ID: string

/** The key of the plan that the compiler makes of an ONNX file. */
export function compiledKey(sha256: string, compilerId = NEARSIDE_COMPILER_ID): string {
  return `${compilerId}-${sha256}`
}

/** A cache in Cache Storage. */
export function openPlanCache(storage: CacheStorage, { maxBytes, onFailure }: CacheSettings): PlanCache {
  const attempt = async <T>(work: (cache: Cache) => Promise<T>): Promise<T | undefined> => {
    try {
      return await work(await openStore(storage))
    } catch {
      return undefined
    }
  }
  const change = (work: (cache: Cache, index: Index) => void | Promise<void>): Promise<void> =>
    exclusively(async () => {
      await attempt(async (cache) => {
        const index = await readIndex(cache)
        await work(cache, index)
        evict(index, maxBytes)
        await cache.put(INDEX, new Response(formatIndex(index)))
        await deleteOthers(cache, index)
      })
    })
  return {
    change,
    attempt,
    get: (key) =>
      attempt(async (cache) => {
        const found = await cache.match(FOLDER + key)
        if (found === undefined) return undefined
        const plan = await found.blob()
        // Nobody need wait for that.
        void change((_, index) => void index.entries.set(key, { size: plan.size, used: Date.now() }))
        return plan.size > LARGE ? plan : new Uint8Array(await plan.arrayBuffer())
      }),
    put: async (key, plan, address, version = '') => {
      if (plan.size > maxBytes) return
      await change(async (cache, index) => {
        const room = (bytes: number): void => evict(index, Math.max(0, bytes - plan.size))
        const keep = (): Promise<void> => write(cache, key, plan)
        // The file that it was made of is whole.
        if (address !== undefined && index.entries.delete(address)) await deleteOthers(cache, index)
        room(maxBytes)
        try {
          if ((await cache.match(FOLDER + key)) === undefined) await keep()
        } catch {
          // The device gives no more room: what was not used for long makes some.
          room(totalBytes(index) / 2)
          await deleteOthers(cache, index)
          await keep().catch((error: unknown) => {
            onFailure?.(error instanceof Error ? error.message : String(error))
            throw error
          })
        }
        index.entries.set(key, { size: plan.size, used: Date.now() })
        if (address !== undefined) index.addresses.set(address, { key, version })
      })
    },
    drop: async (key) => {
      await attempt((cache) => cache.delete(FOLDER + key))
      void change((_, index) => void index.entries.delete(key))
    },
    known: (address) => attempt(async (cache) => (await readIndex(cache)).addresses.get(address)),
    begun: (address) => attempt(async (cache) => (await readIndex(cache)).entries.get(address)?.begun),
  }
}

/** Where plans are. */
export function openStore(storage: CacheStorage): Promise<Cache> {
  return storage.open(STORE)
}

/** Deletes all plans on the device, and what is there of files. */
export async function clearCache(storage: CacheStorage | undefined): Promise<void> {
  await storage?.delete(STORE).catch(() => {})
}

async function readIndex(cache: Cache): Promise<Index> {
  return parseIndex(await (await cache.match(INDEX))?.text())
}

async function write(cache: Cache, key: string, plan: Blob): Promise<void> {
  await cache.put(FOLDER + key, answerOf(plan))
}

/** A plan as Cache Storage takes it. */
export function answerOf(plan: Blob): Response {
  return new Response(plan, { headers: { 'content-type': 'application/octet-stream' } })
}

async function deleteOthers(cache: Cache, index: Index): Promise<void> {
  const names = namesOf(index)
  const stale = (await cache.keys()).filter(({ url }) => url !== INDEX && !names.has(url.slice(FOLDER.length)))
  await Promise.all(stale.map((request) => cache.delete(request)))
}

function exclusively(work: () => Promise<void>): Promise<void> {
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks
  return locks === undefined ? work() : locks.request(STORE, work)
}
