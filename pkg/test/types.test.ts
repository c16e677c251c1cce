/** What TypeScript knows of models: checked when this file is compiled (`npm run typecheck`). */

import { describe, expectTypeOf, it } from 'vitest'
import {
  type AnyTensor,
  type FeedOf,
  type Feeds,
  type ImageFeed,
  type LocalFeeds,
  type LocalModel,
  Model,
  type ModelAddress,
  type OutputValue,
  type OutputValues,
  type Outputs,
  type Predictor,
  type RemoteModel,
  type Tensor,
  type WithMedia,
} from '../ts/index.js'

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

type TwoInputs = { readonly image: FeedOf<'float32'>; readonly ids: FeedOf<'int64'> }
type OneOutput = { readonly y: Tensor<'float32'> }

/** What `nearside/vite` writes for a model with one input, which also takes the bare value. */
type OneInput = { readonly image: FeedOf<'float32'> } | FeedOf<'float32'>

async function pictures(
  one: Model<OneInput, OneOutput>,
  two: LocalModel<TwoInputs, OneOutput>,
  text: Model<{ readonly words: FeedOf<'string'> }>,
  half: Model<{ readonly image: FeedOf<'float16'> }>,
  untyped: Model,
  image: ImageBitmap,
  feed: ImageFeed,
): Promise<void> {
  await one.run(image)
  await one.run([image, image], { latest: true })
  await one.run({ image: feed })
  await one.profile(feed)
  await half.run({ image })
  expectTypeOf((await two.run({ image, ids: [1n] }, {})).y).toEqualTypeOf<Tensor<'float32'>>()
  await untyped.run(image)
  await untyped.run({ image, sound: { audio: { channels: [new Float32Array(3)], sampleRate: 8000 }, sampleRate: 16_000 } })
  expectTypeOf<LocalFeeds>().toExtend<WithMedia<Feeds>>()
  // @ts-expect-error: a picture is no integers of 64 bits
  await two.run({ image, ids: image })
  // @ts-expect-error: nor a text
  await text.run({ words: image })
  // @ts-expect-error: a misspelt input beside a picture
  await two.run({ picture: image, ids: [1n] })
}

declare function helper(model: Predictor): void
declare function kept<M extends Predictor>(model: M): M
declare function wrapped<F extends LocalFeeds, O extends OutputValues>(model: Predictor<F, O>): Predictor<F, O>

/** Whoever takes a `Predictor` takes every model, and whoever says which takes those alone. */
async function predictors(
  one: Model<OneInput, OneOutput>,
  two: LocalModel<TwoInputs, OneOutput>,
  sequence: Model<TwoInputs, { readonly y: readonly OutputValue[] }>,
  text: Model<{ readonly words: FeedOf<'string'> }>,
  untyped: Model,
  remote: RemoteModel,
  image: ImageBitmap,
): Promise<void> {
  for (const model of [one, two, sequence, untyped, remote]) helper(model)
  // Without options, too, where it is one or the other.
  for (const model of [untyped, remote]) expectTypeOf(await model.run({ image: [1] })).toEqualTypeOf<Outputs>()
  helper(await Model.connect<OneInput, OneOutput>('/', 'one'))
  expectTypeOf(kept(one)).toEqualTypeOf<typeof one>()
  const same = wrapped(two)
  expectTypeOf((await same.run({ image: [1], ids: [1n] })).y).toEqualTypeOf<Tensor<'float32'>>()
  const either: Predictor<TwoInputs, OneOutput> =
    Math.random() < 0.5 ? two : await Model.connect<TwoInputs, OneOutput>('/', 'two')
  await either.run({ image: [1], ids: [1] })
  // @ts-expect-error: a misspelt input
  await either.run({ picture: [1], ids: [1] })
  // @ts-expect-error: there is no such output
  void (await either.run({ image: [1], ids: [1] })).z
  // @ts-expect-error: it may be on a server, which takes tensors
  await either.run({ image, ids: [1] })
  // @ts-expect-error: nor do those with untyped inputs
  await remote.run({ image })
  // @ts-expect-error: another model's inputs
  const another: Predictor<TwoInputs, OneOutput> = text
  helper(another)
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
    expectTypeOf(pictures).toBeFunction()
    expectTypeOf(predictors).toBeFunction()
    expectTypeOf(untyped).toBeFunction()
  })
})
