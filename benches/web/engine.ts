/**
 * What an engine must do to be measured. One file in `adapters/` exports `load` as below;
 * the file's name is the engine's name, and nothing else has to be changed.
 */

/** Element types of the cases, in the spelling of their `model.json`. */
export type DataType = 'f32' | 'f16' | 'i8' | 'u8' | 'i32' | 'i64' | 'bool'

export type Elements = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array | BigInt64Array

/** A dense tensor, row by row. */
export interface Value {
  readonly dtype: DataType
  readonly dims: readonly number[]
  readonly data: Elements
}

export interface Options {
  /** Address of the model as Nearside's plan, compiled ahead. */
  readonly plan: string
  /** Threads that the engine may use, the calling one included. */
  readonly threads: number
  /** Whether numbers of threads are compared: then even a single one is not the page's. */
  readonly worker: boolean
  /** Whether the engine may keep the model on the device, for the next visit. */
  readonly keep: boolean
}

/** A model that is ready to run in the calling thread. */
export interface LoadedModel {
  /** Predicts; the elements of the outputs in any numeric array. */
  run(inputs: Readonly<Record<string, Value>>): Promise<Record<string, ArrayLike<number | bigint>>>
  /** What each node takes, if the engine can tell. */
  profile?(inputs: Readonly<Record<string, Value>>): Promise<Profile>
}

/** Nodes in the order in which they run; times in milliseconds. */
export type Profile = readonly {
  readonly name: string
  readonly op: string
  readonly dims: readonly number[]
  readonly macs: number
  readonly bytes: number
  readonly mean: number
  readonly min: number
}[]

/** Loads raw ONNX from a URL of this origin. */
export type Load = (url: string, options: Options) => Promise<LoadedModel>

/** An adapter's module. */
export interface Adapter {
  readonly load: Load
}
