/**
 * Tensors as the Open Inference Protocol carries them over HTTP: JSON, or JSON followed by the tensors' bytes
 * (the binary tensor data extension, announced by the header Inference-Header-Content-Length).
 */

import { InputError } from '../errors.js'
import { type AnyTensor, type DataType, elementCount, STORAGE, Tensor } from '../tensor.js'
import type { Port } from '../types.js'

/** The header that says how long the JSON part is. */
export const HEADER_LENGTH = 'Inference-Header-Content-Length'

/** The protocol's name of each type. */
const WIRE_NAMES: { readonly [K in DataType]: string } = {
  float32: 'FP32',
  float64: 'FP64',
  float16: 'FP16',
  int8: 'INT8',
  uint8: 'UINT8',
  int16: 'INT16',
  uint16: 'UINT16',
  int32: 'INT32',
  uint32: 'UINT32',
  int64: 'INT64',
  uint64: 'UINT64',
  bool: 'BOOL',
  string: 'BYTES',
}

/** A body that does not follow the protocol; the caller adds whose it was. */
export class ProtocolViolation extends Error {}

/** The body of a request and its headers. */
export interface EncodedRequest {
  readonly body: Uint8Array<ArrayBuffer>
  readonly headers: { readonly [name: string]: string }
}

/** The type that a server calls `name`. */
export function typeFromWire(name: unknown): DataType {
  const found = (Object.keys(WIRE_NAMES) as DataType[]).find((type) => WIRE_NAMES[type] === name)
  if (found === undefined) throw new ProtocolViolation(`it has the type ${JSON.stringify(name)}, which is not known here`)
  return found
}

/** Encodes the inputs of a call. */
export function encodeRequest(
  ports: readonly Port[],
  tensors: readonly AnyTensor[],
  outputs: readonly Port[],
  binary: boolean,
): EncodedRequest {
  const parts: Uint8Array[] = []
  const inputs = ports.map((port, i) => {
    const tensor = tensors[i] as AnyTensor
    const head = `"name":${JSON.stringify(port.name)},"datatype":"${WIRE_NAMES[tensor.type]}","shape":[${tensor.dims.join(',')}]`
    if (!binary) return `{${head},"data":${jsonData(tensor, port.name)}}`
    const bytes = binaryData(tensor)
    parts.push(bytes)
    return `{${head},"parameters":{"binary_data_size":${bytes.length}}}`
  })
  const wanted = outputs.map((port) => `{"name":${JSON.stringify(port.name)},"parameters":{"binary_data":${binary}}}`)
  const json = new TextEncoder().encode(`{"inputs":[${inputs.join(',')}],"outputs":[${wanted.join(',')}]}`)
  if (!binary) return { body: json, headers: { 'Content-Type': 'application/json' } }
  return {
    body: concat([json, ...parts]),
    headers: { 'Content-Type': 'application/octet-stream', [HEADER_LENGTH]: String(json.length) },
  }
}

/** Decodes an answer. `headerLength` is what its header says; a page of another origin may be unable to see it. */
export function decodeResponse(body: Uint8Array<ArrayBuffer>, headerLength: number | undefined): { [name: string]: AnyTensor } {
  const jsonLength = headerLength ?? endOfJson(body)
  if (jsonLength > body.length)
    throw new ProtocolViolation(`its JSON part should have ${jsonLength} bytes, the whole answer has ${body.length}`)
  const answer = parseJson(body.subarray(0, jsonLength))
  if (!Array.isArray(answer['outputs'])) throw new ProtocolViolation('it has no list of outputs')
  const result: { [name: string]: AnyTensor } = {}
  let at = jsonLength
  for (const entry of answer['outputs'] as WireOutput[]) {
    const type = typeFromWire(entry.datatype)
    const dims = entry.shape
    if (typeof entry.name !== 'string' || !Array.isArray(dims)) throw new ProtocolViolation('an output lacks its name or shape')
    const size = entry.parameters?.binary_data_size
    if (size === undefined) {
      result[entry.name] = fromJson(type, dims, entry)
      continue
    }
    if (!Number.isSafeInteger(size) || size < 0 || at + size > body.length)
      throw new ProtocolViolation(`the bytes of output '${entry.name}' are not all there`)
    result[entry.name] = fromBinary(type, dims, body.slice(at, at + size), entry.name)
    at += size
  }
  return result
}

interface WireOutput {
  readonly name: unknown
  readonly datatype: unknown
  readonly shape: readonly number[]
  readonly data?: unknown
  readonly parameters?: { readonly binary_data_size?: number }
}

/** The JSON object that bytes hold. */
export function parseJson(bytes: Uint8Array): { readonly [key: string]: unknown } {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw new ProtocolViolation('it is not JSON')
  }
  if (typeof value !== 'object' || value === null) throw new ProtocolViolation('it is not a JSON object')
  return value as { readonly [key: string]: unknown }
}

function jsonData(tensor: AnyTensor, name: string): string {
  if (tensor.type === 'string') return JSON.stringify(tensor.data)
  if (tensor.type === 'float16')
    throw new InputError(
      `Input '${name}' is float16, which JSON does not carry here; use a server with the binary tensor extension.`,
    )
  if (tensor.type === 'bool') return `[${Array.from(tensor.data, (v) => v !== 0).join(',')}]`
  const odd = tensor.type === 'float32' || tensor.type === 'float64' ? tensor.data.findIndex((v) => !Number.isFinite(v)) : -1
  if (odd >= 0) {
    throw new InputError(
      `Element ${odd} of input '${name}' is ${String(tensor.data[odd])}, which JSON cannot carry; use a server with the binary tensor extension.`,
    )
  }
  return `[${tensor.data.join(',')}]`
}

function binaryData(tensor: AnyTensor): Uint8Array {
  if (tensor.type !== 'string') return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength)
  // Each string is preceded by its length in bytes, as four bytes little-endian.
  const encoder = new TextEncoder()
  return concat(
    tensor.data.flatMap((text) => {
      const bytes = encoder.encode(text)
      return [new Uint8Array(Uint32Array.of(bytes.length).buffer), bytes]
    }),
  )
}

function fromBinary(type: DataType, dims: readonly number[], bytes: Uint8Array<ArrayBuffer>, name: string): AnyTensor {
  if (type === 'string') return new Tensor(type, splitStrings(bytes, name), dims)
  const Storage = STORAGE[type]
  const expected = elementCount(dims) * Storage.BYTES_PER_ELEMENT
  if (bytes.length !== expected)
    throw new ProtocolViolation(`output '${name}' has ${bytes.length} bytes, its shape needs ${expected}`)
  return new Tensor(type, new Storage(bytes.buffer), dims) as AnyTensor
}

function splitStrings(bytes: Uint8Array, name: string): string[] {
  const out: string[] = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 <= bytes.length ? at + 4 + view.getUint32(at, true) : Number.POSITIVE_INFINITY
    if (end > bytes.length) throw new ProtocolViolation(`the strings of output '${name}' are cut off`)
    out.push(new TextDecoder().decode(bytes.subarray(at + 4, end)))
    at = end
  }
  return out
}

function fromJson(type: DataType, dims: readonly number[], entry: WireOutput): AnyTensor {
  // Servers may nest the data as the shape says.
  const data: unknown = Array.isArray(entry.data) ? entry.data.flat(Number.POSITIVE_INFINITY) : entry.data
  try {
    return new Tensor(type, data as number[], dims) as AnyTensor
  } catch (error) {
    throw new ProtocolViolation(
      `output '${String(entry.name)}' is not sound: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

/** Where the JSON object at the start of the bytes ends. */
function endOfJson(bytes: Uint8Array): number {
  const [quote, backslash, open, close] = [0x22, 0x5c, 0x7b, 0x7d]
  let depth = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === backslash) i += 1
      else if (byte === quote) inString = false
    } else if (byte === quote) inString = true
    else if (byte === open) depth += 1
    else if (byte === close && --depth === 0) return i + 1
  }
  return bytes.length
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
