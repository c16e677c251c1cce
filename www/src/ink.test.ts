import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { prepare, SIDE } from './ink'

interface Samples {
  readonly samples: readonly { label: number; pixels: string }[]
  readonly drawings: readonly { label: number; width: number; height: number; ink: string; pixels: string }[]
}

const samples = JSON.parse(readFileSync(new URL('../../models/digits.samples.json', import.meta.url), 'utf8')) as Samples
const decode = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))
const asBytes = (image: Float32Array): number[] => Array.from(image, (v) => Math.round(v * 255))

describe('prepare', () => {
  test.each(samples.drawings)('agrees with the reference on a drawn $label', ({ width, height, ink, pixels }) => {
    const image = prepare({ width, height, ink: decode(ink) })
    expect(image).toBeDefined()
    const expected = decode(pixels)
    // The reference rounds to bytes after arithmetic in another order: one step of 255 is its own error.
    asBytes(image ?? new Float32Array()).forEach((v, i) => expect(Math.abs(v - (expected[i] ?? -1))).toBeLessThanOrEqual(1))
  })

  test.each(samples.samples)('leaves a prepared $label as it is', ({ pixels }) => {
    const ink = decode(pixels)
    expect(asBytes(prepare({ width: SIDE, height: SIDE, ink }) ?? new Float32Array())).toEqual([...ink])
  })

  test('gives nothing for paper, and for ink too thin to see', () => {
    expect(prepare({ width: 40, height: 30, ink: new Uint8Array(1200) })).toBeUndefined()
    expect(prepare({ width: 40, height: 30, ink: new Uint8Array(1200).fill(25) })).toBeUndefined()
  })

  test('does not depend on where the digit is or how large it is', () => {
    const draw = (size: number, x: number, y: number, unit: number): Float32Array | undefined => {
      const ink = new Uint8Array(size * size)
      for (let i = 0; i < 20 * unit; i++) for (let j = 0; j < 5 * unit; j++) ink[(y + i) * size + x + j] = 200
      return prepare({ width: size, height: size, ink })
    }
    const reference = draw(40, 3, 2, 1)
    expect(draw(40, 30, 15, 1)).toEqual(reference)
    expect(draw(200, 77, 31, 4)).toEqual(reference)
    expect(Math.max(...(reference ?? []))).toBe(1)
  })

  test('a single dot stays a dot', () => {
    const ink = new Uint8Array(100 * 100)
    ink[5050] = 255
    const image = prepare({ width: 100, height: 100, ink })
    expect(image?.reduce((a, b) => a + b, 0)).toBeCloseTo(400)
  })
})
