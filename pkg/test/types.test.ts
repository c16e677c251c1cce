/** What TypeScript knows of models: checked when this file is compiled (`npm run typecheck`). */

import { describe, expectTypeOf, it } from 'vitest'
import { type AnyTensor, type Feeds, type FeedOf, Model, type ModelAddress, type Outputs, type Tensor } from '../ts/index.js'

/** Never called: only its types matter. */
async function typed(
  address: ModelAddress<{ readonly image: FeedOf<'float32'>; readonly ids: FeedOf<'int64'> }, { readonly y: Tensor<'float32'> }>,
): Promise<void> {
  const model = await Model.load(address, { cache: false })
  const { y } = await model.run({ image: new Float32Array(3), ids: [1n, 2n] })
  expectTypeOf(y).toEqualTypeOf<Tensor<'float32'>>()
  expectTypeOf(y.data).toEqualTypeOf<Float32Array>()
  await model.profile({ image: 1, ids: 2 })
  await model.run({ image: { type: 'float32', data: [1], dims: [1] }, ids: new BigInt64Array(1) })
  // @ts-expect-error: int64 is not what this input takes
  await model.run({ image: new BigInt64Array(3), ids: [1n] })
  // @ts-expect-error: a tensor of another type
  await model.run({ image: y, ids: y })
  // @ts-expect-error: a misspelt input
  await model.run({ image: [1], id: [1n] })
  // @ts-expect-error: an input is missing
  await model.run({ image: [1] })
  // @ts-expect-error: there is no such output
  void (await model.run({ image: [1], ids: [1] })).z
  // A call may still say what it gets.
  expectTypeOf(await model.run<{ z: Tensor<'int8'> }>({ image: [1], ids: [1] })).toEqualTypeOf<{ z: Tensor<'int8'> }>()
  // Whoever takes any model takes this one.
  expectTypeOf(model).toExtend<Model>()
}

async function untyped(address: string, url: URL, feeds: Feeds): Promise<void> {
  const model = await Model.load(address)
  expectTypeOf(model).toEqualTypeOf<Model>()
  expectTypeOf(await model.run(feeds)).toEqualTypeOf<Outputs>()
  expectTypeOf((await model.run(new Float32Array(3))).y).toEqualTypeOf<AnyTensor | undefined>()
  expectTypeOf(await model.run<{ map: Map<string, number> }>(1)).toEqualTypeOf<{ map: Map<string, number> }>()
  expectTypeOf(await Model.load(url)).toEqualTypeOf<Model>()
  expectTypeOf(await Model.load(address as ModelAddress)).toEqualTypeOf<Model>()
  expectTypeOf<Parameters<typeof Model.load>[0]>().toExtend<
    Parameters<typeof fetch>[0] | ArrayBufferView | ArrayBuffer | Blob | Response
  >()
}

describe('types', () => {
  it('are checked by the compiler', () => {
    expectTypeOf(typed).toBeFunction()
    expectTypeOf(untyped).toBeFunction()
  })
})
