/** Which binary this browser gets: a pure function of measured features. */

import { InputError, UnsupportedError } from './errors.js'
import { describeValue } from './tensor.js'
import type { Variant } from './types.js'

/** What the browser's WebAssembly can do. */
export interface Features {
  readonly simd: boolean
  readonly relaxedSimd: boolean
}

// Opcodes of the probes (WebAssembly core specification, section 5.4).
const I32_CONST_0 = [0x41, 0x00]
const I8X16_SPLAT = [0xfd, 0x0f]
const I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S = [0xfd, 0x93, 0x02]
const V128 = 0x7b
const FUNC = 0x60
const END = 0x0b

const ZEROS = [...I32_CONST_0, ...I8X16_SPLAT]

/** A module with one function of no parameters and the given body, which leaves a vector. */
function moduleWith(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const section = (id: number, content: readonly number[]): number[] => [id, content.length, ...content]
  const code = [0, ...body, END] // no locals
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, [1, FUNC, 0, 1, V128]), // types: () -> v128
    ...section(3, [1, 0]), // functions: one of type 0
    ...section(10, [1, code.length, ...code]), // code
  ])
}

/** Modules that validate where the feature exists. */
export const PROBES = {
  simd: /* @__PURE__ */ moduleWith(ZEROS),
  relaxedSimd: /* @__PURE__ */ moduleWith([...ZEROS, ...ZEROS, ...ZEROS, ...I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S]),
}

/** Asks the engine, without compiling anything. Where there is no WebAssembly the name alone would be a ReferenceError; so it is a TypeError. */
export function measureFeatures(
  validate: (bytes: Uint8Array<ArrayBuffer>) => boolean = (bytes) => globalThis.WebAssembly.validate(bytes),
): Features {
  return { simd: validate(PROBES.simd), relaxedSimd: validate(PROBES.relaxedSimd) }
}

/** The binary for a browser with these features. */
export function pickVariant(features: Features, wanted: 'auto' | Variant = 'auto'): Variant {
  if (wanted !== 'auto' && wanted !== 'simd' && wanted !== 'relaxed') {
    throw new InputError(`The option variant is ${describeValue(wanted)}; use 'auto', 'simd' or 'relaxed'.`)
  }
  if (!features.simd) {
    throw new UnsupportedError(
      'This browser has no WebAssembly SIMD, which Nearside needs; update it (Chrome 91, Firefox 89, Safari 16.4 or later).',
    )
  }
  if (wanted === 'relaxed' && !features.relaxedSimd) {
    throw new UnsupportedError("This browser has no relaxed SIMD; use the variant 'auto' or 'simd'.")
  }
  return wanted === 'auto' ? (features.relaxedSimd ? 'relaxed' : 'simd') : wanted
}
