import { describe, expect, it, vi } from 'vitest'
import { InputError, IntegrityError } from '../ts/errors.js'
import { checkIntegrity, parseIntegrity } from '../ts/integrity.js'
import { sha256Hex } from '../ts/sha256.js'

const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
const ABC_SRI = 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='
const bytes = new TextEncoder().encode('abc')

describe('integrity', () => {
  it('reads both spellings', () => {
    expect(parseIntegrity(ABC)).toBe(ABC)
    expect(parseIntegrity(ABC.toUpperCase())).toBe(ABC)
    expect(parseIntegrity(ABC_SRI)).toBe(ABC)
  })

  it.each(['', 'sha256-', 'sha384-abc', ABC.slice(1), `${ABC_SRI} ${ABC_SRI}`])('refuses %s', (text) => {
    expect(() => parseIntegrity(text)).toThrow(InputError)
  })

  it('digests, also without crypto.subtle', async () => {
    const fallback = vi.fn(() => Promise.resolve('01ff'))
    expect(await sha256Hex(bytes, fallback)).toBe(ABC)
    expect(fallback).not.toHaveBeenCalled()
    vi.stubGlobal('crypto', {})
    expect(await sha256Hex(bytes, fallback)).toBe('01ff')
    vi.unstubAllGlobals()
    expect(await sha256Hex(new Blob([bytes]), fallback)).toBe('01ff')
  })

  it('tells both digests when they differ', () => {
    checkIntegrity(ABC, ABC, "'/m.onnx'")
    try {
      checkIntegrity(ABC, '0'.repeat(64), "'/m.onnx'")
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(IntegrityError)
      expect(error).toMatchObject({ expected: ABC_SRI, actual: 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' })
      expect((error as Error).message).toMatch(
        /^'\/m.onnx' does not have the demanded sha-256: .* or the option is out of date\.$/,
      )
    }
  })
})
