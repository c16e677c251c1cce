/** The types of onnxruntime-web's sessions, under their names there. */

import type { Tensor } from './tensor-types.js'

export type NonTensorType = never
export type OnnxValue = Tensor
export type OnnxValueDataLocation = Tensor.DataLocation

export type FileUrlOrPath = string
export type FileBlob = Blob
export type FileData = Uint8Array | ArrayBufferLike
export type FileType = FileUrlOrPath | FileBlob | FileData
export interface ExternalDataFileDescription {
  data: FileType
  path: string
}
export type ExternalDataFileType = ExternalDataFileDescription | FileUrlOrPath
export interface OnnxModelOptions {
  /** Files with weights that the model names: their path in the model, and their bytes or address. */
  externalData?: readonly ExternalDataFileType[]
}

export declare namespace InferenceSession {
  type OnnxValueMapType = { readonly [name: string]: OnnxValue }
  type NullableOnnxValueMapType = { readonly [name: string]: OnnxValue | null }
  type FeedsType = OnnxValueMapType
  type FetchesType = readonly string[] | NullableOnnxValueMapType
  type ReturnType = OnnxValueMapType

  interface ExecutionProviderOption {
    readonly name: string
  }
  type ExecutionProviderName = string
  type ExecutionProviderConfig = ExecutionProviderOption | ExecutionProviderName

  interface SessionOptions extends OnnxModelOptions {
    /** Any name is accepted; backends of `registerBackend` are asked first, everything else runs here, on the CPU. */
    executionProviders?: readonly ExecutionProviderConfig[]
    intraOpNumThreads?: number
    interOpNumThreads?: number
    freeDimensionOverrides?: { readonly [dimensionName: string]: number }
    graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all'
    enableCpuMemArena?: boolean
    enableMemPattern?: boolean
    executionMode?: 'sequential' | 'parallel'
    optimizedModelFilePath?: string
    enableProfiling?: boolean
    profileFilePrefix?: string
    logId?: string
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4
    logVerbosityLevel?: number
    preferredOutputLocation?: OnnxValueDataLocation | { readonly [outputName: string]: OnnxValueDataLocation }
    enableGraphCapture?: boolean
    extra?: Record<string, unknown>
  }
  interface RunOptions {
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4
    logVerbosityLevel?: number
    terminate?: boolean
    tag?: string
    extra?: Record<string, unknown>
  }
  interface NonTensorValueMetadata {
    readonly name: string
    readonly isTensor: false
  }
  interface TensorValueMetadata {
    readonly name: string
    readonly isTensor: true
    readonly type: Tensor.Type
    readonly shape: readonly (number | string)[]
  }
  type ValueMetadata = NonTensorValueMetadata | TensorValueMetadata
}

/** A model that is ready to run. */
export interface InferenceSession {
  run(feeds: InferenceSession.FeedsType, options?: InferenceSession.RunOptions): Promise<InferenceSession.ReturnType>
  run(
    feeds: InferenceSession.FeedsType,
    fetches: InferenceSession.FetchesType,
    options?: InferenceSession.RunOptions,
  ): Promise<InferenceSession.ReturnType>
  /** Gives the model's memory back. */
  release(): Promise<void>
  startProfiling(): void
  endProfiling(): void
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[]
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[]
}

export interface InferenceSessionFactory {
  create(uri: string, options?: InferenceSession.SessionOptions): Promise<InferenceSession>
  create(buffer: ArrayBufferLike, options?: InferenceSession.SessionOptions): Promise<InferenceSession>
  create(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: InferenceSession.SessionOptions,
  ): Promise<InferenceSession>
  create(buffer: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>
}

/** What a session does its work with. */
export interface InferenceSessionHandler {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[]
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[]
  run(
    feeds: { readonly [name: string]: OnnxValue },
    fetches: { readonly [name: string]: OnnxValue | null },
    options: InferenceSession.RunOptions,
  ): Promise<{ readonly [name: string]: OnnxValue }>
  dispose(): Promise<void>
  startProfiling(): void
  endProfiling(): void
}

/** What `registerBackend` takes. */
export interface Backend {
  init(backendName: string): Promise<void>
  createInferenceSessionHandler(
    uriOrBuffer: string | Uint8Array,
    options?: InferenceSession.SessionOptions,
  ): Promise<InferenceSessionHandler>
}
