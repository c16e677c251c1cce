/** Protocol buffers, as far as rewriting a few fields of an ONNX file needs: every other byte stays as it is. */

import { ModelFormatError } from '../index.js'

/** A message in pieces, so that large parts are copied once, at the end. */
export type Pieces = readonly Uint8Array[]

/** A field of a message. */
export interface Field {
  readonly number: number
  /** The content of a length-delimited field. */
  readonly content: Uint8Array | undefined
  /** The value of a varint field. */
  readonly value: number | undefined
  /** The field with its tag. */
  readonly whole: Uint8Array
}

/** The fields of a message, in order. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++]
      if (byte === undefined || scale > 2 ** 63) throw damaged()
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const start = at
    const tag = varint()
    const wire = tag % 8
    let content: Uint8Array | undefined
    let value: number | undefined
    if (wire === 0) value = varint()
    else {
      const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : NaN
      if (!(at + length <= message.length)) throw damaged()
      if (wire === 2) content = message.subarray(at, at + length)
      at += length
    }
    yield { number: Math.floor(tag / 8), content, value, whole: message.subarray(start, at) }
  }
}

function damaged(): ModelFormatError {
  return new ModelFormatError('The given model is cut off or damaged, or is not ONNX; check the file.')
}

function varintBytes(value: number): number[] {
  const out: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128)
  return [...out, rest]
}

/** A varint field. */
export function numberField(number: number, value: number): Uint8Array {
  return Uint8Array.from([...varintBytes(number * 8), ...varintBytes(value)])
}

/** A length-delimited field. */
export function bytesField(number: number, content: Pieces): Pieces {
  const length = content.reduce((sum, piece) => sum + piece.length, 0)
  return [Uint8Array.from([...varintBytes(number * 8 + 2), ...varintBytes(length)]), ...content]
}

/** What becomes of the content of a length-delimited field; `undefined` leaves it alone. */
export type Rewrite = (content: Uint8Array) => Pieces | undefined

/** A message with some fields rewritten; `undefined` if none was. */
export function rewrite(message: Uint8Array, fields: { readonly [number: number]: Rewrite }): Pieces | undefined {
  const out: Uint8Array[] = []
  let changed = false
  for (const { number, content, whole } of fieldsOf(message)) {
    const edited = content === undefined ? undefined : fields[number]?.(content)
    if (edited === undefined) out.push(whole)
    else {
      out.push(...bytesField(number, edited))
      changed = true
    }
  }
  return changed ? out : undefined
}

/** The pieces as one array. */
export function join(pieces: Pieces): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}
