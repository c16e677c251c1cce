/** Files of this machine, for programs that are no pages: Node.js, whose `fetch` reads none, Bun and Deno. */

/** As much of Node's `process` as is needed; pages have none, or a bundler's stand-in. */
interface NodeProcess {
  getBuiltinModule?(name: 'node:url'): { pathToFileURL(path: string): URL }
}

/** Node's modules, without an `import` that bundlers for pages would stumble over. */
function nodeProcess(): Required<NodeProcess> | undefined {
  const { location, process } = globalThis as { location?: unknown; process?: NodeProcess }
  return location === undefined && process?.getBuiltinModule !== undefined ? (process as Required<NodeProcess>) : undefined
}

/** The address of what a program without a page names by its path; anything else as it is. */
export function fileAddress<T>(source: T): T | URL {
  if (typeof source !== 'string' || /^(https?|file|data|blob):/i.test(source)) return source
  return nodeProcess()?.getBuiltinModule('node:url').pathToFileURL(source) ?? source
}

/** As `fetch`, for files of this machine as well. */
export async function fetchAny(source: string | URL | Request, init: RequestInit): Promise<Response> {
  if (source instanceof Request || nodeProcess() === undefined || !String(source).startsWith('file:')) return fetch(source, init)
  const { readFileUrl } = await import('./node-files.js')
  return readFileUrl(new URL(source), init)
}
