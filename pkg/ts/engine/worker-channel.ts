/** A channel to a host in a Worker. */

import { WorkerError } from '../errors.js'
import { type Channel, ChannelLost, type MessageName, type RequestOf, type ResponseMessage, type ResponseOf } from './protocol.js'
import { fromWire } from './wire-error.js'

interface Pending {
  resolve(response: ResponseOf<MessageName>): void
  reject(error: unknown): void
}

export class WorkerChannel implements Channel {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #nextSeq = 1
  #answered = false
  #lost: ChannelLost | undefined

  /** @param worker one that was started before, or the address of its script if that is not the package's own */
  constructor(worker?: Worker | string | URL) {
    this.#worker = typeof worker === 'object' && 'postMessage' in worker ? worker : startWorker(worker)
    this.#worker.onmessage = (event: MessageEvent<ResponseMessage>) => this.#settle(event.data)
    this.#worker.onmessageerror = () => this.#lose('an answer of it could not be read')
    this.#worker.onerror = (event) => {
      event.preventDefault()
      this.#lose(event.message || 'its script could not be loaded')
    }
  }

  call<K extends MessageName>(name: K, request: RequestOf<K>, transfer: readonly Transferable[] = []): Promise<ResponseOf<K>> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost)
    return new Promise((resolve, reject) => {
      const seq = this.#nextSeq++
      // First, as it throws for what cannot be sent, e.g. a picture of another origin.
      this.#worker.postMessage({ seq, name, request }, [...transfer])
      this.#pending.set(seq, { resolve: resolve, reject })
    })
  }

  close(): void {
    this.#end(new ChannelLost(new WorkerError("Nearside's Worker was ended.")))
  }

  #settle(message: ResponseMessage): void {
    const pending = this.#pending.get(message.seq)
    this.#pending.delete(message.seq)
    this.#answered = true
    if ('error' in message) pending?.reject(fromWire(message.error))
    else pending?.resolve(message.response)
  }

  #lose(why: string): void {
    const text = this.#answered
      ? `Nearside's Worker died (${why}). The next call starts a new one.`
      : `Nearside's Worker could not start (${why}). Check that worker.js is served beside index.js and that the Content-Security-Policy allows it ` +
        "(worker-src 'self', script-src 'wasm-unsafe-eval'); with Vite add optimizeDeps: { exclude: ['nearside'] }; or load with { worker: false }."
    this.#end(new ChannelLost(new WorkerError(text)))
  }

  #end(lost: ChannelLost): void {
    this.#lost ??= lost
    this.#worker.terminate()
    for (const pending of this.#pending.values()) pending.reject(this.#lost)
    this.#pending.clear()
  }
}

function startWorker(url: string | URL | undefined): Worker {
  try {
    // Bundlers recognise this very expression, so it stands here in full.
    if (url === undefined) return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'nearside' })
    return new Worker(url, { type: 'module', name: 'nearside' })
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new WorkerError(
      `Nearside's Worker could not start (${text}). Serve worker.js from the page's own origin, or load with { worker: false }.`,
      { cause },
    )
  }
}
