import { describe, expect, it } from 'vitest'
import { InputError, UnsupportedError } from '../ts/errors.js'
import { measureFeatures, pickVariant, PROBES } from '../ts/variant.js'

const none = { simd: false, relaxedSimd: false }
const simd = { simd: true, relaxedSimd: false }
const both = { simd: true, relaxedSimd: true }

describe('pickVariant', () => {
  it.each([
    [simd, undefined, 'simd'],
    [both, undefined, 'relaxed'],
    [simd, 'auto', 'simd'],
    [both, 'auto', 'relaxed'],
    [both, 'simd', 'simd'],
    [both, 'relaxed', 'relaxed'],
    [simd, 'simd', 'simd'],
  ] as const)('%o, %s → %s', (features, wanted, expected) => {
    expect(pickVariant(features, wanted)).toBe(expected)
  })

  it('names what is missing', () => {
    expect(() => pickVariant(none)).toThrow(UnsupportedError)
    expect(() => pickVariant(none)).toThrow(/no WebAssembly SIMD/)
    expect(() => pickVariant(simd, 'relaxed')).toThrow(/no relaxed SIMD/)
    expect(() => pickVariant(both, 'threads' as 'auto')).toThrow(InputError)
  })
})

describe('the probes', () => {
  it('are what the engine validates', () => {
    const seen: Uint8Array[] = []
    const features = measureFeatures((bytes) => {
      seen.push(bytes)
      return bytes === PROBES.simd
    })
    expect(features).toEqual(simd)
    expect(seen).toEqual([PROBES.simd, PROBES.relaxedSimd])
  })

  it('are well formed: SIMD validates here, and the relaxed one compiles or names its instruction', () => {
    expect(WebAssembly.validate(PROBES.simd)).toBe(true)
    if (!WebAssembly.validate(PROBES.relaxedSimd)) {
      // Node 20's engine knows the instruction, but keeps it behind a flag.
      expect(() => new WebAssembly.Module(PROBES.relaxedSimd)).toThrow(/opcode 0xfd113|relaxed/)
    }
  })
})

it('fails by a TypeError, which loads explain, where even the name WebAssembly is missing', () => {
  const { WebAssembly: kept } = globalThis
  Reflect.deleteProperty(globalThis, 'WebAssembly')
  try {
    expect(() => measureFeatures()).toThrow(TypeError)
  } finally {
    Object.assign(globalThis, { WebAssembly: kept })
  }
})
