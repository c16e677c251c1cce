/** A plan that was tuned takes the place of the one on the device. */

import { headOf } from './file.js'
import { text } from './magic.js'

/** Bytes of a plan's header. */
const PLAN_HEAD = 64

/**
 * Puts `tuned`, a plan with the record that follows it, where the cache has that plan, whatever the key: with or without another record. Tells whether
 * it was there.
 */
export async function keepTuned(storage: CacheStorage | undefined, plan: Blob, tuned: Blob): Promise<boolean> {
  try {
    // Not imported at the top: the page's first load would then fetch one file more.
    const { answerOf, openStore } = await import('./visit.js')
    const cache = storage && (await openStore(storage))
    const head = await planHead(plan)
    let found = false
    for (const request of (await cache?.keys()) ?? []) {
      const kept = await (await cache?.match(request))?.blob()
      // The first piece of a file has a plan's head, too.
      if (kept === undefined || kept.size < plan.size || (await planHead(kept)) !== head) continue
      await cache?.put(request, answerOf(tuned))
      found = true
    }
    return found
  } catch {
    return false
  }
}

/** What tells plans apart: the header holds the length and the sum of the plan, but nothing of a record that follows. */
async function planHead(plan: Blob): Promise<string> {
  return text(await headOf(plan), 0, PLAN_HEAD)
}
