/** What went wrong, where something must. */

import { expect } from 'vitest'
import { InputError } from '../ts/errors.js'

/** The error with which a promise rejects. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.unreachable(),
    (error: unknown) => error as Error,
  )
}

/** The sentence of the {@link InputError} that a call throws. */
export function inputErrorOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}
