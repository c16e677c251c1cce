/** onnxruntime-web in this thread: its WebAssembly backend, all graph optimisations on. */

// Before the engine, whose memory it notes.
import { peakWasmBytes } from '../../benches/web/memory'
import * as ort from 'onnxruntime-web/wasm'
import glue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url'
import wasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url'

import type { NumberArray, Values } from './inputs'
import type { OrtAnswer, OrtCall } from './ort-worker'

/** A place for one session; those of several formats are there at once. */
export class OrtSession {
  #session: ort.InferenceSession | undefined

  async answer(call: OrtCall): Promise<OrtAnswer> {
    switch (call.kind) {
      case 'load': {
        ort.env.wasm.numThreads = call.threads
        const fresh = call.fresh === undefined ? '' : `?fresh=${call.fresh}`
        ort.env.wasm.wasmPaths = { mjs: new URL(glue, import.meta.url).href, wasm: new URL(wasm, import.meta.url).href + fresh }
        // Its remarks on a model's unused initializers are not about speed.
        ort.env.logLevel = 'error'
        const model = typeof call.model === 'string' ? call.model : new Uint8Array(await call.model.arrayBuffer())
        const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' } as const
        this.#session = await ort.InferenceSession.create(model as string, options)
        return {}
      }
      case 'run': {
        const feeds = Object.fromEntries(
          Object.entries(call.inputs).map(([name, { type, dims, data }]) => [
            name,
            new ort.Tensor(type as 'float32', data as Float32Array, dims),
          ]),
        )
        const results = (await this.#session?.run(feeds)) ?? {}
        const outputs: Values = Object.fromEntries(
          Object.entries(results).map(([name, { type, dims, data }]) => [name, { type, dims, data: data as NumberArray }]),
        )
        return { outputs }
      }
      case 'memory':
        return { bytes: peakWasmBytes() }
    }
  }

  release(): void {
    void this.#session?.release()
    this.#session = undefined
  }
}
