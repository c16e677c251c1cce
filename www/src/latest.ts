/** A worker that never falls behind: while it is busy, only the newest job waits, and older ones are let go. */

export class LatestWins<T> {
  readonly #work: (job: T) => Promise<void>
  #busy = false
  #waiting: { readonly job: T } | undefined

  /** @param work does one job; it deals with its own failures */
  constructor(work: (job: T) => Promise<void>) {
    this.#work = work
  }

  /** Does the job now, or when the present one is done unless a newer one comes before. */
  submit(job: T): void {
    this.#waiting = { job }
    if (!this.#busy) void this.#drain()
  }

  /** Lets the waiting job go. */
  clear(): void {
    this.#waiting = undefined
  }

  async #drain(): Promise<void> {
    this.#busy = true
    try {
      for (let next = this.#take(); next !== undefined; next = this.#take()) await this.#work(next.job)
    } finally {
      this.#busy = false
    }
  }

  #take(): { readonly job: T } | undefined {
    const next = this.#waiting
    this.#waiting = undefined
    return next
  }
}
