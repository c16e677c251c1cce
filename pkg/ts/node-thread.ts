/**
 * The web's `Worker` over the threads of Node.js: as much of it as the package's own Worker and its helpers need. Imported only where there
 * is no page, and imports little, as each thread imports it again.
 */

import { nodeModule } from './node-modules.js'

interface Thread {
  on(event: 'message', listener: (data: unknown) => void): void
  on(event: 'messageerror', listener: () => void): void
  on(event: 'error', listener: (error: Error) => void): void
  postMessage(message: unknown, transfer: readonly unknown[]): void
  ref(): void
  unref(): void
  terminate(): Promise<number>
}

/** As much of `node:worker_threads` as is needed. */
export interface Threads {
  readonly Worker: new (code: string, options: { eval: true; name: string; workerData: unknown }) => Thread
}

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
    globalThis.Worker = await (await import(shim)).nodeWorker()
    await import(script)
    early.splice(0).forEach(receive)
  }
  start().catch((error) => setTimeout(() => { throw error }))
`

/** Where this module is. In a variable, so that bundlers for pages take none of the addresses for a file to bring along. */
const here = import.meta.url

let threads: Threads

/** The class, once it can make threads. */
export async function nodeWorker(): Promise<typeof NodeWorker> {
  threads = await nodeModule('node:worker_threads')
  return NodeWorker
}

class NodeWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onmessageerror: (() => void) | null = null
  onerror: ((event: { readonly message: string; preventDefault(): void }) => void) | null = null
  readonly #thread: Thread
  /** Messages that were not answered. */
  #open = 0

  /** @param script the package's Worker, if no other is given */
  constructor(script: string | URL = new URL('worker.js', here), options: { readonly name?: string } = {}) {
    const workerData = { script: String(script), shim: here }
    this.#thread = new threads.Worker(BOOT, { eval: true, name: options.name ?? 'nearside', workerData })
    this.#thread.on('message', (data) => {
      this.#open -= 1
      // A program ends when nothing is left to do, like a page that is closed, whether or not its models were disposed.
      if (this.#open === 0) this.#thread.unref()
      this.onmessage?.({ data })
    })
    this.#thread.on('messageerror', () => this.onmessageerror?.())
    this.#thread.on('error', (error) => this.onerror?.({ message: error.message, preventDefault: () => {} }))
    this.#thread.unref()
  }

  /** Each message is answered by one. */
  postMessage(message: unknown, transfer: readonly unknown[] = []): void {
    this.#thread.postMessage(message, transfer)
    this.#open += 1
    this.#thread.ref()
  }

  terminate(): void {
    void this.#thread.terminate()
  }
}
