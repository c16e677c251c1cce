/** Common things that are given in place of a model, and what to do about each. */

import { looksLikeHtml, text } from './magic.js'

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

/** What bytes are that are no model: the rest of a sentence that begins with their name. */
export function mistakeIn(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'is empty; give an ONNX model or a compiled plan (a copy, if its buffer was transferred)'
  for (const [at, prefix, sentence] of MISTAKES) if (text(bytes, at, prefix.length) === prefix) return sentence
  if (looksLikeHtml(bytes)) return 'is a web page; give an ONNX model or a compiled plan'
  return 'is neither an ONNX model nor a compiled plan; check that it is the right file and was not changed on the way'
}
