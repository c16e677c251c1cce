/**
 * Files that arrive, kept on the device in pieces until they are whole and loaded: a download that was cut off goes on at the next visit. A
 * piece is kept under its sha-256, and read only if it still has it; the index says which pieces a file has so far, in order. Pages that load
 * the same file take turns: each keeps the next piece that the index lacks.
 */

import type { Store } from './cache.js'
import { type Begun, pieceName } from './cache-index.js'
import { FOLDER } from './cache-place.js'
import type { Arriving } from './download.js'
import { FileBuilder } from './file.js'
import { toHex } from './sha256.js'

/** Bytes of a piece. */
export const PIECE = 4 << 20

/** The beginning of a file, from its pieces; `undefined` if one of them is not what was kept. */
export async function readBegun(store: Store, { version, total, sums }: Begun): Promise<Arriving | undefined> {
  return store.attempt(async (cache) => {
    const file = new FileBuilder(total)
    for (const sum of sums) {
      const piece = await (await cache.match(pieceUrl(sum)))?.arrayBuffer()
      if (piece === undefined || (await digest(piece)) !== sum) return undefined
      file.push(new Uint8Array(piece))
    }
    return { file, total, version }
  })
}

/** Keeps one file's pieces as they arrive. */
export class Keeper {
  readonly #store: Store
  readonly #address: string
  /** What the server was asked to complete, until it answers. */
  #offered: Arriving | undefined
  #arriving: Arriving | undefined
  /** Pieces that are known to be there. */
  #count = 0
  #busy = false
  /** Whether the device has no room, or another page has no use for the pieces any more. */
  #over = false

  /** @param offered the beginning of the file that the server was asked to complete */
  constructor(store: Store, address: string, offered: Arriving | undefined) {
    this.#store = store
    this.#address = address
    this.#offered = offered
  }

  /** Keeps what is there of the file, one piece after the other; it stays where it arrived until its turn comes. */
  async arrive(arriving: Arriving): Promise<void> {
    if (this.#over) return
    if (arriving !== this.#arriving) {
      this.#arriving = arriving
      this.#count = 0
      // The server completes nothing: it sends the same again.
      const again = arriving !== this.#offered && arriving.version === this.#offered?.version
      this.#offered = undefined
      if (again) {
        this.#over = true
        await this.#store.change((_, index) => void index.entries.delete(this.#address))
      }
    }
    if (this.#busy) return
    this.#busy = true
    while (!this.#over && this.#next() !== undefined) await this.#keepNext()
    this.#busy = false
  }

  /** Keeps no more, and holds the file no longer. */
  stop(): void {
    this.#over = true
    this.#arriving = undefined
  }

  /** The piece that is kept next, if all of it is there. The last bytes are not kept, for with them the file is whole. */
  #next(): Uint8Array<ArrayBuffer> | undefined {
    const { file, total = 0 } = this.#arriving as Arriving
    const [from, to] = [this.#count * PIECE, (this.#count + 1) * PIECE]
    if (to >= total || file.size === total) return undefined
    const { settled } = file
    return settled === undefined || settled.length < to ? undefined : settled.subarray(from, to)
  }

  async #keepNext(): Promise<void> {
    const arriving = this.#arriving as Arriving
    const { version = '', total = 0 } = arriving
    // Where nothing works, the change is never made.
    let done = false
    await this.#store.change(async (cache, index) => {
      const begun = index.entries.get(this.#address)?.begun
      const goesOn = begun?.version === version && begun.total === total
      const sums = goesOn ? begun.sums : []
      done = sums.length >= this.#count
      this.#count = sums.length
      const piece = done && !this.#over && arriving === this.#arriving ? this.#next() : undefined
      if (piece === undefined) return
      // Copied first: once the file is whole its memory may go to another thread.
      const answer = new Response(piece)
      const sum = await digest(piece)
      try {
        await cache.put(pieceUrl(sum), answer)
        const more = { version, total, sums: [...sums, sum] }
        index.entries.set(this.#address, { size: more.sums.length * PIECE, used: Date.now(), begun: more })
        // Meanwhile another version may have begun to arrive.
        if (arriving === this.#arriving) this.#count = more.sums.length
      } catch {
        // The device gives no more room: the plan, and whatever else the page keeps, needs it more.
        index.entries.delete(this.#address)
        done = false
      }
    })
    if (!done) this.#over = true
  }
}

function pieceUrl(sum: string): string {
  return FOLDER + pieceName(sum)
}

async function digest(bytes: BufferSource): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}
