/** The service worker: keeps the files of one build, so that the page opens without a network. Inference calls pass by it. */

const scope = globalThis as unknown as ServiceWorkerGlobalScope

/** What to keep and the digest of it, filled in by the build. */
const KEEP = JSON.parse('__KEEP__') as { version: string; files: string[] }

/** The page registers `sw.js?simd` or `sw.js?relaxed`, by the one runtime of the two that it uses. */
const RUNTIME = `core.${scope.location.search.slice(1)}-`
const FILES = KEEP.files.filter((file) => !file.includes('/core.') || file.includes(RUNTIME))

const PREFIX = 'nearside-demo-'
const STORE = PREFIX + KEEP.version

scope.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const store = await caches.open(STORE)
      await store.addAll(FILES)
      await scope.skipWaiting()
    })(),
  )
})

scope.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      const names = await caches.keys()
      await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== STORE).map((name) => caches.delete(name)))
      await scope.clients.claim()
    })(),
  )
})

scope.addEventListener('fetch', (event) => {
  const { request } = event
  if (request.method !== 'GET' || !request.url.startsWith(scope.registration.scope)) return
  if (request.mode === 'navigate') {
    // A newer page wins while there is a network.
    event.respondWith(fetch(request).catch(async () => (await caches.match('./')) ?? Response.error()))
    return
  }
  const path = request.url.slice(scope.registration.scope.length)
  if (FILES.includes(`./${path}`)) event.respondWith(kept(request))
})

async function kept(request: Request): Promise<Response> {
  return (await (await caches.open(STORE)).match(request)) ?? fetch(request)
}
