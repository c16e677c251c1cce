import { describe, expect, it } from 'vitest'

import { codeOf, headersOf, type Place, PLACES } from './code'
import { DEFAULTS } from './experiment'

const places = Object.keys(PLACES) as Place[]

describe('the code', () => {
  it.each(places)('of %s loads the model and runs it', (place) => {
    const code = codeOf(DEFAULTS, place)
    expect(code).toContain('await Model.load(')
    expect(code).toContain('await model.run({')
    expect(code).toContain('digits.int8')
  })

  it('has the options that differ, and no others', () => {
    expect(codeOf(DEFAULTS, 'page')).toContain("await Model.load('/models/digits.int8.plan')\n")
    const code = codeOf({ ...DEFAULTS, variant: 'simd', threads: 2, worker: false }, 'page')
    expect(code).toContain("await Model.load('/models/digits.int8.plan', { variant: 'simd', threads: 2, worker: false })")
    expect(codeOf({ ...DEFAULTS, threads: 2 }, 'vite')).toContain('await Model.load(address, { integrity, threads: 2 })')
    expect(codeOf(DEFAULTS, 'vite')).toContain("from './digits.int8.onnx'")
  })

  it('names the inputs of any model', () => {
    const inputs = [
      { name: 'input:0', type: 'int64', dims: [1, 128] },
      { name: 'mask', type: 'float32', dims: [] },
    ]
    const code = codeOf({ ...DEFAULTS, model: 'https://example.org/m/bert.onnx?v=1' }, 'extension', inputs)
    expect(code).toContain("chrome.runtime.getURL('models/bert.onnx')")
    expect(code).toContain(`"input:0": new Tensor('int64', new BigInt64Array(1 * 128), [1, 128])`)
    expect(code).toContain(`mask: new Tensor('float32', new Float32Array(1), [])`)
  })

  it('comes with the headers that it needs', () => {
    expect(headersOf(DEFAULTS, 'vite')).toContain('Cross-Origin-Embedder-Policy: require-corp')
    expect(headersOf({ ...DEFAULTS, threads: 1 }, 'vite')).not.toContain('Cross-Origin')
    expect(headersOf(DEFAULTS, 'extension')).toContain('wasm-unsafe-eval')
  })
})
