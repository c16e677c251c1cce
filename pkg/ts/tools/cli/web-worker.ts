/** The web's `Worker` over Node's: as much of it as the package's own Worker and its helpers need. */

import { Worker as Thread } from 'node:worker_threads'

import { WEB_WORKER } from '../package-files.js'

/** Gives the thread what a Worker's script finds in a browser, then runs that script. Messages that come before it has begun wait. */
const BOOT = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { script, shim } = workerData
  const early = []
  const receive = (data) => (globalThis.onmessage ? globalThis.onmessage({ data }) : early.push(data))
  parentPort.on('message', receive)
  globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer)
  globalThis.location = { href: script }
  const start = async () => {
    globalThis.Worker = (await import(shim)).WebWorker
    await import(script)
    early.splice(0).forEach(receive)
  }
  start().catch((error) => setTimeout(() => { throw error }))
`

export class WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onmessageerror: (() => void) | null = null
  onerror: ((event: { readonly message: string; preventDefault(): void }) => void) | null = null
  readonly #thread: Thread

  constructor(script: string | URL) {
    this.#thread = new Thread(BOOT, { eval: true, workerData: { script: String(script), shim: WEB_WORKER.href } })
    this.#thread.on('message', (data) => this.onmessage?.({ data }))
    this.#thread.on('messageerror', () => this.onmessageerror?.())
    this.#thread.on('error', (error: Error) => this.onerror?.({ message: error.message, preventDefault: () => {} }))
  }

  postMessage(message: unknown, transfer: ArrayBuffer[] = []): void {
    this.#thread.postMessage(message, transfer)
  }

  terminate(): void {
    void this.#thread.terminate()
  }
}

/** From now on this program has Workers, and may share memory between them, as a page that is cross-origin isolated. */
export function provideWorkers(): void {
  Object.assign(globalThis, { Worker: WebWorker, crossOriginIsolated: true })
}
