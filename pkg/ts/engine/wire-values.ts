/** Results of a run between the bindings' flat form and messages. */

import type { WireValue } from './protocol.js'

/** Values as the bindings give them, flat: type, dimensions and data of each in turn. */
export function values(flat: readonly unknown[]): WireValue[] {
  const out: WireValue[] = []
  for (let i = 0; i + 2 < flat.length; i += 3) out.push(value(flat[i] as WireValue['type'], flat[i + 1], flat[i + 2]))
  return out
}

function value(type: WireValue['type'], dims: unknown, data: unknown): WireValue {
  switch (type) {
    case 'sequence':
      return { type, items: values(data as unknown[]) }
    case 'map': {
      const [inner] = values(data as unknown[])
      if (inner === undefined) throw new Error('a map came without values')
      return { type, keys: dims as (string | number)[], values: inner }
    }
    case 'none':
      return { type }
    case 'string':
      return { type, dims: dims as Uint32Array, strings: data as string[] }
    default:
      return { type, dims: dims as Uint32Array, bytes: data as Uint8Array }
  }
}

/** The buffers of a value, which may move instead of being copied. */
export function buffers(value: WireValue): Transferable[] {
  if (value.type === 'sequence') return value.items.flatMap(buffers)
  if (value.type === 'map') return buffers(value.values)
  return 'bytes' in value ? [value.bytes.buffer as ArrayBuffer] : []
}
