/**
 * A sample to begin with: the address of a small int8 model, of 64 kB, that reads handwritten digits. Its input `image` are 28×28 grey values
 * from 0 (paper) to 1 (ink), its output `logits` a score for each of the ten digits.
 *
 * @example
 * const model = await Model.load(digits)
 * const { logits } = await model.run({ image: new Float32Array(28 * 28) })
 */

import type { Tensor } from './tensor.js'
import type { FeedOf, ModelAddress } from './types.js'

const digits = new URL('./digits.plan', import.meta.url).href as ModelAddress<
  { readonly image: FeedOf<'float32'> } | FeedOf<'float32'>,
  { readonly logits: Tensor<'float32'> }
>

export default digits
