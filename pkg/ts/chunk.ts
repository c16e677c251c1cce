/** Parts of the package that are loaded when they are needed. */

import { UnsupportedError } from './errors.js'

/** A part that `import()` was called for, or an error that says where that cannot be. */
export function lazily<T>(part: Promise<T>): Promise<T> {
  return part.catch((cause: unknown) => {
    throw new UnsupportedError(
      `A part of Nearside's code could not be imported (${String(cause)}); serve all of its files, and in a service worker import from 'nearside/inline'.`,
      { cause },
    )
  })
}

/** Throws for options that are none, as {@link rethrow} explains, and for a signal that was aborted. */
export function checkCall(options: { readonly signal?: AbortSignal | undefined }): void {
  if (Object(options) !== options) throw new TypeError()
  options.signal?.throwIfAborted()
}

/** Throws an error again; one of JavaScript's own for an option of the wrong type as one that names it. */
export async function rethrow(error: unknown, options: object): Promise<never> {
  throw error instanceof TypeError ? (await lazily(import('./options.js'))).explained(error, options) : error
}
