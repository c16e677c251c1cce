/** Small ONNX models, written byte by byte (protobuf; field numbers from onnx.proto). */

type Bytes = number[]

function varint(value: number): Bytes {
  const out: Bytes = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest]
    out.push((rest % 128) + 128)
  }
}

const number = (field: number, value: number): Bytes => [...varint(field * 8), ...varint(value)]
const bytes = (field: number, content: Bytes): Bytes => [...varint(field * 8 + 2), ...varint(content.length), ...content]
const text = (field: number, value: string): Bytes => bytes(field, [...new TextEncoder().encode(value)])

/** A float tensor's dimensions: numbers, and names of open ones. */
export type Dims = readonly (number | string)[]

export interface OnnxNode {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Lists of whole numbers. */
  readonly attributes?: { readonly [name: string]: readonly number[] }
}

/** Constants in another file. */
export interface External {
  readonly dims: readonly number[]
  readonly location: string
  readonly offset: number
  readonly length: number
}

/** Constants with more than one dimension. */
export interface Shaped {
  readonly dims: readonly number[]
  readonly data: readonly number[]
}

export interface OnnxModel {
  /** Types of inputs and outputs that are not of the one that all others are of. */
  readonly types?: { readonly [name: string]: keyof typeof TYPES }
  readonly inputs: { readonly [name: string]: Dims }
  readonly outputs: { readonly [name: string]: Dims }
  readonly constants?: { readonly [name: string]: readonly number[] | Shaped | External }
  readonly nodes: readonly OnnxNode[]
}

/** Codes of element types. */
const TYPES = { float32: 1, uint8: 2, int8: 3, int64: 7, float16: 10 } as const

/** The model as a file; inputs and outputs are of one type but for `types`, constants are float32. */
export function encodeOnnx(model: OnnxModel, type: keyof typeof TYPES = 'float32'): Uint8Array<ArrayBuffer> {
  const FLOAT = TYPES.float32
  const dimension = (d: number | string): Bytes => bytes(1, typeof d === 'number' ? number(1, d) : text(2, d))
  const value = ([name, dims]: [string, Dims]): Bytes => {
    const tensor = [...number(1, TYPES[model.types?.[name] ?? type]), ...bytes(2, dims.flatMap(dimension))]
    return [...text(1, name), ...bytes(2, bytes(1, tensor))]
  }
  const constant = ([name, given]: [string, readonly number[] | Shaped | External]): Bytes => {
    if ('location' in given) {
      const entry = ([key, v]: [string, unknown]): Bytes => bytes(13, [...text(1, key), ...text(2, String(v))])
      const { dims, ...where } = given
      const head = [...dims.flatMap((d) => number(1, d)), ...number(2, FLOAT), ...text(8, name)]
      return [...head, ...Object.entries(where).flatMap(entry), ...number(14, 1)]
    }
    const { dims, data } = 'data' in given ? given : { dims: [given.length], data: given }
    const raw = [...new Uint8Array(Float32Array.from(data).buffer)]
    return [...dims.flatMap((d) => number(1, d)), ...number(2, FLOAT), ...text(8, name), ...bytes(9, raw)]
  }
  const attribute = ([name, ints]: [string, readonly number[]]): Bytes =>
    bytes(5, [...text(1, name), ...ints.flatMap((n) => number(8, n)), ...number(20, 7)])
  const node = ({ op, inputs, outputs, attributes = {} }: OnnxNode): Bytes => [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(3, `the ${op}`),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(attribute),
  ]
  const graph = [
    ...model.nodes.flatMap((n) => bytes(1, node(n))),
    ...text(2, 'test'),
    ...Object.entries(model.constants ?? {}).flatMap((c) => bytes(5, constant(c))),
    ...Object.entries(model.inputs).flatMap((v) => bytes(11, value(v))),
    ...Object.entries(model.outputs).flatMap((v) => bytes(12, value(v))),
  ]
  return Uint8Array.from([...number(1, 8), ...bytes(7, graph), ...bytes(8, [...text(1, ''), ...number(2, 13)])])
}

/** `y = reshape(x, shape)`, whose shapes are decided by a value. */
export const RESHAPED: OnnxModel = {
  inputs: { x: [2, 3], shape: [2] },
  types: { shape: 'int64' },
  outputs: { y: ['rows', 'columns'] },
  nodes: [{ op: 'Reshape', inputs: ['x', 'shape'], outputs: ['y'] }],
}
