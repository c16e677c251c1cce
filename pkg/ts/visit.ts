/** The cache as one load sees it: what the device knows of the model's address, what its server answered, and what is kept of that. */

import type { Keeper } from './begun.js'
import { type Known, versionOf } from './cache-index.js'
import { type CacheSettings, compiledKey, openPlanCache, type PlanCache } from './cache.js'
import { type Arriving, LEAST } from './download.js'
import { LARGE } from './file.js'

export { answerOf, clearCache, openStore } from './cache.js'

/** The cache during a load. */
export interface Visit extends Pick<PlanCache, 'get' | 'drop'> {
  readonly compiledKey: typeof compiledKey
  /** Whether the server lets its answer be kept. */
  readonly keepable: boolean
  /** What the address gave when it was asked last. */
  known(): Promise<Known | undefined>
  /** Takes note of the server's answer; tells whether the address has what it had before. */
  answered(response: Response, known: Known | undefined): boolean
  /** Keeps a plan that is known to load, as what the address leads to. */
  put(key: string, plan: Blob): Promise<void>
  /** The beginning of the address's file, if the last download of this version was cut off. */
  begun(version: string, total: number): Promise<Arriving | undefined>
  /** Bytes arrived: keeps what is there of a large file, until it is whole. */
  arrive(arriving: Arriving | undefined): void
  /** The load ended: forgets the beginning of the file, unless the rest may still come. */
  settle(): void
}

/** What a load tells the cache. */
export interface VisitSettings extends Pick<CacheSettings, 'maxBytes'> {
  /** Where the model comes from, if a server has the same for everybody. */
  readonly address: string | undefined
  /** What it is called in messages. */
  readonly label: string
  readonly warn: (message: string) => void
}

/** Opens the cache for a load. */
export function openVisit(storage: CacheStorage, { address, label, maxBytes, warn }: VisitSettings): Visit {
  const onFailure = (why: string): void =>
    warn(`The plan of ${label} could not be kept (${why}); it is made anew at the next visit.`)
  const cache = openPlanCache(storage, { maxBytes, onFailure })
  const forget = (address: string): Promise<void> => cache.change((_, { entries }) => void entries.delete(address))
  /** What the server calls the version of the file that it sent; unknown until it answers. */
  let version: string | undefined
  let keepable = true
  let offered: Arriving | undefined
  /** Whether the rest of the file may still come. */
  let waits = false
  let keeper: Promise<Keeper | undefined> | undefined
  /** Whether there is a beginning of the file to forget. */
  let touched = false
  const stop = (): void => {
    void keeper?.then((keeper) => keeper?.stop())
    offered = undefined
  }
  return {
    get: (key) => cache.get(key),
    drop: (key) => cache.drop(key),
    compiledKey,
    get keepable() {
      return keepable
    },
    known: async () => (address === undefined ? undefined : cache.known(address)),
    answered: (response, known) => {
      version = versionOf(response)
      keepable = !/no-store/i.test(response.headers.get('cache-control') ?? '')
      return version !== '' && known?.version === version
    },
    put: (key, plan) => cache.put(key, plan, address, version),
    begun: async (version, total) => {
      const begun = address === undefined ? undefined : await cache.begun(address)
      if (address === undefined || begun?.version !== version || begun.total !== total) return undefined
      touched = true
      const { readBegun } = await import('./begun.js')
      offered = await readBegun(cache, begun)
      // What was damaged is of no use.
      if (offered === undefined) await forget(address)
      return offered
    },
    arrive: (arriving) => {
      const { total = 0, version } = arriving ?? {}
      waits = arriving !== undefined && arriving.file.size < total
      // Whoever holds the model holds this, and need not hold the file.
      if (!waits) return stop()
      if (address === undefined || arriving === undefined || version === undefined || !keepable) return
      if (total < LEAST || total > Math.min(maxBytes, LARGE)) return
      touched = true
      keeper ??= import('./begun.js').then(({ Keeper }) => new Keeper(cache, address, offered)).catch(() => undefined)
      void keeper.then((keeper) => keeper?.arrive(arriving))
    },
    settle: () => {
      if (address !== undefined && version !== undefined && !waits && touched) void forget(address)
      offered = keeper = undefined
    },
  }
}
