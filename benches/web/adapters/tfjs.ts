/** TensorFlow.js: a GraphModel on its WebAssembly backend with SIMD. */

import { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import { loadGraphModel } from '@tensorflow/tfjs-converter'
import { env, setBackend, type Tensor, tensor } from '@tensorflow/tfjs-core'

import type { Load } from '../engine.js'

export const load: Load = async (url, { threads }) => {
  setWasmPaths('/packages/@tensorflow/tfjs-backend-wasm/dist/')
  // In an isolated page it would take half of the cores.
  if (threads > 1) setThreadsCount(threads)
  else env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  if (!(await setBackend('wasm'))) throw new Error('tfjs could not start its WebAssembly backend')
  const model = await loadGraphModel(url)
  const names = model.outputs.map(({ name }) => name)
  return {
    async run(inputs) {
      const feeds: Record<string, Tensor> = {}
      for (const [name, { data, dims }] of Object.entries(inputs)) feeds[name] = tensor(data as Float32Array, [...dims])
      // One output comes without an array around it.
      const results = [model.execute(feeds, names)].flat()
      const outputs: Record<string, ArrayLike<number>> = {}
      for (const [i, result] of results.entries()) outputs[names[i] ?? ''] = await result.data()
      for (const one of [...Object.values(feeds), ...results]) one.dispose()
      return outputs
    },
  }
}
