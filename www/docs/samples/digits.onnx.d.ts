// Inputs and outputs of digits.onnx, written by nearside/vite.
import type { FeedOf, ModelAddress, Port, Tensor } from 'nearside'

export type Feeds =
  | {
      /** float32, batch×1×28×28 */
      readonly image: FeedOf<'float32'>
    }
  | FeedOf<'float32'>

export type Outputs = {
  /** float32, batch×10 */
  readonly logits: Tensor<'float32'>
}

/** Sha-256 of the plan, for the option `integrity` of `Model.load`. */
export declare const integrity: string
export declare const inputs: readonly Port[]
export declare const outputs: readonly Port[]

/** The plan's address. */
declare const address: ModelAddress<Feeds, Outputs>
export default address
