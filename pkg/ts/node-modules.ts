/** Node's own modules, for the parts of the package that pages never load. */

import type { FileSystem } from './node-files.js'
import type { Threads } from './node-thread.js'

/** As much of them as is needed. */
interface NodeModules {
  'node:url': { readonly pathToFileURL: (path: string) => URL; readonly fileURLToPath: (url: URL) => string }
  'node:fs/promises': FileSystem
  'node:worker_threads': Threads
}

/** A module. Node.js before 20.16 has only `import` for that, which the comments keep webpack and Vite from following. */
export async function nodeModule<K extends keyof NodeModules>(name: K): Promise<NodeModules[K]> {
  const { process } = globalThis as unknown as { process: { getBuiltinModule?(name: K): NodeModules[K] } }
  const known = process.getBuiltinModule?.(name)
  return known ?? ((await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as NodeModules[K])
}
