/** LiteRT.js: TensorFlow Lite on its WebAssembly accelerator, XNNPACK; no GPU. */

import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core'

import type { Load } from '../engine.js'

/** It tells on the console what it has registered, and that there is no GPU. */
function quiet(): void {
  for (const level of ['warn', 'error'] as const) {
    const original = console[level].bind(console)
    console[level] = (...words: unknown[]) => {
      if (!/^(INFO|WARNING): |^Failed to create default WebGPU device/.test(String(words[0]))) original(...words)
    }
  }
}

export const load: Load = async (url, { threads }) => {
  quiet()
  // It would wait for a GPU, which is not used here.
  Object.defineProperty(navigator, 'gpu', { value: undefined })
  await loadLiteRt('/packages/@litertjs/core/wasm/', { threads: threads > 1 })
  const model = await loadAndCompile(url, { accelerator: 'wasm', cpuOptions: { numThreads: threads } })
  return {
    async run(inputs) {
      const feeds: Record<string, Tensor> = {}
      for (const [name, { data, dims }] of Object.entries(inputs)) feeds[name] = new Tensor(data as Float32Array, [...dims])
      const results = await model.run(feeds)
      const outputs: Record<string, ArrayLike<number>> = {}
      for (const [name, tensor] of Object.entries(results)) outputs[name] = await tensor.data()
      // Its tensors lie in WebAssembly's memory and are not collected.
      for (const tensor of [...Object.values(feeds), ...Object.values(results)]) tensor.delete()
      return outputs
    },
  }
}
