import { describe, expect, it } from 'vitest'
import { FileBuilder, headOf, sizeOf } from '../ts/file.js'
import { eachPiece } from '../ts/pieces.js'

const numbers = (count: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length: count }, (_, i) => i % 251)

describe('FileBuilder', () => {
  it.each([
    [undefined, 1000],
    [300, 1000],
    [300, 100],
    [undefined, 100],
    [10, 1000],
  ])('puts pieces together (%s bytes expected, a Blob beyond %s)', async (expected, large) => {
    const builder = new FileBuilder(expected, large)
    const bytes = numbers(300)
    for (let at = 0; at < bytes.length; at += 70) builder.push(bytes.subarray(at, at + 70))
    expect(builder.size).toBe(300)
    const file = builder.finish()
    expect(file instanceof Blob).toBe(large < 300)
    expect(sizeOf(file)).toBe(300)
    expect(await headOf(file)).toEqual(bytes.subarray(0, 256))
    const out: number[] = []
    await eachPiece(file, (piece) => void out.push(...piece))
    expect(Uint8Array.from(out)).toEqual(bytes)
  })
})
