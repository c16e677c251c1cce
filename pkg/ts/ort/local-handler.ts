/** Sessions on this package's own models. */

import {
  Model,
  type OutputValues,
  type Port,
  type RunTiming,
  Tensor as Value,
  type TensorLike,
  UnsupportedError,
} from '../index.js'
import { deliver } from './deliver.js'
import { env, warn } from './env.js'
import { checkLogging } from './options.js'
import type { InferenceSession, InferenceSessionHandler, OnnxValue } from './session-types.js'
import { modelSource } from './source.js'
import { Tensor } from './tensor.js'

type Metadata = InferenceSession.ValueMetadata
type Values = { readonly [name: string]: OnnxValue }

/** Loads a model for a session. */
export async function loadHandler(
  source: string | Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSessionHandler> {
  const model = await Model.load(await modelSource(source, options), {
    threads: env.wasm.numThreads || 'auto',
    ...env.nearside,
    onWarning: (message) => warn(message, options.logSeverityLevel),
  })
  const handler = new LocalHandler(model)
  if (options.enableProfiling) handler.startProfiling()
  return handler
}

class LocalHandler implements InferenceSessionHandler {
  readonly inputMetadata: readonly Metadata[]
  readonly outputMetadata: readonly Metadata[]
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly #model: Model
  #profile: RunTiming[] | undefined

  constructor(model: Model) {
    this.#model = model
    this.inputMetadata = model.inputs.map(metadata)
    this.outputMetadata = model.outputs.map(metadata)
    this.inputNames = model.inputs.map((port) => port.name)
    this.outputNames = model.outputs.map((port) => port.name)
  }

  async run(
    feeds: Values,
    fetches: { readonly [name: string]: OnnxValue | null },
    options: InferenceSession.RunOptions,
  ): Promise<Values> {
    checkLogging(options)
    if (options.terminate) throw new Error('The run was terminated: its option terminate is true.')
    const inputs: { [name: string]: TensorLike } = {}
    for (const [name, value] of Object.entries(feeds)) {
      if (!this.inputNames.includes(name)) throw new Error(`invalid input '${name}'`)
      // Only where data must be fetched from elsewhere: the caller may reuse the arrays as soon as this function waits.
      const away = value.location !== undefined && !value.location.startsWith('cpu') && value.location !== 'none'
      inputs[name] = asInput(name, value, away ? await value.getData() : value.data)
    }
    const outputs = await this.#model.run<OutputValues>(inputs, { onTiming: (timing) => this.#profile?.push(timing) })
    const results: { [name: string]: OnnxValue } = {}
    for (const name of Object.keys(fetches)) {
      const output = outputs[name]
      if (output === undefined) throw new Error(`invalid output '${name}'`)
      if (!(output instanceof Value))
        throw new Error(`Output '${name}' is not a tensor. Reading data from non-tensor typed value is not supported.`)
      results[name] = deliver(name, new Tensor(output.type, output.data, output.dims), fetches[name] ?? undefined)
    }
    return results
  }

  dispose(): Promise<void> {
    this.#model.dispose()
    return Promise.resolve()
  }

  startProfiling(): void {
    this.#profile ??= []
  }

  /** Prints what the runs since {@link LocalHandler.startProfiling} took. */
  endProfiling(): void {
    const runs = this.#profile ?? []
    this.#profile = undefined
    const times = runs.map((run) => run.compute ?? run.total).sort((a, b) => a - b)
    const at = (part: number): string => (times[Math.floor(part * (times.length - 1))] ?? 0).toFixed(2)
    const { variant, integerPath } = this.#model.engine
    console.info(
      `nearside/ort: ${runs.length} runs (${variant}, ${integerPath}); compute in ms: least ${at(0)}, median ${at(0.5)}, most ${at(1)}.`,
    )
  }
}

function metadata({ name, type, dims, kind }: Port): Metadata {
  if (kind !== undefined) return { name, isTensor: false }
  // Where the model has no name for a dimension, onnxruntime's is empty.
  return { name, isTensor: true, type, shape: dims.map((dim) => (dim === '?' ? '' : dim)) }
}

function asInput(name: string, value: OnnxValue, data: unknown): TensorLike {
  if (value.type === 'int4' || value.type === 'uint4')
    throw new UnsupportedError(`Input '${name}' is ${value.type}; models here take whole bytes, give uint8 or int8.`)
  return { type: value.type, data, dims: value.dims }
}
