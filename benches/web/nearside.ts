/** Nearside in the calling thread, like the engines it is measured beside, and without its cache of plans. */

import { type DataType as NearsideType, Model, Tensor } from 'nearside'

import type { DataType, LoadedModel, Value } from './engine.js'

const TYPES: Record<DataType, NearsideType> = {
  f32: 'float32',
  f16: 'float16',
  i8: 'int8',
  u8: 'uint8',
  i32: 'int32',
  i64: 'int64',
  bool: 'bool',
}

const PROFILED_RUNS = 40

/** Loads a plan or raw ONNX. */
export async function loadNearside(url: string, threads: number): Promise<LoadedModel> {
  if (threads !== 1) throw new Error(`Nearside runs on one thread; --threads ${String(threads)} measures nothing.`)
  const model = await Model.load(url, { worker: false, cache: false })
  const feedsOf = (inputs: Readonly<Record<string, Value>>): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, data, dims }]) => [name, new Tensor(TYPES[dtype], data, dims)]),
    )
  return {
    profile: (inputs) => model.profile(feedsOf(inputs), { runs: PROFILED_RUNS }),
    async run(inputs) {
      const results = await model.run(feedsOf(inputs))
      const outputs: Record<string, ArrayLike<number | bigint>> = {}
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = tensor.data as Float32Array
      }
      return outputs
    },
  }
}
