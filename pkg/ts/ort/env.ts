/** `env`: what applications set before they make sessions. Most of it steers onnxruntime's own engines and is kept, unused. */

import type { LoadOptions } from '../index.js'

/** How much is logged, from the most to the least. */
export type LogLevel = 'verbose' | 'info' | 'warning' | 'error' | 'fatal'

const LEVELS: readonly LogLevel[] = ['verbose', 'info', 'warning', 'error', 'fatal']

export declare namespace Env {
  type WasmPathPrefix = string
  interface WasmFilePaths {
    wasm?: URL | string
    mjs?: URL | string
  }
  type WasmPrefixOrFilePaths = WasmPathPrefix | WasmFilePaths
  interface WebAssemblyFlags {
    numThreads?: number
    simd?: boolean | 'fixed' | 'relaxed'
    trace?: boolean
    initTimeout?: number
    /** Where onnxruntime's files are. None is ever fetched; see {@link Env.nearside} for the files of this package. */
    wasmPaths?: WasmPrefixOrFilePaths | undefined
    wasmBinary?: ArrayBufferLike | Uint8Array
    proxy?: boolean
  }
  interface WebGLFlags {
    contextId?: 'webgl' | 'webgl2'
    context?: WebGLRenderingContext
    matmulMaxBatchSize?: number
    textureCacheMode?: 'initializerOnly' | 'full'
    pack?: boolean
    async?: boolean
  }
  interface WebGpuProfilingDataV1TensorMetadata {
    dims: readonly number[]
    dataType: string
  }
  interface WebGpuProfilingDataV1 {
    version: 1
    inputsMetadata: readonly WebGpuProfilingDataV1TensorMetadata[]
    outputsMetadata: readonly WebGpuProfilingDataV1TensorMetadata[]
    kernelId: number
    kernelType: string
    kernelName: string
    programName: string
    startTime: number
    endTime: number
  }
  type WebGpuProfilingData = WebGpuProfilingDataV1
  interface WebGpuFlags {
    profilingMode?: 'off' | 'default'
    profiling?: { mode?: 'off' | 'default'; ondata?: (data: WebGpuProfilingData) => void }
    powerPreference?: 'low-power' | 'high-performance'
    forceFallbackAdapter?: boolean
    adapter?: unknown
    device?: unknown
    validateInputContent?: boolean
  }
  /** Options of `Model.load` for every session: where this package's files are, whether to use a Worker, and so on. */
  type NearsideFlags = Omit<LoadOptions, 'signal' | 'onProgress' | 'integrity' | 'onWarning'>
}

export interface Env {
  /** The least important messages that are printed. Default `'warning'`. */
  logLevel?: LogLevel | undefined
  debug?: boolean
  trace?: boolean
  readonly versions: {
    /** The version of onnxruntime-web whose API this is. */
    readonly common: string
    /** Never set: with it, transformers.js would fetch that version's files. */
    readonly web?: string
    readonly node?: string
    readonly 'react-native'?: string
  }
  readonly wasm: Env.WebAssemblyFlags
  readonly webgl: Env.WebGLFlags
  readonly webgpu: Env.WebGpuFlags
  readonly nearside: Env.NearsideFlags
  [name: string]: unknown
}

let logLevel: LogLevel = 'warning'
let pathPrefix: string | undefined

export const env: Env = {
  wasm: {
    get wasmPaths() {
      return pathPrefix
    },
    // An object would make transformers.js prefetch what it names.
    set wasmPaths(paths: Env.WasmPrefixOrFilePaths | undefined) {
      pathPrefix = typeof paths === 'string' ? paths : undefined
    },
  },
  webgl: {},
  webgpu: { profiling: {} },
  nearside: {},
  versions: { common: '1.30.0' },
  get logLevel() {
    return logLevel
  },
  set logLevel(value: LogLevel | undefined) {
    if (value === undefined) return
    if (!LEVELS.includes(value)) throw new Error(`Unsupported logging level: ${String(value)}`)
    logLevel = value
  },
}

/** Severity of warnings, as onnxruntime counts: 0 is verbose, 4 fatal. */
const WARNING = 2

/** Prints a warning, unless the session's own severity or the page's log level asks for less. */
export function warn(message: string, severity: number = LEVELS.indexOf(logLevel)): void {
  if (severity <= WARNING) console.warn(`nearside/ort: ${message}`)
}
