/** What the samples in the repository's Markdown take from their surroundings; see ../check-samples.mjs. */

import type * as Package from 'nearside'
import type * as Post from 'nearside/post'
import type * as Plugin from 'nearside/vite'
import type * as Vite from 'vite'

declare global {
  // What an earlier sample of the same document imported.
  const Model: typeof Package.Model
  const Tensor: typeof Package.Tensor
  type Predictor<F extends Feeds = Feeds, O extends Outputs = Outputs> = Package.Predictor<F, O>
  type Feeds = Package.Feeds
  type Outputs = Package.Outputs
  const nearside: typeof Plugin.nearside
  const defineConfig: typeof Vite.defineConfig

  // Models, and what they are given and give.
  const url: string
  const model: Package.Model
  const local: Predictor
  const remote: Predictor
  const pixels: Float32Array
  const logits: Package.Tensor<'float32'>
  const output0: Package.Tensor<'float32'>
  const labels: string[]

  // The page's.
  const bar: HTMLProgressElement
  const video: HTMLVideoElement
  const file: File
  const bytes: ArrayBuffer
  const audioBuffer: AudioBuffer
  const context: AudioContext
  const port: MessagePort

  // The page's own functions.
  function show(outputs: Outputs): void
  function fail(error: unknown): void
  function hear(samples: Float32Array): void
  function draw(box: Post.Box, label: string | undefined, score: number): void
  function offerRetry(seconds: number | undefined): void
  function useTheServer(): void
}
