/** Cache Storage, where the page may ask for it: in a sandboxed frame even the question throws. */
export function cacheStorage(): CacheStorage | undefined {
  try {
    return globalThis.caches
  } catch {
    return undefined
  }
}
