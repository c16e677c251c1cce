/**
 * What the adapters use of packages that are not among the repository's own dependencies. They are written out here, so that the types can be
 * checked where those are not installed.
 */

declare module '@litertjs/core' {
  export class Tensor {
    constructor(data: Float32Array | Int32Array | Uint8Array, shape: number[])
    data(): Promise<Float32Array | Int32Array | Uint8Array>
    delete(): void
  }
  export interface CompiledModel {
    run(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>
  }
  export function loadLiteRt(folder: string, options: { threads: boolean }): Promise<unknown>
  export function loadAndCompile(
    url: string,
    options: { accelerator: 'wasm'; cpuOptions: { numThreads: number } },
  ): Promise<CompiledModel>
}

declare module '@tensorflow/tfjs-core' {
  export interface Tensor {
    data(): Promise<Float32Array | Int32Array | Uint8Array>
    dispose(): void
  }
  export function env(): { set(flag: string, value: boolean): void }
  export function setBackend(name: string): Promise<boolean>
  export function tensor(data: Float32Array | Int32Array | Uint8Array, shape: number[]): Tensor
}

declare module '@tensorflow/tfjs-converter' {
  import type { Tensor } from '@tensorflow/tfjs-core'
  export interface GraphModel {
    readonly outputs: { readonly name: string }[]
    execute(inputs: Record<string, Tensor>, outputs: string[]): Tensor | Tensor[]
  }
  export function loadGraphModel(url: string): Promise<GraphModel>
}

declare module '@tensorflow/tfjs-backend-wasm' {
  export function setWasmPaths(folder: string): void
  export function setThreadsCount(threads: number): void
}
