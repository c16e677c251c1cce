/** What bytes are, from how they begin. */

import { lazily } from './chunk.js'
import { ModelFormatError } from './errors.js'

const PLAN_MAGIC = 'NEARPLAN'

/** First bytes of a protobuf ModelProto: the tag of one of its fields (onnx.proto), with the wire type that it has there. */
const ONNX_TAGS: ReadonlySet<number> = new Set([0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca, 0xd2])

/** Whether the bytes are a compiled plan, judged by their magic. */
export function isPlan(bytes: Uint8Array): boolean {
  return textAt(bytes, 0, PLAN_MAGIC.length) === PLAN_MAGIC
}

/** Whether the bytes begin as a web page does. */
export function looksLikeHtml(bytes: Uint8Array): boolean {
  return /^(\u00ef\u00bb\u00bf)?\s*<(!doctype|html|head|body|!--|\?xml)/i.test(textAt(bytes, 0, 64))
}

/** `plan` or `onnx`; rejects for anything that can be neither with an error that says what it seems to be. */
export async function modelKind(bytes: Uint8Array, label: string): Promise<'plan' | 'onnx'> {
  if (isPlan(bytes)) return 'plan'
  // Flatbuffers begin with a number that may look like a tag, and have their name after it.
  if (ONNX_TAGS.has(bytes[0] ?? 0) && !/TFL3|ORTM/.test(textAt(bytes, 4, 4))) return 'onnx'
  const { mistakeIn } = await lazily(import('./mistakes.js'))
  throw new ModelFormatError(`${label} ${mistakeIn(bytes)}.`)
}

/** Bytes as characters. */
export function textAt(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length))
}
