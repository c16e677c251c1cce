/**
 * The eight graphs of one operator that transformers.js carries inside (66 to 160 bytes each). Ranks and sizes that only
 * each call decides are beyond a plan, and compiling is too much for them: they run here, in plain TypeScript.
 */

import { DisposedError } from '../index.js'
import { deliver } from './deliver.js'
import { matmul } from './operators/matmul.js'
import { resize, type ResizeMode } from './operators/resize.js'
import { slice } from './operators/slice.js'
import { rfft, stft } from './operators/spectrum.js'
import { topK } from './operators/top-k.js'
import type { Value } from './operators/value.js'
import type { InferenceSession, InferenceSessionHandler, OnnxValue } from './session-types.js'
import { Tensor } from './tensor.js'

type Port = readonly [name: string, type: 'float32' | 'int64', shape: readonly (number | string)[]]

interface Operator {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  run(...inputs: Value[]): readonly Value[]
}

function resizing(mode: ResizeMode): Operator {
  const shape = ['b', 'c', 'h', 'w']
  return {
    inputs: [
      ['x', 'float32', shape],
      ['s', 'int64', [4]],
    ],
    outputs: [['y', 'float32', shape]],
    run: (x, s) => [resize(x, s, mode)],
  }
}

/** By the graph's bytes in base64. */
const OPERATORS: { readonly [model: string]: Operator } = {
  'CAoSADqBAQopCgF4CgAKAAoBcxIBeSIGUmVzaXplKhIKBG1vZGUiB25lYXJlc3SgAQMSAXJaHwoBeBIaChgIARIUCgMSAWIKAxIBYwoDEgFoCgMSAXdaDwoBcxIKCggIBxIECgIIBGIfCgF5EhoKGAgBEhQKAxIBYgoDEgFjCgMSAWgKAxIBd0ICEBU=':
    resizing('nearest'),
  'CAkSADqAAQooCgF4CgAKAAoBcxIBeSIGUmVzaXplKhEKBG1vZGUiBmxpbmVhcqABAxIBclofCgF4EhoKGAgBEhQKAxIBYgoDEgFjCgMSAWgKAxIBd1oPCgFzEgoKCAgHEgQKAggEYh8KAXkSGgoYCAESFAoDEgFiCgMSAWMKAxIBaAoDEgF3QgIQFA==':
    resizing('linear'),
  'CAkSADp/CicKAXgKAAoACgFzEgF5IgZSZXNpemUqEAoEbW9kZSIFY3ViaWOgAQMSAXJaHwoBeBIaChgIARIUCgMSAWIKAxIBYwoDEgFoCgMSAXdaDwoBcxIKCggIBxIECgIIBGIfCgF5EhoKGAgBEhQKAxIBYgoDEgFjCgMSAWgKAxIBd0ICEBQ=':
    resizing('cubic'),
  'CAkSADo3ChEKAWEKAWISAWMiBk1hdE11bBIBcloJCgFhEgQKAggBWgkKAWISBAoCCAFiCQoBYxIECgIIAUICEBQ=': {
    inputs: [
      ['a', 'float32', []],
      ['b', 'float32', []],
    ],
    outputs: [['c', 'float32', []]],
    run: (a, b) => [matmul(a, b)],
  },
  CAcSADqUAQomCgFzCgFqCgF3CgFsEgFvIgRTVEZUKg8KCG9uZXNpZGVkGAGgAQISAXNaGgoBcxIVChMIARIPCgMSAWIKAxIBcwoDEgFjWgsKAWoSBgoECAcSAFoQCgF3EgsKCQgBEgUKAxIBd1oLCgFsEgYKBAgHEgBiHwoBbxIaChgIARIUCgMSAWIKAxIBZgoDEgFkCgMSAWNCAhAR:
    {
      inputs: [
        ['s', 'float32', ['b', 's', 'c']],
        ['j', 'int64', []],
        ['w', 'float32', ['w']],
        ['l', 'int64', []],
      ],
      outputs: [['o', 'float32', ['b', 'f', 'd', 'c']]],
      run: (s, j, w, l) => [stft(s, j, w, l)],
    },
  'CAk6XQohCgF4CgAKAWESAXkiA0RGVCoPCghvbmVzaWRlZBgBoAECEgFkWhMKAXgSDgoMCAESCAoACgAKAggBWgsKAWESBgoECAcSAGITCgF5Eg4KDAgBEggKAAoACgIIAkICEBQ=':
    {
      inputs: [
        ['x', 'float32', ['', '', 1]],
        ['a', 'int64', []],
      ],
      outputs: [['y', 'float32', ['', '', 2]]],
      run: (x, a) => [rfft(x, a)],
    },
  'CAoSADpJChIKAXgKAWsSAXYSAWkiBFRvcEsSAXRaCQoBeBIECgIIAVoPCgFrEgoKCAgHEgQKAggBYgkKAXYSBAoCCAFiCQoBaRIECgIIB0ICEBU=': {
    inputs: [
      ['x', 'float32', []],
      ['k', 'int64', [1]],
    ],
    outputs: [
      ['v', 'float32', []],
      ['i', 'int64', []],
    ],
    run: (x, k) => topK(x, k),
  },
  'CAcSADpgChkKAXgKAXMKAWUKAWEKAXQSAXkiBVNsaWNlEgFyWgkKAXgSBAoCCAFaCQoBcxIECgIIB1oJCgFlEgQKAggHWgkKAWESBAoCCAdaCQoBdBIECgIIB2IJCgF5EgQKAggBQgIQDQ==':
    {
      inputs: [
        ['x', 'float32', []],
        ['s', 'int64', []],
        ['e', 'int64', []],
        ['a', 'int64', []],
        ['t', 'int64', []],
      ],
      outputs: [['y', 'float32', []]],
      run: (x, s, e, a, t) => [slice(x, s, e, a, t)],
    },
}

/** A session for one of these graphs, `undefined` for any other model. */
export function builtinHandler(model: Uint8Array): InferenceSessionHandler | undefined {
  const key = btoa(String.fromCharCode(...model))
  const operator = Object.hasOwn(OPERATORS, key) ? OPERATORS[key] : undefined
  return operator && new BuiltinHandler(operator)
}

class BuiltinHandler implements InferenceSessionHandler {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly inputMetadata: readonly InferenceSession.TensorValueMetadata[]
  readonly outputMetadata: readonly InferenceSession.TensorValueMetadata[]
  #operator: Operator | undefined

  constructor(operator: Operator) {
    const metadata = ([name, type, shape]: Port): InferenceSession.TensorValueMetadata => ({ name, isTensor: true, type, shape })
    this.#operator = operator
    this.inputMetadata = operator.inputs.map(metadata)
    this.outputMetadata = operator.outputs.map(metadata)
    this.inputNames = operator.inputs.map(([name]) => name)
    this.outputNames = operator.outputs.map(([name]) => name)
  }

  run(
    feeds: { readonly [name: string]: OnnxValue },
    fetches: { readonly [name: string]: OnnxValue | null },
  ): Promise<{ readonly [name: string]: OnnxValue }> {
    const operator = this.#operator
    if (operator === undefined) throw new DisposedError('The session was released; create it again to use it.')
    const values = operator.inputs.map(([name, type]): Value => {
      const tensor = feeds[name] as OnnxValue
      if (tensor.type !== type) throw new Error(`Input '${name}' takes ${type}, a ${tensor.type} tensor was given.`)
      return { data: tensor.data as Float32Array | BigInt64Array, dims: tensor.dims }
    })
    const results: { [name: string]: OnnxValue } = {}
    operator.run(...values).forEach(({ data, dims }, i) => {
      const name = this.outputNames[i] ?? ''
      if (!Object.hasOwn(fetches, name)) return
      results[name] = deliver(name, new Tensor(data, dims), fetches[name] ?? undefined)
    })
    return Promise.resolve(results)
  }

  dispose(): Promise<void> {
    this.#operator = undefined
    return Promise.resolve()
  }

  /** There is nothing to measure. */
  startProfiling(): void {}

  /** There is nothing to measure. */
  endProfiling(): void {}
}
