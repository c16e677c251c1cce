/** Changes to an ONNX file before it is compiled: weights from other files, and sizes of open dimensions. Field numbers: onnx.proto. */

import { InputError } from '../index.js'
import { bytesField, fieldsOf, join, numberField, type Pieces, type Rewrite, rewrite } from './protobuf.js'

const text = new TextDecoder()

/** The files that hold weights, by their path in the model. */
export type ExternalFiles = ReadonlyMap<string, Uint8Array>

/** The model with those weights inside, and with those dimensions fixed. */
export function editModel(model: Uint8Array, files: ExternalFiles, sizes: { readonly [dimension: string]: number }): Uint8Array {
  const tensor: Rewrite = (content) => inlineTensor(content, files)
  const attribute: Rewrite = (content) => rewrite(content, { 5: tensor, 6: graph, 10: tensor, 11: graph })
  const node: Rewrite = (content) => rewrite(content, { 5: attribute })
  const value = fixDimensions(sizes)
  const graph: Rewrite = (content) => rewrite(content, { 1: node, 5: tensor, 11: value, 12: value, 13: value })
  const edited = rewrite(model, { 7: graph })
  return edited === undefined ? model : join(edited)
}

/** ValueInfoProto: type, tensor type, shape, dimension, whose name gives way to its size. */
function fixDimensions(sizes: { readonly [dimension: string]: number }): Rewrite {
  const dimension: Rewrite = (content) => {
    const name = Array.from(fieldsOf(content)).find((field) => field.number === 2)?.content
    const size = name === undefined ? undefined : sizeOf(sizes, text.decode(name))
    return size === undefined ? undefined : [numberField(1, size)]
  }
  const shape: Rewrite = (content) => rewrite(content, { 1: dimension })
  const tensorType: Rewrite = (content) => rewrite(content, { 2: shape })
  const type: Rewrite = (content) => rewrite(content, { 1: tensorType })
  return (content) => rewrite(content, { 2: type })
}

function sizeOf(sizes: { readonly [dimension: string]: number }, name: string): number | undefined {
  return Object.hasOwn(sizes, name) ? sizes[name] : undefined
}

/** TensorProto: where `data_location` (14) is external (1), the entries of `external_data` (13) become `raw_data` (9). */
function inlineTensor(tensor: Uint8Array, files: ExternalFiles): Pieces | undefined {
  const fields = Array.from(fieldsOf(tensor))
  if (!fields.some((field) => field.number === 14 && field.value === 1)) return undefined
  const name = fields.find((field) => field.number === 8)?.content
  const entries = new Map<string, string>()
  for (const { number, content } of fields) {
    if (number !== 13 || content === undefined) continue
    const [key = '', value = ''] = [1, 2].map((part) =>
      text.decode(Array.from(fieldsOf(content)).find((field) => field.number === part)?.content),
    )
    entries.set(key, value)
  }
  const path = normalizePath(entries.get('location') ?? '')
  const what = `The weight '${text.decode(name)}'`
  const file = files.get(path)
  if (file === undefined) {
    throw new InputError(
      `${what} is in the file '${path}', which was not given; add { path: '${path}', data } to the session option externalData.`,
    )
  }
  const offset = Number(entries.get('offset') ?? 0)
  const length = Number(entries.get('length') ?? file.length - offset)
  if (!(offset >= 0 && length >= 0 && offset + length <= file.length)) {
    throw new InputError(
      `${what} needs bytes ${offset} to ${offset + length} of the file '${path}', which has ${file.length}; give the file that belongs to the model.`,
    )
  }
  const kept = fields.filter(({ number }) => number !== 9 && number !== 13 && number !== 14).map(({ whole }) => whole)
  return [...kept, ...bytesField(9, [file.subarray(offset, offset + length)])]
}

/** A path as models and callers may both write it. */
export function normalizePath(path: string): string {
  return path.replace(/^(\.\/)+/, '')
}
