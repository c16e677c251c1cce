/**
 * What crosses the border between the page and the thread that runs models: one map from a message's name to its request
 * and response, from which both sides derive their types. Tensors travel as bytes, in the order of the model's ports.
 */

import type { FileBytes } from '../file.js'
import type { Fit } from '../fit.js'
import type { DataType } from '../tensor.js'
import type { Explanation, NodeProfile } from '../explanation.js'
import type { Limits, MemoryUse, Port } from '../types.js'

/** Which binary an engine runs: the runtime, or the compiler (which also runs fallback models). */
export type Role = 'core' | 'compiler'

/** An input on its way: the type is the port's. */
export type WireInput =
  | { readonly dims: Uint32Array; readonly bytes: Uint8Array }
  | { readonly dims: Uint32Array; readonly strings: readonly string[] }
  | WireImages
  | WireAudio

/** What of an input moves instead of being copied. */
interface Moving {
  readonly transfer: readonly Transferable[]
}

/** Pixels as RGBA, colours not multiplied by alpha. */
export interface Pixels {
  readonly pixels: Uint8Array
  readonly width: number
  readonly height: number
}

/** A picture on its way. */
export type WireImage = Pixels | ImageBitmap | VideoFrame | Blob

/** Pictures that become an input. */
export interface WireImages extends Moving {
  readonly images: readonly WireImage[]
  readonly recipe: WireRecipe
}

/** What becomes of pictures, but for their size. */
export interface WireRecipe {
  readonly dims: readonly (number | 'width' | 'height')[]
  /** Pixels of the result; `undefined` for the picture's own. */
  readonly width: number | undefined
  readonly height: number | undefined
  readonly fit: Fit
  readonly crop: number
  readonly background: readonly number[]
  /** RGB, BGR or grey. */
  readonly colors: 0 | 1 | 2
  readonly interleaved: boolean
  /** Of each channel, for colours from 0 to 255. */
  readonly scale: readonly number[]
  readonly offset: readonly number[]
}

/** A sound that becomes an input: channels of samples at the rate `from`, wanted at the rate `to`. */
export interface WireAudio extends Moving {
  readonly dims: Uint32Array
  readonly channels: readonly Float32Array[]
  readonly from: number
  readonly to: number
}

/** A result on its way. */
export type WireValue =
  | { readonly type: Exclude<DataType, 'string'>; readonly dims: Uint32Array; readonly bytes: Uint8Array }
  | { readonly type: 'string'; readonly dims: Uint32Array; readonly strings: readonly string[] }
  | { readonly type: 'sequence'; readonly items: readonly WireValue[] }
  | { readonly type: 'map'; readonly keys: readonly (string | number)[]; readonly values: WireValue }
  | { readonly type: 'none' }

/** A model that the other side holds. */
export interface Loaded {
  readonly id: number
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** What the user should know, as sentences. */
  readonly notes: readonly string[]
  /** Milliseconds that loading took there. */
  readonly ms: number
  /** Threads that share its work. */
  readonly threads: number
}

/** What became of an ONNX model. */
export type CompileResult =
  | { readonly kind: 'plan'; readonly plan: FileBytes; readonly notes: readonly string[]; readonly ms: number }
  | { readonly kind: 'fallback'; readonly model: Loaded; readonly operators: readonly string[] }

/** A part of a file in which a model keeps weights. */
export interface NeededRange {
  /** Path of the file in the model's folder. */
  readonly path: string
  /** Its first byte. */
  readonly start: number
  /** Number of bytes. */
  readonly length: number
}

/** All messages. */
export interface Protocol {
  /** Instantiates the binary, a threaded one if there shall be more than one thread; the first message. */
  start: { request: { role: Role; module: WebAssembly.Module; threads: number }; response: { integerPath: string } }
  /** Loads a plan. */
  load: { request: { plan: FileBytes; limits: Limits }; response: Loaded }
  /** Reads an ONNX model; tells what it needs of other files. */
  open: { request: { onnx: FileBytes; limits: Limits }; response: { id: number; needed: readonly NeededRange[] } }
  /** Gives a model that was opened bytes of another file, from its byte `at` on. */
  supply: { request: { id: number; path: string; at: number; bytes: Uint8Array }; response: null }
  /** Compiles a model that was opened, and forgets it. */
  compile: { request: { id: number }; response: CompileResult }
  /** Runs a model; inputs are in the order of its ports. `spent` are the bytes of inputs, which come back. */
  run: {
    request: { id: number; inputs: readonly WireInput[] }
    response: { outputs: readonly WireValue[]; spent: Uint8Array[]; prepare: number | undefined; ms: number; threads: number }
  }
  /** Runs a model several times; tells what each node took. */
  profile: { request: { id: number; inputs: readonly WireInput[]; runs: number }; response: readonly NodeProfile[] }
  /** Tells of what a model is made. */
  explain: { request: { id: number }; response: Omit<Explanation, 'fallbackOperators' | 'notes' | 'plan'> }
  /** Begins to tune a model for inputs, in about `budget` milliseconds; `plan` is its plan again. */
  tune: { request: { id: number; plan: FileBytes; inputs: readonly WireInput[]; budget: number }; response: null }
  /** Goes on with that for about `slice` milliseconds; gives how much of all is done. */
  tuneOn: { request: { id: number; slice: number }; response: number }
  /** Ends it. Gives the record that belongs behind the plan, empty if nothing changed, and the report, flat. */
  tuneEnd: { request: { id: number; keep: boolean }; response: { record: Uint8Array<ArrayBuffer>; report: Float64Array } }
  /** Forgets a model. */
  drop: { request: { id: number }; response: null }
  /** Memory in use. */
  memory: { request: { id: number }; response: MemoryUse }
  /** Sha-256 in hexadecimal, for files that are not in memory, and for pages without `crypto.subtle`. */
  sha256: { request: { file: FileBytes }; response: string }
}

export type MessageName = keyof Protocol
export type RequestOf<K extends MessageName> = Protocol[K]['request']
export type ResponseOf<K extends MessageName> = Protocol[K]['response']

/** A numbered request. */
export type RequestMessage = {
  [K in MessageName]: { readonly seq: number; readonly name: K; readonly request: RequestOf<K> }
}[MessageName]

/** Kinds of Rust errors, after which the instance is sound. Whatever else is thrown comes from a trap. */
const ERROR_KINDS = ['InvalidModel', 'InvalidPlan', 'Unsupported', 'InvalidInput', 'Limit', 'Internal'] as const

export type ErrorKind = (typeof ERROR_KINDS)[number]

export function isErrorKind(name: string): name is ErrorKind {
  return (ERROR_KINDS as readonly string[]).includes(name)
}

/** An error on its way; not every browser clones Error objects. */
export interface WireError {
  readonly name: string
  /** The kind of a Rust error, or `Lost` when the instance must be given up. */
  readonly kind: string
  readonly message: string
}

/** The one answer to a request. */
export type ResponseMessage =
  { readonly seq: number; readonly response: ResponseOf<MessageName> } | { readonly seq: number; readonly error: WireError }

/** A way to the thread that runs models. */
export interface Channel {
  /** Sends a request. Rejects with a typed error, or with {@link ChannelLost} after which the channel is dead. */
  call<K extends MessageName>(name: K, request: RequestOf<K>, transfer?: readonly Transferable[]): Promise<ResponseOf<K>>
  /** Ends the other side; pending calls reject. */
  close(): void
}

/** The other side is gone: its wasm instance trapped or its Worker died. `error` is for the caller. */
export class ChannelLost extends Error {
  readonly error: Error
  constructor(error: Error) {
    super(error.message)
    this.error = error
  }
}
