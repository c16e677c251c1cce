/** How smoothly the page goes on: the longest gap between two frames, with something that moves for the eye. */

export interface Jank {
  readonly frames: number
  /** The longest time between two frames, in milliseconds. */
  readonly longestFrame: number
  /** Tasks of the page over 50 ms, as the browser reports them, and the time in them. */
  readonly longTasks: number
  readonly blocked: number
}

export class JankMeter {
  #frames = 0
  #longest = 0
  #longTasks = 0
  #blocked = 0
  #last: number | undefined
  #handle = 0
  readonly #observer: PerformanceObserver | undefined
  readonly #onFrame: (phase: number) => void

  /** @param onFrame called with 0 to 1, once around per second */
  constructor(onFrame: (phase: number) => void) {
    this.#onFrame = onFrame
    if (PerformanceObserver.supportedEntryTypes.includes('longtask')) {
      this.#observer = new PerformanceObserver((list) => {
        this.#take(list.getEntries())
      })
    }
  }

  start(): void {
    ;[this.#frames, this.#longest, this.#longTasks, this.#blocked] = [0, 0, 0, 0]
    this.#last = undefined
    this.#observer?.observe({ entryTypes: ['longtask'] })
    const tick = (now: number): void => {
      // A hidden page has no frames; that is no jank.
      if (this.#last !== undefined && !document.hidden) this.#longest = Math.max(this.#longest, now - this.#last)
      this.#last = document.hidden ? undefined : now
      this.#frames += 1
      this.#onFrame((now % 1000) / 1000)
      this.#handle = requestAnimationFrame(tick)
    }
    this.#handle = requestAnimationFrame(tick)
  }

  stop(): Jank {
    cancelAnimationFrame(this.#handle)
    this.#take(this.#observer?.takeRecords() ?? [])
    this.#observer?.disconnect()
    return { frames: this.#frames, longestFrame: this.#longest, longTasks: this.#longTasks, blocked: this.#blocked }
  }

  #take(entries: PerformanceEntryList): void {
    for (const { duration } of entries) {
      this.#longTasks += 1
      this.#blocked += duration
    }
  }
}
