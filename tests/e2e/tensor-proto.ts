/** ONNX's TensorProto and the inputs and outputs that a ModelProto declares, as far as conformance tests need them (onnx.proto). */

import { type Field, fieldsOf } from '../../pkg/ts/ort/protobuf.ts'

/** A tensor as a page can take it. */
export interface Plain {
  readonly type: string
  readonly dims: readonly number[]
  /** Little-endian elements, in base64. */
  readonly bytes: string
}

/** ONNX's codes of the types that JavaScript has arrays for, with the bytes of an element. */
const TYPES: { readonly [code: number]: readonly [type: string, size: number] | undefined } = {
  1: ['float32', 4],
  2: ['uint8', 1],
  3: ['int8', 1],
  4: ['uint16', 2],
  5: ['int16', 2],
  6: ['int32', 4],
  7: ['int64', 8],
  9: ['bool', 1],
  10: ['float16', 2],
  16: ['uint16', 2],
  11: ['float64', 8],
  12: ['uint32', 4],
  13: ['uint64', 8],
}

/** Numbers of a repeated varint field, packed or not. */
function varints(field: Field): bigint[] {
  if (field.content === undefined) return [BigInt(field.value ?? 0)]
  const out: bigint[] = []
  let [value, shift] = [0n, 0n]
  for (const byte of field.content) {
    value |= BigInt(byte & 127) << shift
    shift += 7n
    if (byte >= 128) continue
    out.push(BigInt.asIntN(64, value))
    ;[value, shift] = [0n, 0n]
  }
  return out
}

/** The tensor in a file; `undefined` for a type that pages cannot take. */
export function readTensor(message: Uint8Array): Plain | undefined {
  const dims: number[] = []
  const ints: bigint[] = []
  let [code, raw]: [number, Uint8Array | undefined] = [0, undefined]
  for (const field of fieldsOf(message)) {
    if (field.number === 1) dims.push(...varints(field).map(Number))
    else if (field.number === 2) code = field.value ?? 0
    else if ([5, 7, 11].includes(field.number)) ints.push(...varints(field))
    // Packed float_data and double_data are raw bytes in all but name.
    else if ([4, 9, 10].includes(field.number)) raw = field.content
  }
  const [type, size] = TYPES[code] ?? []
  if (type === undefined || size === undefined) return undefined
  const bytes = raw ?? little(ints, size)
  if (bytes.length !== dims.reduce((a, b) => a * b, 1) * size) return undefined
  return { type, dims, bytes: Buffer.from(bytes).toString('base64') }
}

function little(values: readonly bigint[], size: number): Uint8Array {
  const out = new Uint8Array(values.length * size)
  values.forEach((value, i) => {
    for (let k = 0; k < size; k++) out[i * size + k] = Number((value >> BigInt(8 * k)) & 255n)
  })
  return out
}

/** bfloat16, which pages give and get as float32. */
const BFLOAT16 = 16

/** An input or output. */
export interface PortOf {
  readonly name: string
  readonly brain: boolean
}

/** A model's inputs (those with a default value apart) and outputs. */
export function readPorts(model: Uint8Array): { inputs: PortOf[]; outputs: PortOf[] } {
  const graph = [...fieldsOf(model)].find((field) => field.number === 7)?.content ?? new Uint8Array()
  const fields = [...fieldsOf(graph)]
  const names = (number: number, at: number): string[] =>
    fields.filter((field) => field.number === number).map((field) => text(field.content, at))
  const constants = names(5, 8)
  const ports = (number: number): PortOf[] =>
    fields
      .filter((field) => field.number === number)
      .map(({ content }) => {
        // ValueInfoProto.type → TypeProto.tensor_type → elem_type.
        const tensor = inner(inner(content, 2), 1)
        const type = [...fieldsOf(tensor ?? new Uint8Array())].find((field) => field.number === 1)?.value
        return { name: text(content, 1), brain: type === BFLOAT16 }
      })
  return { inputs: ports(11).filter(({ name }) => !constants.includes(name)), outputs: ports(12) }
}

/** Whether a model draws random numbers, of which only type and shape can be compared: ONNX fixes no generator. */
export function draws(model: Uint8Array): boolean {
  const nodes = [...fieldsOf(inner(model, 7) ?? new Uint8Array())].filter((field) => field.number === 1)
  return nodes.some(({ content }) => {
    const fields = [...fieldsOf(content ?? new Uint8Array())]
    const inputs = fields.filter((field) => field.number === 1)
    const operator = text(content, 4)
    // A Dropout is in training if its third input says so.
    if (operator === 'Dropout') return (inputs[2]?.content?.length ?? 0) > 0
    return /^(Bernoulli|Multinomial|Random(Normal|Uniform)(Like)?)$/.test(operator)
  })
}

/** A bfloat16 tensor, which is stored as the upper halves of float32 numbers, as float32. */
export function widened(tensor: Plain): Plain {
  const halves = Buffer.from(tensor.bytes, 'base64')
  const wide = new Uint8Array(halves.length * 2)
  for (let i = 0; i < halves.length; i += 2) wide.set(halves.subarray(i, i + 2), 2 * i + 2)
  return tensor.type === 'uint16' ? { ...tensor, type: 'float32', bytes: Buffer.from(wide).toString('base64') } : tensor
}

function inner(message: Uint8Array | undefined, at: number): Uint8Array | undefined {
  return [...fieldsOf(message ?? new Uint8Array())].find((field) => field.number === at)?.content
}

function text(message: Uint8Array | undefined, at: number): string {
  return new TextDecoder().decode(inner(message, at) ?? new Uint8Array())
}
