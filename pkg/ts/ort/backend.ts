/** Backends that an application registers. A session uses one where its execution providers name it. */

import { warn } from './env.js'
import type { Backend, InferenceSession } from './session-types.js'

interface Registered {
  backend: Backend
  priority: number
  ready: Promise<void> | undefined
}

const backends = new Map<string, Registered>()

/** Registers a backend under the name of an execution provider; of two with the same name, the one with the higher priority stays. */
export function registerBackend(name: string, backend: Backend, priority: number): void {
  const valid = backend as Partial<Backend> | null | undefined
  if (typeof valid?.init !== 'function' || typeof valid.createInferenceSessionHandler !== 'function')
    throw new TypeError('not a valid backend')
  const before = backends.get(name)
  if (before?.backend === backend || (before !== undefined && before.priority > priority)) return
  if (before?.priority === priority) throw new Error(`cannot register backend "${name}" using priority ${priority}`)
  backends.set(name, { backend, priority, ready: undefined })
}

/** The first registered backend that the options name and that starts; `undefined` where this package does the work. */
export async function resolveBackend(options: InferenceSession.SessionOptions): Promise<Backend | undefined> {
  for (const name of providerNames(options)) {
    const found = backends.get(name)
    if (found === undefined) continue
    try {
      await (found.ready ??= found.backend.init(name))
      return found.backend
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      warn(
        `removing requested execution provider "${name}" from session options because it is not available: ${text}`,
        options.logSeverityLevel,
      )
    }
  }
  return undefined
}

/** The names of the execution providers. */
export function providerNames(options: InferenceSession.SessionOptions): string[] {
  const given: unknown = options.executionProviders ?? []
  const list: unknown[] = Array.isArray(given) ? given : [given]
  return list.map((provider) => {
    const name: unknown = typeof provider === 'string' ? provider : (provider as { name?: unknown } | null)?.name
    if (typeof name !== 'string') throw new TypeError("'executionProviders' must be a list of names, or of objects with a name.")
    return name
  })
}
