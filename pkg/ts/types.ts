/** The public types: what a model is for its caller, and the options of loading, running and connecting. */

import type { Explanation, NodeProfile, TuneReport } from './explanation.js'
import type { LocalFeeds, WithMedia } from './media/types.js'
import type { AnyTensor, DataType, PlainArray, Tensor, TensorDataMap, TypedArray } from './tensor.js'

/** A named input or output of a model. */
export interface Port {
  readonly name: string
  /** Element type. */
  readonly type: DataType
  /** Dimensions, outermost first: a number, the name of one that each call chooses, or `'?'` where the model names none. */
  readonly dims: readonly (number | string)[]
  /** What it is, if not a tensor; `type` is then that of the elements, and `dims` is empty. */
  readonly kind?: Exclude<PortKind, 'tensor'>
}

/** What an input or output of a model can be. */
export type PortKind = 'tensor' | 'sequence' | 'optional' | 'map'

/** A tensor of another library with the same three members, e.g. onnxruntime-web's. */
export interface TensorLike {
  readonly type: string
  readonly data: unknown
  readonly dims: readonly number[]
}

/** A value for one input. Anything but a tensor takes the input's shape, so at most one dimension may be open. */
export type Feed = Tensor | TensorLike | TypedArray | PlainArray | number | bigint | boolean

/** A value for one input whose element type is known: arrays and tensors of that type. Models in the page also take {@link WithMedia} of it. */
export type FeedOf<T extends DataType> =
  | Tensor<T>
  | (TensorLike & { readonly type: T })
  | Extract<TensorDataMap[T], TypedArray>
  | (T extends 'float32' ? Float64Array : T extends 'uint8' | 'bool' ? Uint8ClampedArray : never)
  | PlainOf<T>

/** Plain values that become elements of a type. None become float16. */
type PlainOf<T extends DataType> = T extends 'float16'
  ? never
  : T extends 'string'
    ? readonly string[]
    : T extends 'bool'
      ? boolean | 0 | 1 | readonly boolean[] | readonly (0 | 1)[]
      : T extends 'int64' | 'uint64'
        ? bigint | number | readonly bigint[] | readonly number[]
        : number | readonly number[]

/** Inputs by name; a model with one input also takes the bare value. */
export type Feeds = { readonly [name: string]: Feed } | Feed

/** Outputs by name. */
export type Outputs = { readonly [name: string]: AnyTensor }

/**
 * What an output can be: nearly always a tensor. ONNX's sequences are arrays; its maps are Maps, with strings or numbers as keys
 * (integers beyond 2⁵³ lose precision there) and the elements of the values' type; an optional without an element is `null`.
 */
export type OutputValue = AnyTensor | readonly OutputValue[] | ReadonlyMap<string | number, number | bigint | string> | null

/** Outputs by name, of a model with others than tensors. */
export type OutputValues = { readonly [name: string]: OutputValue }

/** What an address says of its model: never a value, only a type. */
declare const signature: unique symbol

/**
 * The address of a model whose inputs and outputs are known to TypeScript, as `nearside/vite` declares it for an imported model:
 * {@link Model.load} gives a model whose `run` takes `F` and gives `O`.
 */
export type ModelAddress<F extends LocalFeeds = Feeds, O extends OutputValues = Outputs> = string & {
  readonly [signature]: readonly [F, O]
}

/** Options of `run`. */
export interface RunOptions {
  /** Aborts the call: it leaves the queue, or its result is dropped. */
  signal?: AbortSignal | undefined
  /** Called with what the call took, before its promise settles. */
  onTiming?: ((timing: RunTiming) => void) | undefined
}

/** Options of a `run` that may be overtaken. */
export interface LatestRunOptions extends RunOptions {
  /**
   * For frames that follow each other: a call with `latest` that has not begun when the model gets the next such call is dropped, and
   * resolves to `undefined`.
   */
  latest: boolean
}

/** What one `run` took, in milliseconds. */
export interface RunTiming {
  /** From the call to its result, as the page saw it. */
  readonly total: number
  /** The part spent computing, measured where it happened; for a server, as its `Server-Timing` header reports. */
  readonly compute?: number | undefined
  /** The part spent on pictures and sounds before: decoding, reading pixels, scaling. `undefined` if there were none. */
  readonly prepare?: number | undefined
  /** The part spent waiting for earlier calls, here or in the server's queue. */
  readonly queue?: number | undefined
  /** All that a server reports of itself in `Server-Timing`, by metric. */
  readonly server?: Readonly<Record<string, number>> | undefined
  /** Bytes sent to a server in the body of the request; 0 for a model in the page. */
  readonly bytesSent: number
  /** Bytes received in the body of the server's answer; 0 for a model in the page. */
  readonly bytesReceived: number
}

/**
 * Whatever predicts: a model in the page or one behind a URL. Functions that work with any model take a `Predictor`; one with known inputs `F` and
 * outputs `O` is for code that was written for that model, wherever it runs.
 */
export interface Predictor<F extends LocalFeeds = Feeds, O extends OutputValues = Outputs> {
  /** Inputs, in the model's order. */
  readonly inputs: readonly Port[]
  /** Outputs, in the model's order. */
  readonly outputs: readonly Port[]
  /** What the latest successful `run` took. */
  readonly lastTiming: RunTiming | undefined
  /** Predicts. Inputs are copied at once, so that the caller may reuse them while the call waits. */
  run(feeds: F, options?: RunOptions): Promise<O>
  /** Gives back memory and connections; a later `run` rejects with DisposedError. */
  dispose(): void
  [Symbol.dispose](): void
}

/** What `Model.load` takes: an address, an answer, or the bytes; a compiled plan or raw ONNX. */
export type ModelSource = string | URL | Request | Response | ArrayBuffer | ArrayBufferView | Blob

/** What loading is busy with. */
export type LoadPhase =
  /** The model's bytes arrive. */
  | 'download'
  /** Raw ONNX is compiled to a plan (with the compiler's own download, the first time). */
  | 'compile'
  /** The plan is checked and its weights are laid out. */
  | 'bind'
  /** Done: `fraction` is 1. */
  | 'ready'

/** One report of progress. */
export interface Progress {
  readonly phase: LoadPhase
  /** Bytes of the model that have arrived. */
  readonly loaded: number
  /** Bytes of the model, if the server says. */
  readonly total: number | undefined
  /** Of the whole load, from 0 to 1; never falls, and ends at 1. */
  readonly fraction: number
}

/** The binaries: baseline SIMD, or with relaxed SIMD (faster where the browser has it). */
export type Variant = 'simd' | 'relaxed'

/**
 * Addresses of the package's files, for pages that serve them from elsewhere. Where a program must not compile WebAssembly itself, as in
 * Cloudflare's workerd, give the compiled modules that it imports.
 */
export interface AssetUrls {
  /** The runtime with baseline SIMD. */
  simd?: string | URL | WebAssembly.Module | undefined
  /** The runtime with relaxed SIMD. */
  relaxed?: string | URL | WebAssembly.Module | undefined
  /** The runtime with baseline SIMD and threads. With an address for `simd` alone, that one is used, on one thread. */
  simdThreads?: string | URL | WebAssembly.Module | undefined
  /** The runtime with relaxed SIMD and threads; as `simdThreads`. */
  relaxedThreads?: string | URL | WebAssembly.Module | undefined
  /** The compiler. */
  compiler?: string | URL | WebAssembly.Module | undefined
  /** The Worker's script. */
  worker?: string | URL | undefined
}

/**
 * What a page's head started before this package's script was there, so that it happens while that script loads:
 * see "The soonest first answer" in the package's README.
 */
export interface EarlyStart {
  /** The binary that `module` is. */
  readonly variant: Variant
  /** A Worker of the package's `worker.js`, unless its script failed. It becomes the package's own. */
  worker?: Worker | undefined
  /** The compiled binary; if it failed, the package fetches it itself. */
  readonly module: Promise<WebAssembly.Module>
}

/** How plans are kept on the device. */
export interface CacheOptions {
  /** The most bytes that are kept for this origin; what was not used for the longest time goes first. Default 1 GiB. */
  readonly maxBytes?: number | undefined
}

/** Options of `Model.load`. */
export interface LoadOptions {
  /**
   * Run in a Worker, shared by all models that ask for one. Default true; where Workers do not exist, in the calling thread. In Node.js a
   * thread takes the Worker's place: with true, or with `threads`.
   */
  worker?: boolean | undefined
  /** Aborts the load in any phase; the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Called as the load goes on. */
  onProgress?: ((progress: Progress) => void) | undefined
  /** The sha-256 that the model's bytes must have: `sha256-…` in base64 (as in HTML), or 64 hexadecimal digits. */
  integrity?: string | undefined
  /**
   * Keep plans on the device, in Cache Storage: those compiled from ONNX, and those that came from a server, unless it forbids that
   * (`Cache-Control: no-store`) or the request has an `Authorization`. A plan from there is used where the server sends what it sent
   * before (by ETag, or date and size), and where no server answers, with a warning. Files of 4 MB or more with a strong ETag are kept in
   * pieces until they are loaded, so that a download that was cut off goes on at the next visit. Default true.
   */
  cache?: boolean | CacheOptions | undefined
  /** Milliseconds without a byte after which a download fails. Default 30000; 0 waits for ever. */
  timeout?: number | undefined
  /** Options of the model's request, e.g. `credentials` or `headers`. */
  request?: Omit<RequestInit, 'signal' | 'body' | 'method'> | undefined
  /** The binary. Default `'auto'`: relaxed where the browser has it. The first model of a thread decides for it. */
  variant?: 'auto' | Variant | undefined
  /**
   * Threads that share the work of a run, in a page that is cross-origin isolated (`Cross-Origin-Opener-Policy: same-origin`,
   * `Cross-Origin-Embedder-Policy: require-corp`) or in Node.js, and with `worker`. Default `'auto'`: half of the device's, at most 4;
   * one with `early`, and in Node.js without `worker`. Where threads cannot be had there is one. Results are the same for every number.
   */
  threads?: 'auto' | number | undefined
  /** Folder that holds `core.simd.wasm`, `core.relaxed.wasm`, the same two as `….threads.wasm`, and `compiler.wasm`. */
  wasmBase?: string | URL | undefined
  /** Addresses of single files; each wins over `wasmBase`. */
  urls?: AssetUrls | undefined
  /** Called with each warning, as a sentence; without it, warnings go to the `logger`. */
  onWarning?: ((message: string) => void) | undefined
  /** Where messages go. Default: warnings to `console.warn`, nothing else. */
  logger?: Logger | undefined
  /**
   * Files in which an ONNX model keeps its weights, by the path that the model gives. Those that are not here are fetched from the
   * model's own folder, if the model comes from an address. Only the parts that the model needs are read. Plans of such models are not
   * cached: compile them with `nearside compile` and publish the plan.
   */
  externalData?: { readonly [path: string]: ModelSource } | undefined
  /** How much the model may ask for. */
  limits?: Limits | undefined
  /** What the page's head has started already. */
  early?: EarlyStart | undefined
}

/**
 * How much a model may ask for, so that a file from somewhere cannot take all there is. What exceeds one is a `LimitError` that names it.
 */
export interface Limits {
  /** Bytes of the model's file. Default 2 GiB. */
  readonly modelBytes?: number | undefined
  /** Nodes of a graph. Default 20 000. */
  readonly nodes?: number | undefined
  /** Graphs inside graphs (bodies of If, Loop and Scan). Default 16. */
  readonly nesting?: number | undefined
  /** Bytes of the intermediate results of a run. Default 1 GiB. */
  readonly tensorBytes?: number | undefined
  /** Iterations of a loop. Default 1 000 000. */
  readonly loopIterations?: number | undefined
}

/** One step of a load, in milliseconds since `Model.load` was called. Steps overlap: the runtime arrives while the model does. */
export interface Span {
  readonly name: SpanName
  readonly start: number
  readonly duration: number
}

/** Steps of a load. */
export type SpanName =
  /** The model's bytes. */
  | 'download'
  /** Fetch and compilation of the runtime's WebAssembly; short when another model has fetched it. */
  | 'compileWasm'
  /** Start of the Worker, and of the runtime in it. */
  | 'instantiate'
  /** Fetch and compilation of the compiler's WebAssembly. */
  | 'compileCompiler'
  /** ONNX to plan. */
  | 'compileModel'
  /** The plan is checked and its weights are laid out. */
  | 'bind'
  /** The first `run`, which also lays out memory for its shapes. */
  | 'firstRun'

/** What a load took, in milliseconds. A step that did not happen is `undefined`. */
export type LoadTimings = { readonly [K in SpanName]?: number } & {
  /** From the call of `Model.load` to its result. */
  readonly total: number
  /** Whether the plan came from the cache. */
  readonly cached: boolean
  /** All steps with their start, in order of start. */
  readonly spans: readonly Span[]
}

/** Where and how a model runs. */
export interface EngineInfo {
  /** The binary. */
  readonly variant: Variant
  /** Whether it runs in a Worker. */
  readonly worker: boolean
  /** Threads that share the work of a run. No load waits for them to start; after a run, those that could not do not count. */
  readonly threads: number
  /** The integer kernels that start-up tests chose on this machine, e.g. `relaxed dot`. */
  readonly integerPath: string
  /** Operators that need the fallback executor; empty when the runtime runs the whole model. */
  readonly fallbackOperators: readonly string[]
}

/** Memory in bytes. */
export interface MemoryUse {
  /** WebAssembly memory of the thread that runs the model, shared by all models there. It never shrinks while one of them lives. */
  readonly wasm: number
  /** This model's weights, as laid out for the kernels. */
  readonly weights: number
  /** This model's activations. */
  readonly activations: number
}

/** Takes messages, e.g. `console`. Without one, warnings go to the console, once each, and nothing else does. */
export interface Logger {
  /** Steps of a load: where the model came from, what runs it, and what it took. */
  readonly info?: ((message: string) => void) | undefined
  /** What the page's author should know. */
  readonly warn?: ((message: string) => void) | undefined
}

/** Options of `profile`. */
export interface ProfileOptions extends Pick<RunOptions, 'signal'> {
  /** How often the model runs. Default 20. */
  runs?: number | undefined
}

/** Options of `tune`. */
export interface TuneOptions extends Pick<RunOptions, 'signal'> {
  /** About how many milliseconds it may take. Default 5000. The longest parts of the model come first. */
  budget?: number | undefined
  /** Called now and then with how much of it is done, from 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
  /** Whether to keep what was found on the device, where the model's plan is kept there. Default true. */
  keep?: boolean | undefined
}

/**
 * A model in the page, as `Model.load` gives it; of its inputs `F` and outputs `O` more is known where its address has a type. It takes pictures and
 * sounds in place of tensors, too.
 */
export interface LocalModel<F extends LocalFeeds = Feeds, O extends OutputValues = Outputs> extends Predictor<F, O> {
  /**
   * Predicts. Outputs are taken for tensors unless the call says what they are, e.g. for a classifier that gives a map for each row:
   * `run<{ label: Tensor<'int64'>; probabilities: Map<string, number>[] }>(feeds)`.
   *
   * Pictures and sounds are inputs too: see {@link ImageFeed} and {@link AudioFeed}. The first call with one fetches the part of the package
   * that reads them; where elements, canvases or an `AudioBuffer` are among its inputs, all are read when that part is there, everything else at once.
   */
  run<R extends OutputValues = O>(feeds: WithMedia<F>, options?: RunOptions): Promise<R>
  run<R extends OutputValues = O>(feeds: WithMedia<F>, options: LatestRunOptions): Promise<R | undefined>
  /** As any {@link Predictor}: outputs are what the caller takes them for; and, last, where TypeScript infers from, `O`. */
  run<R extends OutputValues>(feeds: F, options: RunOptions | undefined): Promise<R>
  run(feeds: F, options?: RunOptions): Promise<O>
  /** What loading took; `firstRun` appears with the first `run`. */
  readonly timings: LoadTimings
  /** Where and how it runs. */
  readonly engine: EngineInfo
  /** Memory in use now. */
  memory(): Promise<MemoryUse>
  /**
   * Runs the model several times and tells what each node took, in the order in which they run. In a cross-origin isolated page the
   * clock is 20 times finer. Rejects with `UnsupportedError` for models that need the fallback executor.
   */
  profile(feeds: WithMedia<F>, options?: ProfileOptions): Promise<NodeProfile[]>
  /**
   * Measures several ways to compute each convolution and matrix product, on this device and for the shapes of these inputs, and takes the fastest ones
   * if that makes the whole model faster by more than noise; otherwise all stays as it was. Integers are the same bytes by every way; floats
   * may differ as between two machines, by a few roundings. Runs go on meanwhile, between slices of some 50 ms. What was found counts
   * at once, and at later visits where the plan is in the cache. Takes the memory of a second copy of the weights. Rejects with `UnsupportedError`
   * for models that need the fallback executor, `InputError` for inputs or options that do not fit, `WorkerError` if the Worker was lost on the way.
   */
  tune(feeds: WithMedia<F>, options?: TuneOptions): Promise<TuneReport>
  /** What runs where and why: the compiled graph with the ONNX nodes that each of its nodes was made of, and any fallback. */
  explain(): Promise<Explanation>
}

/** A model behind a URL, as `Model.connect` gives it. */
export interface RemoteModel<F extends Feeds = Feeds, O extends Outputs = Outputs> extends Predictor<F, O> {
  /** The server. */
  readonly url: string
  /** The model's name there. */
  readonly name: string
}

/** Options of `Model.connect`. */
export interface RemoteOptions {
  /** Milliseconds until a call fails. Default 10000; 0 waits for ever. */
  timeout?: number | undefined
  /** Aborts the connection. */
  signal?: AbortSignal | undefined
  /** Version of the model, if the server has several. */
  version?: string | undefined
  /** Send tensors as bytes (default) or as JSON, for servers without the binary extension. */
  binary?: boolean | undefined
  /** Options of every request, e.g. `credentials` or `headers`. */
  request?: Omit<RequestInit, 'signal' | 'body' | 'method'> | undefined
  /** Called with each warning, as a sentence; without it, warnings go to `console.warn`. */
  onWarning?: ((message: string) => void) | undefined
}
