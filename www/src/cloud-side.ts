/** The cloud through all experiments of a visit: one connection at a time, measurements by experiment, totals over all. */

import { Cloud, type CloudState } from './cloud'
import type { Answer, Call } from './edge'
import { type Experiment, writeQuery } from './network'
import { Series } from './stats'

/** What was measured under one experiment. */
export interface CloudRecord {
  readonly series: Series<Call>
  failed: number
  /** Milliseconds that connecting took. */
  connectMs: number | undefined
}

export class CloudSide {
  readonly #page: string
  readonly #onState: (state: CloudState) => void
  readonly #records = new Map<string, CloudRecord>()
  #cloud: Cloud
  #sentBefore = 0
  #answered = 0

  constructor(page: string, experiment: Experiment, onState: (state: CloudState) => void) {
    this.#page = page
    this.#onState = onState
    this.#cloud = this.#connect(experiment)
  }

  get experiment(): Experiment {
    return this.#cloud.experiment
  }

  get state(): CloudState {
    return this.#cloud.state
  }

  /** What was measured under the present experiment, now and when it was chosen before. */
  get record(): CloudRecord {
    return this.#recordOf(this.experiment)
  }

  /** Bytes in the bodies of all answered requests of this visit. */
  get sent(): number {
    return this.#sentBefore + this.#cloud.bytesSent
  }

  /** All answered requests of this visit. */
  get answered(): number {
    return this.#answered
  }

  /** Another network or another model. */
  change(experiment: Experiment): void {
    this.#sentBefore += this.#cloud.bytesSent
    this.#cloud.close()
    this.#cloud = this.#connect(experiment)
  }

  /** Predicts, or only connects when there is no image. `undefined` if the cloud cannot, or another experiment came between. */
  async ask(image: Float32Array | undefined): Promise<Answer | undefined> {
    const cloud = this.#cloud
    if (!cloud.isWorthAsking) return undefined
    const record = this.#recordOf(cloud.experiment)
    if (image === undefined) {
      await cloud.open()
      return undefined
    }
    const answer = await cloud.ask(image)
    if (cloud !== this.#cloud) return undefined
    if (answer === undefined) {
      record.failed++
      return undefined
    }
    record.series.add(answer.call)
    this.#answered++
    return answer
  }

  #connect(experiment: Experiment): Cloud {
    const cloud = new Cloud(this.#page, experiment, (state) => {
      if (state.kind === 'ready') this.#recordOf(experiment).connectMs ??= state.connectMs
      this.#onState(state)
    })
    this.#onState(cloud.state)
    return cloud
  }

  #recordOf(experiment: Experiment): CloudRecord {
    const key = writeQuery(experiment)
    const known = this.#records.get(key)
    if (known !== undefined) return known
    const record = { series: new Series<Call>(), failed: 0, connectMs: undefined }
    this.#records.set(key, record)
    return record
  }
}
