/** `Worker` for Node, over worker_threads: enough of the web's for the package's own. */

import { Worker as NodeWorker } from 'node:worker_threads'

const BOOT = `
  const { parentPort, workerData } = require('node:worker_threads')
  globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer)
  const early = []
  const receive = (data) => (globalThis.onmessage ? globalThis.onmessage({ data }) : early.push(data))
  parentPort.on('message', receive)
  import(workerData).then(() => early.splice(0).forEach(receive), (error) => { setTimeout(() => { throw error }) })
`

/** Workers that are alive. */
export const alive = new Set<WorkerShim>()

export class WorkerShim {
  onmessage: ((event: { data: unknown }) => void) | null = null
  onmessageerror: (() => void) | null = null
  onerror: ((event: { message: string; preventDefault(): void }) => void) | null = null
  readonly #worker: NodeWorker

  constructor(url: string | URL) {
    alive.add(this)
    this.#worker = new NodeWorker(BOOT, { eval: true, workerData: String(url) })
    this.#worker.on('message', (data) => this.onmessage?.({ data }))
    this.#worker.on('error', (error: Error) => this.die(error.message))
  }

  postMessage(message: unknown, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  terminate(): void {
    alive.delete(this)
    void this.#worker.terminate()
  }

  /** What the browser does when a Worker dies. */
  die(message: string): void {
    this.onerror?.({ message, preventDefault: () => {} })
  }
}
