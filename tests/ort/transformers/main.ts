/** Sentence embeddings, and a picture resized, as transformers.js does them by default. */

import { env, interpolate_4d, pipeline, Tensor } from '@huggingface/transformers'

env.allowRemoteModels = false
env.allowLocalModels = true
env.localModelPath = '/models/'
env.useBrowserCache = false

async function embed(sentences: string[]): Promise<{ dims: number[]; data: number[] }> {
  const extract = await pipeline('feature-extraction', 'all_minilm', { dtype: 'q8' })
  const { dims, data } = (await extract(sentences, { pooling: 'mean', normalize: true })) as { dims: number[]; data: unknown }
  await extract.dispose()
  return { dims, data: Array.from(data as Float32Array) }
}

async function enlarge(values: number[]): Promise<number[]> {
  const image = new Tensor('float32', Float32Array.from(values), [1, 1, 2, 2])
  const { data } = (await interpolate_4d(image, { size: [3, 3], mode: 'bilinear' })) as { data: Float32Array }
  return Array.from(data)
}

/** Where onnxruntime's own files are, for the page that uses them. */
function useWasmAt(wasmPaths: string): void {
  const { wasm } = env.backends.onnx as { wasm: { wasmPaths: string } }
  wasm.wasmPaths = wasmPaths
}

Object.assign(globalThis, { embed, enlarge, useWasmAt })
