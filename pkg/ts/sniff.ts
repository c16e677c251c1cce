/** What bytes are, from how they begin: for what is no plan. */

import { ModelFormatError } from './errors.js'
import { isPlan, text } from './magic.js'
import { mistakeIn } from './mistakes.js'

/** First bytes of a protobuf ModelProto: the tag of one of its fields (onnx.proto), with the wire type that it has there. */
const ONNX_TAGS: ReadonlySet<number> = new Set([0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca, 0xd2])

/** `plan` or `onnx`; anything that can be neither is an error that says what it seems to be. */
export function modelKind(bytes: Uint8Array, label: string): 'plan' | 'onnx' {
  if (isPlan(bytes)) return 'plan'
  // Flatbuffers begin with a number that may look like a tag, and have their name after it.
  if (ONNX_TAGS.has(bytes[0] ?? 0) && !/TFL3|ORTM/.test(text(bytes, 4, 4))) return 'onnx'
  throw new ModelFormatError(`${label} ${mistakeIn(bytes)}.`)
}
