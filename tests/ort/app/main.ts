/** An application that knows nothing but onnxruntime-web. */

import * as ort from 'onnxruntime-web'
import { InferenceSession, Tensor, type TypedTensor } from 'onnxruntime-web'

ort.env.logLevel = 'error'
ort.env.wasm.numThreads = 1
ort.env.wasm.wasmPaths = { wasm: '/ort/ort-wasm-simd-threaded.wasm', mjs: '/ort/ort-wasm-simd-threaded.mjs' }

const options: InferenceSession.SessionOptions = {
  executionProviders: ['wasm'],
  graphOptimizationLevel: 'all',
  freeDimensionOverrides: { batch: 1 },
}

/** The most likely digit of a picture of 28×28 grey values, and the numbers behind it. */
async function classify(url: string, pixels: Float32Array): Promise<{ digit: number; logits: number[]; dims: number[] }> {
  const session = await InferenceSession.create(url, options)
  const [input = '', output = ''] = [session.inputNames[0], session.outputNames[0]]
  const feeds: Record<string, Tensor> = { [input]: new Tensor('float32', pixels, [1, 1, 28, 28]) }
  const results = await session.run(feeds)
  const logits = results[output] as TypedTensor<'float32'>
  if (!(logits instanceof ort.Tensor)) throw new Error('not a tensor')
  const digit = logits.data.indexOf(Math.max(...logits.data))
  await session.release()
  return { digit, logits: Array.from(logits.data), dims: [...logits.dims] }
}

Object.assign(globalThis, { classify, ort })
