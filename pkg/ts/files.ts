/** Files of this machine, for programs that are no pages: Node.js, whose `fetch` reads none, Bun and Deno. */

import { lazily } from './chunk.js'
import type { NodeFiles } from './node-files.js'

let files: NodeFiles | undefined

/** Whether this is Node.js or runs its programs. A page is never, whatever stand-in a bundler gives it. */
export function isNode(): boolean {
  const { location, process } = globalThis as {
    location?: unknown
    process?: { versions?: { node?: string } }
  }
  return location === undefined && process?.versions?.node !== undefined
}

/** Makes what follows know files, where {@link isNode}: Node.js gives its modules later. */
export async function openFiles(): Promise<void> {
  files = await (await lazily(import('./node-files.js'))).nodeFiles()
}

/** The address of what a program without a page names by its path; anything else as it is. */
export function fileAddress<T>(source: T): T | URL {
  if (typeof source !== 'string' || /^(https?|file|data|blob):/i.test(source)) return source
  return files?.pathToFileURL(source) ?? source
}

/** As `fetch`, for files of this machine as well. */
export async function fetchAny(source: string | URL | Request, init: RequestInit): Promise<Response> {
  const isFile = !(source instanceof Request) && String(source).startsWith('file:')
  return (isFile ? files?.fetchFile(new URL(source), init) : undefined) ?? fetch(source, init)
}
