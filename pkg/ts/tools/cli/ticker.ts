/** Signs of life on standard error, for what takes longer than half a second. */

import { basename } from 'node:path'
import process from 'node:process'

import type { Step } from '../compiler/job.js'

const PATIENCE = 500

export class Ticker {
  readonly #started = performance.now()
  readonly #timer: NodeJS.Timeout
  readonly #terminal = process.stderr.isTTY
  #text: string
  /** What was last said, without the time that it took so far. */
  #said: string | undefined

  constructor(text: string) {
    this.#text = text
    this.#timer = setInterval(() => this.#tick(), PATIENCE)
    // Nothing waits for the ticker alone.
    this.#timer.unref()
  }

  /** Says what is done now. */
  step(text: string): void {
    this.#text = text
  }

  stop(): void {
    clearInterval(this.#timer)
    if (this.#terminal && this.#said !== undefined) process.stderr.write('\r\x1b[K')
  }

  #tick(): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1)
    // On a terminal one line that changes, elsewhere a line for each step that is new.
    if (this.#terminal) process.stderr.write(`\r\x1b[K${this.#text} … ${seconds} s`)
    else if (this.#said !== this.#text) process.stderr.write(`${this.#text} …\n`)
    this.#said = this.#text
  }
}

/** A step of the compiler in words. */
export function words(step: Step): string {
  if ('compiling' in step) return `compiling ${basename(step.compiling)}`
  const { reading, done, total } = step
  // In tenths, so that a log without a terminal gets few lines.
  return `reading ${basename(reading)}, ${total > 0 ? Math.floor((done / total) * 10) * 10 : 100} %`
}

/** Does something that takes a while. */
export async function withTicker<T>(text: string, work: (step: (text: string) => void) => Promise<T>): Promise<T> {
  const ticker = new Ticker(text)
  try {
    return await work((next) => ticker.step(next))
  } finally {
    ticker.stop()
  }
}
