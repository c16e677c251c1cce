/** The Worker: a host that answers messages, one at a time and each exactly once, or one of its helpers. */

import { Host, transferables } from './engine/host.js'
import type { RequestMessage, ResponseMessage } from './engine/protocol.js'
import { help, instantiate } from './engine/raw.js'
import type { HelpMessage } from './engine/team.js'

interface WorkerScope {
  onmessage: ((event: MessageEvent<RequestMessage | HelpMessage>) => void) | null
  postMessage(message: ResponseMessage | 'here', transfer: Transferable[]): void
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

async function assist({ help: task }: HelpMessage): Promise<void> {
  try {
    await help(task, () => scope.postMessage('here', []))
  } catch (error) {
    // Thrown where the browser tells the Worker that started this one.
    setTimeout(() => {
      throw error
    })
  }
}

scope.onmessage = ({ data }) => void ('help' in data ? assist(data) : answer(data))
