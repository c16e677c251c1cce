/** onnxruntime-web: its WebAssembly backend, all graph optimisations on. */

import * as ort from 'onnxruntime-web/wasm'

import type { DataType, Load } from '../engine.js'

const TYPES: Record<DataType, ort.Tensor.Type> = {
  f32: 'float32',
  f16: 'float16',
  i8: 'int8',
  u8: 'uint8',
  i32: 'int32',
  i64: 'int64',
  bool: 'bool',
}

export const load: Load = async (url, { threads }) => {
  ort.env.wasm.numThreads = threads
  // Its remarks on a model's unused initializers are not about speed.
  ort.env.logLevel = 'error'
  const session = await ort.InferenceSession.create(url, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' })
  return {
    async run(inputs) {
      const feeds: Record<string, ort.Tensor> = {}
      for (const [name, { dtype, data, dims }] of Object.entries(inputs)) {
        feeds[name] = new ort.Tensor(TYPES[dtype], data as Float32Array, dims)
      }
      const results = await session.run(feeds)
      const outputs: Record<string, ArrayLike<number | bigint>> = {}
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = tensor.data as Float32Array
      }
      return outputs
    },
  }
}
