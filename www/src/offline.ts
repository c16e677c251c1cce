/** Lets the page open without a network: the service worker keeps page, runtime and model. Only built pages have one. */

import type { Variant } from 'nearside'

/**
 * Registers it; calls `ready` when everything is kept, now or from an earlier visit.
 * @param variant the runtime that this browser uses: the other one is not kept
 */
export async function keepForOffline(variant: Variant, ready: () => void): Promise<void> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return
  try {
    const registration = await navigator.serviceWorker.register(`./sw.js?${variant}`)
    if (registration.active !== null) {
      ready()
      return
    }
    const worker = registration.installing ?? registration.waiting
    worker?.addEventListener('statechange', () => {
      if (worker.state === 'activated') ready()
    })
  } catch (error) {
    // Private windows and plain http allow none; the page works without.
    console.info('The page will not open offline:', error)
  }
}
