/** The `integrity` option: the sha-256 that a model's bytes must have. Digests are hexadecimal inside. */

import { InputError, IntegrityError } from './errors.js'
import { toHex } from './sha256.js'
import { describeValue } from './tensor.js'

/** The digest that an `integrity` option demands. */
export function parseIntegrity(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase()
  const base64 = /^sha256-([A-Za-z0-9+/]{43}=)$/.exec(String(text).trim())?.[1]
  if (base64 !== undefined) return toHex(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)))
  throw new InputError(
    `The option integrity is ${describeValue(text)}; give 'sha256-' and the digest in base64, or its 64 hexadecimal digits.`,
  )
}

/** Throws unless the bytes' digest is the demanded one. */
export function checkIntegrity(expected: string, actual: string, label: string): void {
  if (expected === actual) return
  throw new IntegrityError(
    `${label} does not have the demanded sha-256: it is ${toSri(actual)}, the option integrity says ${toSri(expected)}. The file was changed, or the option is out of date.`,
    { expected: toSri(expected), actual: toSri(actual) },
  )
}

function toSri(hex: string): string {
  const pairs = hex.match(/../g) ?? []
  return `sha256-${btoa(String.fromCharCode(...pairs.map((pair) => Number.parseInt(pair, 16))))}`
}
