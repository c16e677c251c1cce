/** The errors that crossed the border, as the package's classes again. */

import {
  InputError,
  InternalError,
  LimitError,
  ModelFormatError,
  type NearsideError,
  PlanError,
  UnsupportedError,
} from '../errors.js'
import { ChannelLost, type ErrorKind, isErrorKind, type WireError } from './protocol.js'

const CLASSES: { readonly [K in ErrorKind]: new (message: string) => NearsideError } = {
  InvalidModel: ModelFormatError,
  InvalidPlan: PlanError,
  Unsupported: UnsupportedError,
  InvalidInput: InputError,
  Limit: LimitError,
  Internal: InternalError,
}

/** The error to throw for what the other side reported. */
export function fromWire(error: WireError): Error {
  if (isErrorKind(error.kind)) return new CLASSES[error.kind](sentence(error.message))
  if (error.kind === 'Start') {
    return new ChannelLost(
      new InternalError(
        `Nearside's WebAssembly could not be started (${error.name}: ${error.message}); check that the .wasm file and the JavaScript are of the same version.`,
      ),
    )
  }
  return new ChannelLost(
    new InternalError(
      `Nearside failed inside WebAssembly (${error.message}). The runtime is restarted, so the next call works; please report this with the model.`,
    ),
  )
}

/** Rust's messages start in lower case and end without a full stop. */
function sentence(text: string): string {
  const end = /[.!?]$/.test(text) ? '' : '.'
  return text.charAt(0).toUpperCase() + text.slice(1) + end
}
