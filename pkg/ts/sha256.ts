/** Sha-256 of a file. */

import type { FileBytes } from './file.js'

/** Something that computes sha-256, in hexadecimal. */
export type Sha256 = (file: FileBytes) => Promise<string>

/** Sha-256 in hexadecimal; by `fallback` for files that are not in memory, and where the page has no `crypto.subtle` (http other than localhost). */
export async function sha256Hex(file: FileBytes, fallback: Sha256): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined
  if (subtle === undefined || file instanceof Blob) return fallback(file)
  return toHex(new Uint8Array(await subtle.digest('SHA-256', file)))
}

/** Bytes in hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}
