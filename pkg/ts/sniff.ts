/** What bytes are, from how they begin. */

import { ModelFormatError } from './errors.js'
import { isPlan, looksLikeHtml, text } from './magic.js'

/** Common things that are given in place of a model, and what to do about each. */
const MISTAKES: readonly (readonly [at: number, prefix: string, sentence: string])[] = [
  [
    0,
    'version https://git-lfs',
    'is a Git LFS pointer, not the file itself; run git lfs pull on the server, or use the download address',
  ],
  [0, 'PK\x03\x04', 'is a zip archive (a PyTorch, Keras or NumPy file, perhaps); export the model as ONNX'],
  [0, '\x1f\x8b', 'is compressed with gzip; unpack it, or serve it with Content-Encoding: gzip'],
  [0, '\x89HDF', 'is an HDF5 file; export the model as ONNX'],
  [4, 'TFL3', 'is a TensorFlow Lite model; convert it to ONNX'],
  [0, 'ORTM', 'is an onnxruntime .ort file; use the .onnx file that it was made from'],
  [4, 'ORTM', 'is an onnxruntime .ort file; use the .onnx file that it was made from'],
  [0, 'GGUF', 'is a GGUF file; export the model as ONNX'],
  [0, '{', 'is JSON; give the address of the model file itself'],
]

/** First bytes of a protobuf ModelProto: the tag of one of its fields (onnx.proto), with the wire type that it has there. */
const ONNX_TAGS: ReadonlySet<number> = new Set([0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca, 0xd2])

/** `plan` or `onnx`; anything that can be neither is an error that says what it seems to be. */
export function modelKind(bytes: Uint8Array, label: string): 'plan' | 'onnx' {
  if (isPlan(bytes)) return 'plan'
  if (bytes.length === 0) throw new ModelFormatError(`${label} is empty; give an ONNX model or a compiled plan.`)
  for (const [at, prefix, sentence] of MISTAKES) {
    if (text(bytes, at, prefix.length) === prefix) throw new ModelFormatError(`${label} ${sentence}.`)
  }
  if (looksLikeHtml(bytes)) throw new ModelFormatError(`${label} is a web page; give an ONNX model or a compiled plan.`)
  if (!ONNX_TAGS.has(bytes[0] ?? 0)) {
    throw new ModelFormatError(
      `${label} is neither an ONNX model nor a compiled plan; check that it is the right file and was not changed on the way.`,
    )
  }
  return 'onnx'
}
