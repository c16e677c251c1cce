/** A channel to a host in the same thread. Imported only when asked for: pages with a Worker never download it. */

import { Host } from './host.js'
import type { Channel, MessageName, RequestOf, ResponseOf } from './protocol.js'
import { instantiate } from './raw.js'
import { fromWire } from './wire-error.js'

export class InlineChannel implements Channel {
  #host: Host | undefined = new Host(instantiate)

  async call<K extends MessageName>(name: K, request: RequestOf<K>): Promise<ResponseOf<K>> {
    const host = this.#host
    if (host === undefined) throw new Error('the channel is closed')
    try {
      return await host.handle(name, request)
    } catch (error) {
      throw fromWire(host.describe(error))
    }
  }

  close(): void {
    this.#host?.dismiss()
    this.#host = undefined
  }
}
