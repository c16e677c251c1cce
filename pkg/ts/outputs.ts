/** Outputs of a run: from what crosses the border to what callers get. */

import type { WireValue } from './engine/protocol.js'
import { type DataType, STORAGE, Tensor } from './tensor.js'
import type { OutputValue } from './types.js'

/** A result as callers get it. */
export function fromWire(value: WireValue): OutputValue {
  switch (value.type) {
    case 'none':
      return null
    case 'sequence':
      return value.items.map(fromWire)
    case 'map': {
      const tensor = fromWire(value.values)
      const elements: ArrayLike<unknown> = tensor instanceof Tensor ? tensor.data : []
      return new Map(value.keys.map((key, i) => [key, elements[i] as number | bigint | string]))
    }
    case 'string':
      return new Tensor('string', [...value.strings], Array.from(value.dims))
    default: {
      const { bytes, type } = value
      const data = new STORAGE[type](bytes.buffer, bytes.byteOffset, bytes.byteLength / STORAGE[type].BYTES_PER_ELEMENT)
      return new Tensor<DataType>(type, data, Array.from(value.dims)) as OutputValue
    }
  }
}
