/**
 * Compiled plans in Cache Storage, by the model's sha-256 and the compiler that made them. A cache that does not work
 * (private windows, file://, http, a full disk) is as good as none: nothing here throws.
 */

import { type FileBytes, LARGE } from './file.js'

/** A cache of plans. */
export interface PlanCache {
  /** The plan for a model, if there is one. */
  get(sha256: string): Promise<FileBytes | undefined>
  /** Keeps a plan that is known to load. */
  put(sha256: string, plan: Blob): Promise<void>
  /** Forgets a plan that did not load. */
  drop(sha256: string): Promise<void>
}

const STORE = 'nearside-plans'

/** Digest of the compiler's binary, set by the build: any change of it makes plans anew. */
declare const NEARSIDE_COMPILER_ID: string

/** A cache in `storage`, or one that keeps nothing. */
export function openPlanCache(storage: CacheStorage | undefined, compilerId = NEARSIDE_COMPILER_ID): PlanCache {
  // Cache Storage wants http addresses; nothing ever asks a server for this one.
  const folder = `https://nearside.invalid/${compilerId}/`
  const attempt = async <T>(work: (cache: Cache) => Promise<T>): Promise<T | undefined> => {
    try {
      return storage === undefined ? undefined : await work(await storage.open(STORE))
    } catch {
      return undefined
    }
  }
  return {
    get: (sha256) =>
      attempt(async (cache) => {
        const found = await cache.match(folder + sha256)
        if (found === undefined) return undefined
        const plan = await found.blob()
        return plan.size > LARGE ? plan : new Uint8Array(await plan.arrayBuffer())
      }),
    put: async (sha256, plan) => {
      await attempt(async (cache) => {
        await cache.put(folder + sha256, new Response(plan, { headers: { 'content-type': 'application/octet-stream' } }))
        const stale = (await cache.keys()).filter((request) => !request.url.startsWith(folder))
        await Promise.all(stale.map((request) => cache.delete(request)))
      })
    },
    drop: async (sha256) => {
      await attempt((cache) => cache.delete(folder + sha256))
    },
  }
}
