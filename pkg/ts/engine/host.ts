/** The side that holds the wasm instance: answers each message of the protocol, in a Worker or in the calling thread. */

import { InputError, UnsupportedError } from '../errors.js'
import { type FileBytes, FileBuilder, sizeOf } from '../file.js'
import { eachPiece } from '../pieces.js'
import type { DataType } from '../tensor.js'
import type { GraphNode, NodeProfile } from '../explanation.js'
import type { Limits, Port, PortKind } from '../types.js'
import { isMedia, openAll, type Opened, stageImages } from './media.js'
import { isErrorKind } from './protocol.js'
import type { CompileResult, Loaded, MessageName, Protocol, RequestOf, ResponseOf, Role, WireError } from './protocol.js'
import { onnxNodes, ranges, rows } from './rows.js'
import { buffers, values } from './wire-values.js'
import type { Raw, RawCompiled, RawLimits, RawLoader, RawModel, RawOnnx } from './raw.js'

/** Digest of the runtime's binaries, set by the build: what was measured with others does not count. */
declare const NEARSIDE_RUNTIME_ID: string

type Handlers = { readonly [K in MessageName]: (request: RequestOf<K>) => ResponseOf<K> | Promise<ResponseOf<K>> }

/** Makes an instance of a binary. */
type Instantiate = (role: Role, module: WebAssembly.Module, threads: number) => Promise<Raw>

export class Host {
  readonly #instantiate: Instantiate
  readonly #models = new Map<number, RawModel>()
  readonly #opened = new Map<number, RawOnnx>()
  #raw: Raw | undefined
  #nextId = 1
  #integerPath = ''
  #panic: string | undefined
  #lost = false

  constructor(instantiate: Instantiate) {
    this.#instantiate = instantiate
  }

  /** Answers a request; rejects with whatever went wrong, to be described by {@link Host.describe}. */
  async handle<K extends MessageName>(name: K, request: RequestOf<K>): Promise<ResponseOf<K>> {
    const handler = this.#handlers[name] as (request: RequestOf<K>) => ResponseOf<K> | Promise<ResponseOf<K>>
    return handler(request)
  }

  /** Ends the instance, where the thread goes on without it. */
  dismiss(): void {
    this.#raw?.dismiss(this.#lost)
    this.#raw = undefined
  }

  /** An error as it crosses the border. */
  describe(error: unknown): WireError {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) }
    if (isErrorKind(name)) return { name, kind: name, message }
    if (error instanceof UnsupportedError) return { name, kind: 'Unsupported', message }
    if (error instanceof InputError) return { name, kind: 'InvalidInput', message }
    if (this.#raw === undefined) return { name, kind: 'Start', message }
    this.#lost = true
    return { name, kind: 'Lost', message: this.#panic ?? `${name}: ${message}` }
  }

  readonly #handlers: Handlers = {
    start: async ({ role, module, threads }) => {
      const raw = await this.#instantiate(role, module, threads)
      const integerPath = (this.#integerPath = raw.start((text: string) => {
        this.#panic = text
      }))
      this.#raw = raw
      return { integerPath }
    },
    load: async ({ plan, limits }) => {
      const start = performance.now()
      this.#withLimits(limits, (raw) => raw.check_model(sizeOf(plan)))
      const loader = await this.#loader(plan)
      return this.#withLimits(limits, (raw) => this.#hold(loader.finish(raw, this.#device()), start))
    },
    open: async ({ onnx, limits }) => {
      const { RawOnnx } = this.#instance()
      if (RawOnnx === undefined) throw new Error('the runtime was asked to compile')
      const opened = this.#withLimits(limits, (raw) => new RawOnnx(sizeOf(onnx), raw))
      try {
        await eachPiece(onnx, (piece) => opened.push(piece))
        const needed = ranges(opened.finish())
        const id = this.#nextId++
        this.#opened.set(id, opened)
        return { id, needed }
      } catch (error) {
        opened.free()
        throw error
      }
    },
    supply: ({ id, path, at, bytes }) => {
      this.#openedModel(id).supply(path, at, bytes)
      return null
    },
    compile: ({ id }) => {
      const start = performance.now()
      const opened = this.#openedModel(id)
      this.#opened.delete(id)
      const compiled = opened.compile()
      try {
        return this.#compileResult(compiled, start)
      } finally {
        compiled.free()
      }
    },
    run: async ({ id, inputs }) => {
      const start = performance.now()
      const media = inputs.some(isMedia)
      const model = this.#staged(id, media ? await openAll(inputs) : (inputs as Opened[]), media)
      const staged = media ? performance.now() : start
      const outputs = values(model.run() as unknown[])
      const prepare = media ? staged - start : undefined
      const spent = inputs.flatMap((input) => ('bytes' in input ? [input.bytes] : []))
      return { outputs, spent, prepare, ms: performance.now() - staged, threads: this.#threads() }
    },
    profile: async ({ id, inputs, runs }) => {
      const media = inputs.some(isMedia)
      const model = this.#staged(id, media ? await openAll(inputs) : (inputs as Opened[]), media)
      return nodeProfiles(model.profile(runs, () => performance.now()))
    },
    explain: ({ id }) => {
      const model = this.#model(id)
      const [producer, sourceSha256, tuned] = model.provenance() as [string, string, string]
      const executor = producer === '' ? 'compiler' : 'runtime'
      return { executor, producer, sourceSha256, tuned: tuned !== '', nodes: graphNodes(model.nodes()) }
    },
    tune: async ({ id, plan, inputs, budget }) => {
      const loader = await this.#loader(plan)
      const model = this.#staged(id, await openAll(inputs), true)
      model.tune(loader, budget)
      return null
    },
    tuneOn: ({ id, slice }) => this.#model(id).tune_on(slice, () => performance.now()),
    tuneEnd: ({ id, keep }) => {
      const [record, report] = this.#model(id).tune_end(this.#device(), keep) as [Uint8Array<ArrayBuffer>, Float64Array]
      return { record, report }
    },
    drop: ({ id }) => {
      const model = this.#models.get(id) ?? this.#opened.get(id)
      this.#models.delete(id)
      this.#opened.delete(id)
      model?.free()
      return null
    },
    memory: ({ id }) => {
      const model = this.#model(id)
      return { wasm: this.#instance().memory.buffer.byteLength, weights: model.weights(), activations: model.activations() }
    },
    sha256: async ({ file }) => {
      const digest = new (this.#instance().RawDigest)()
      await eachPiece(file, (piece) => digest.push(piece))
      return digest.finish()
    },
  }

  async #loader(plan: FileBytes): Promise<RawLoader> {
    const loader = new (this.#instance().RawLoader)(sizeOf(plan))
    await eachPiece(plan, (piece) => loader.push(piece))
    return loader
  }

  /** For what a plan is tuned: this build, by this browser, on so many cores and threads. */
  #device(): string {
    const { userAgent, hardwareConcurrency } = (globalThis.navigator as Navigator | undefined) ?? {}
    return [NEARSIDE_RUNTIME_ID, userAgent, hardwareConcurrency, this.#threads(), this.#integerPath].join()
  }

  /** A model with its inputs; `waited` if other messages may have been answered since the call. */
  #staged(id: number, inputs: readonly Opened[], waited: boolean): RawModel {
    if (waited && !this.#models.has(id)) throw new InputError('The model was disposed while its inputs were read.')
    const model = this.#model(id)
    inputs.forEach((input, i) => stage(model, i, input))
    return model
  }

  #compileResult(compiled: RawCompiled, start: number): CompileResult {
    const notes = compiled.notes() as string[]
    let file = new FileBuilder()
    const begin = (size: number): void => void (file = new FileBuilder(size))
    const { memory } = this.#instance()
    if (compiled.write_plan(begin, (at: number, length: number) => file.push(new Uint8Array(memory.buffer, at, length))))
      return { kind: 'plan', plan: file.finish(), notes, ms: performance.now() - start }
    const model = compiled.take_fallback()
    if (model === undefined) throw new Error('the compiler gave neither a plan nor a model')
    return { kind: 'fallback', model: this.#hold(model, start, notes), operators: compiled.fallback_operators() as string[] }
  }

  #hold(model: RawModel, start: number, notes = model.notes() as string[]): Loaded {
    const id = this.#nextId++
    this.#models.set(id, model)
    return {
      id,
      inputs: ports(model, false),
      outputs: ports(model, true),
      notes,
      ms: performance.now() - start,
      threads: this.#threads(),
    }
  }

  #withLimits<T>(limits: Limits, use: (raw: RawLimits) => T): T {
    const raw = new (this.#instance().RawLimits)()
    try {
      const given = Object.entries(limits) as [string, number | undefined][]
      for (const [name, value] of given) if (value !== undefined) raw.set(name, value)
      return use(raw)
    } finally {
      raw.free()
    }
  }

  #openedModel(id: number): RawOnnx {
    const opened = this.#opened.get(id)
    if (opened === undefined) throw new Error(`no model ${id} was opened here`)
    return opened
  }

  #threads(): number {
    return this.#instance().threads?.() ?? 1
  }

  #instance(): Raw {
    if (this.#raw === undefined) throw new Error('a message came before start')
    return this.#raw
  }

  #model(id: number): RawModel {
    const model = this.#models.get(id)
    if (model === undefined) throw new Error(`there is no model ${id} here`)
    return model
  }
}

function stage(model: RawModel, index: number, input: Opened): void {
  if ('images' in input) stageImages(model, index, input)
  else if ('bytes' in input) model.stage(index, input.dims, input.bytes)
  else model.stage_strings(index, input.dims, [...input.strings])
}

function ports(model: RawModel, outputs: boolean): Port[] {
  const kinds = model.kinds(outputs) as PortKind[]
  return rows<[string, DataType, (number | string)[]]>(model.ports(outputs), 3).map(([name, type, dims], i) => {
    const [port, kind] = [{ name, type, dims }, kinds[i]]
    return kind === undefined || kind === 'tensor' ? port : { ...port, kind }
  })
}

function nodeProfiles(flat: unknown[]): NodeProfile[] {
  return rows<[string, string, Uint32Array, number, number, number, number, string[], number]>(flat, 9).map(
    ([name, op, dims, macs, bytes, mean, min, fused, index]) => ({
      ...{ index, name, op, dims: Array.from(dims), macs, bytes, mean, min },
      fused: onnxNodes(fused),
    }),
  )
}

function graphNodes(flat: unknown[]): GraphNode[] {
  return rows<[string, string, DataType, (number | string)[], string[]]>(flat, 5).map(([name, op, type, dims, fused]) => ({
    ...{ name, op, type, dims },
    fused: onnxNodes(fused),
  }))
}

/** The buffers of a response that may move instead of being copied. */
export function transferables(name: MessageName, response: ResponseOf<MessageName>): Transferable[] {
  if (name === 'run') {
    const { outputs, spent } = response as Protocol['run']['response']
    return [...outputs.flatMap(buffers), ...spent.map(({ buffer }) => buffer as ArrayBuffer)]
  }
  const compiled = response as CompileResult
  if (name !== 'compile' || compiled.kind !== 'plan') return []
  // A Blob needs no move: its bytes are not copied.
  return compiled.plan instanceof Blob ? [] : [compiled.plan.buffer]
}
