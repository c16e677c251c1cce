/** The Worker: a host that answers messages, one at a time and each exactly once. */

import { Host, transferables } from './engine/host.js'
import type { RequestMessage, ResponseMessage } from './engine/protocol.js'
import { instantiate } from './engine/raw.js'

interface WorkerScope {
  onmessage: ((event: MessageEvent<RequestMessage>) => void) | null
  postMessage(message: ResponseMessage, transfer: Transferable[]): void
}

const scope = globalThis as unknown as WorkerScope
const host = new Host(instantiate)

async function answer({ seq, name, request }: RequestMessage): Promise<void> {
  try {
    const response = await host.handle(name, request)
    scope.postMessage({ seq, response }, transferables(name, response))
  } catch (error) {
    scope.postMessage({ seq, error: host.describe(error) }, [])
  }
}

scope.onmessage = ({ data }) => void answer(data)
