/**
 * Files that may be large: bytes in memory, or a Blob, whose bytes the browser keeps elsewhere (or on disk) and gives piece by piece.
 */

/** A file of any size. */
export type FileBytes = Uint8Array<ArrayBuffer> | Blob

/** Files beyond this many bytes are Blobs. */
export const LARGE = 64 << 20

/** A Blob grows by pieces of this many bytes: what is in memory of it. */
export const PIECE = 16 << 20

export function sizeOf(file: FileBytes): number {
  return file instanceof Blob ? file.size : file.length
}

/** As many bytes from the beginning as tell what kind of file it is. */
export async function headOf(file: FileBytes): Promise<Uint8Array<ArrayBuffer>> {
  return file instanceof Blob ? new Uint8Array(await file.slice(0, 256).arrayBuffer()) : file.subarray(0, 256)
}

/** Puts a file together from pieces: in memory while it is small. */
export class FileBuilder {
  #bytes: Uint8Array<ArrayBuffer>
  #used = 0
  readonly #parts: Blob[] = []
  readonly #large: number
  #size = 0

  /** @param expected the file's size, if it is known; `large` is for tests */
  constructor(expected?: number, large = LARGE) {
    this.#large = large
    this.#bytes = new Uint8Array(Math.min(expected ?? 1 << 16, expected !== undefined && expected > large ? PIECE : large))
    if (expected !== undefined && expected > large) this.#parts.push(new Blob([]))
  }

  /** Bytes that are there. */
  get size(): number {
    return this.#size
  }

  /** What is there, from the beginning on, of a file that is held in memory. */
  get settled(): Uint8Array<ArrayBuffer> | undefined {
    return this.#parts.length > 0 ? undefined : this.#bytes.subarray(0, this.#used)
  }

  push(piece: Uint8Array): void {
    this.#size += piece.length
    if (this.#used + piece.length > this.#bytes.length) this.#makeRoom(piece.length)
    this.#bytes.set(piece, this.#used)
    this.#used += piece.length
  }

  finish(): FileBytes {
    const rest = this.#bytes.subarray(0, this.#used)
    if (this.#parts.length > 0) return new Blob([...this.#parts, rest])
    return this.#used === this.#bytes.length ? this.#bytes : rest.slice()
  }

  #makeRoom(length: number): void {
    if (this.#parts.length > 0 || this.#size > this.#large) {
      this.#parts.push(new Blob([this.#bytes.subarray(0, this.#used)]))
      this.#used = 0
      if (length > this.#bytes.length || this.#bytes.length < PIECE) this.#bytes = new Uint8Array(Math.max(PIECE, length))
      return
    }
    const grown = new Uint8Array(Math.max(this.#used + length, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#used))
    this.#bytes = grown
  }
}
