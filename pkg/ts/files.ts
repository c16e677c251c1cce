/** Files of this machine, for programs that are no pages: Node.js, whose `fetch` reads none, Bun and Deno. */

import type { FileSystem } from './node-files.js'

/** As much of Node's modules as is needed. */
interface NodeModules {
  'node:url': { pathToFileURL(path: string): URL }
  'node:fs/promises': FileSystem
  'node:worker_threads': unknown
}

/** One of Node's modules, without an `import` that bundlers for pages would stumble over; pages have none, or a bundler's stand-in. */
export function nodeModule<K extends keyof NodeModules>(name: K): NodeModules[K] | undefined {
  const { location, process } = globalThis as {
    location?: unknown
    process?: { getBuiltinModule?(name: K): NodeModules[K] }
  }
  return location === undefined ? process?.getBuiltinModule?.(name) : undefined
}

/** The address of what a program without a page names by its path; anything else as it is. */
export function fileAddress<T>(source: T): T | URL {
  if (typeof source !== 'string' || /^(https?|file|data|blob):/i.test(source)) return source
  return nodeModule('node:url')?.pathToFileURL(source) ?? source
}

/** As `fetch`, for files of this machine as well. */
export async function fetchAny(source: string | URL | Request, init: RequestInit): Promise<Response> {
  const isFile = !(source instanceof Request) && String(source).startsWith('file:')
  const files = isFile ? nodeModule('node:fs/promises') : undefined
  if (files === undefined) return fetch(source, init)
  const { readFileUrl } = await import('./node-files.js')
  return readFileUrl(files, new URL(source as string | URL), init)
}
