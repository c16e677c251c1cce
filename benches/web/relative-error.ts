/** How far numbers are from those that they should be. */

export class RelativeError {
  #differences = 0
  #norm = 0

  /** Adds one number; infinities and NaN are right where they are expected. */
  add(expected: number, actual: number): void {
    if (!Object.is(expected, actual)) this.#differences += (actual - expected) ** 2
    this.#norm += expected ** 2
  }

  /** The Euclidean norm of all differences, as a part of what was expected; the norm itself where that is zero. */
  get value(): number {
    return this.#differences === 0 ? 0 : Math.sqrt(this.#differences / (this.#norm || 1))
  }
}
