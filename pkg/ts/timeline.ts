/** What a load spent its time on, as spans relative to its start. */

import type { LoadTimings, Span, SpanName } from './types.js'

export class Timeline {
  readonly #start = performance.now()
  readonly #spans: Span[] = []
  #total = 0

  /** Whether the plan came from the cache. */
  cached = false

  /** Runs `work` and notes how long it took, if it succeeds. */
  async measure<T>(name: SpanName, work: () => Promise<T>): Promise<T> {
    const start = performance.now()
    const result = await work()
    this.add(name, start, performance.now() - start)
    return result
  }

  /** Notes a step that began at `start` (as `performance.now` tells it). */
  add(name: SpanName, start: number, duration: number): void {
    this.#spans.push({ name, start: start - this.#start, duration })
  }

  /** Ends the load. */
  finish(): void {
    this.#total = performance.now() - this.#start
  }

  /** The times so far. */
  toTimings(): LoadTimings {
    const durations: { [K in SpanName]?: number } = {}
    for (const { name, duration } of this.#spans) durations[name] ??= duration
    const spans = this.#spans.toSorted((a, b) => a.start - b.start)
    return { ...durations, total: this.#total, cached: this.cached, spans }
  }
}
