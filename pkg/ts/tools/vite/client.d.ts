/** Models that were not declared yet: `/// <reference types="nearside/vite/client" />`. */

declare module '*.onnx' {
  import type { ModelAddress, Port } from 'nearside'
  /** Sha-256 of the plan, for the option `integrity` of `Model.load`. */
  export const integrity: string
  export const inputs: readonly Port[]
  export const outputs: readonly Port[]
  /** The plan's address. */
  const address: ModelAddress
  export default address
}

declare module '*.onnx?plan' {
  import type { ModelAddress, Port } from 'nearside'
  /** Sha-256 of the plan, for the option `integrity` of `Model.load`. */
  export const integrity: string
  export const inputs: readonly Port[]
  export const outputs: readonly Port[]
  /** The plan's address. */
  const address: ModelAddress
  export default address
}
