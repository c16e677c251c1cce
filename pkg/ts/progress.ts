/** Progress of a load: one fraction over all phases, which never falls and ends at 1. */

import type { LoadPhase, Progress } from './types.js'

/** Where each phase begins and ends in the whole. The download is most of it where waiting is felt. */
const RANGE: { readonly [K in LoadPhase]: readonly [number, number] } = {
  download: [0, 0.8],
  compile: [0.8, 0.95],
  bind: [0.95, 1],
  ready: [1, 1],
}

/** Bytes at which a download of unknown length is shown half done. */
const HALF_WAY = 4 << 20

export class ProgressMeter {
  readonly #listener: ((progress: Progress) => void) | undefined
  #fraction = 0
  #loaded = 0
  #total: number | undefined

  constructor(listener: ((progress: Progress) => void) | undefined) {
    this.#listener = listener
  }

  /** Bytes have arrived. */
  bytes(loaded: number, total: number | undefined): void {
    this.#loaded = loaded
    this.#total = total
    const part = total === undefined ? loaded / (loaded + HALF_WAY) : total === 0 ? 1 : Math.min(1, loaded / total)
    this.#report('download', part)
  }

  /** A phase begins. */
  enter(phase: Exclude<LoadPhase, 'download'>): void {
    this.#report(phase, 0)
  }

  #report(phase: LoadPhase, part: number): void {
    const [from, to] = RANGE[phase]
    this.#fraction = Math.max(this.#fraction, from + (to - from) * part)
    this.#listener?.({ phase, loaded: this.#loaded, total: this.#total, fraction: this.#fraction })
  }
}
