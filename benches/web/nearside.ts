/**
 * Nearside in the calling thread, like the engines it is measured beside, and without its cache of plans unless a second visit is measured;
 * where threads are measured, in a Worker and its helpers, since a page's own thread may not wait for others.
 */

import { type DataType as NearsideType, Model, Tensor } from 'nearside'

import type { DataType, LoadedModel, Options, Value } from './engine.js'

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
export async function loadNearside(url: string, { threads, worker, keep }: Options): Promise<LoadedModel> {
  const model = await Model.load(url, { worker: worker || threads > 1, threads, cache: keep })
  if (model.engine.threads !== threads)
    throw new Error(`there are ${String(model.engine.threads)} threads, not ${String(threads)}`)
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
