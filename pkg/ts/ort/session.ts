/** `InferenceSession`, with the overloads and messages of onnxruntime-web's. */

import { resolveBackend } from './backend.js'
import { parseCreate, parseRun } from './call-arguments.js'
import { loadHandler } from './local-handler.js'
import { checkOptions } from './options.js'
import type {
  InferenceSession as SessionInterface,
  InferenceSessionFactory,
  InferenceSessionHandler,
  OnnxValue,
} from './session-types.js'
import { Tensor } from './tensor.js'
import { TRACE_EVENT_BEGIN, TRACE_EVENT_END, TRACE_FUNC_BEGIN, TRACE_FUNC_END } from './trace.js'

/** Models of this size may be one of those that run without any WebAssembly. */
const SMALL = 256

// Frameworks wrap sessions, and whatever objects are in them, in proxies, through which private members cannot be reached:
// behind a function the handler stays itself.
class SessionImplementation implements SessionInterface {
  private readonly handler: () => InferenceSessionHandler

  private constructor(handler: InferenceSessionHandler) {
    this.handler = () => handler
  }

  static create(...call: readonly unknown[]): Promise<SessionInterface> {
    return traced('InferenceSession.create', async () => {
      const { source, options } = parseCreate(call[0], ...call.slice(1))
      const backend = await resolveBackend(options)
      if (backend !== undefined) return new SessionImplementation(await backend.createInferenceSessionHandler(source, options))
      checkOptions(options)
      return new SessionImplementation((await smallHandler(source)) ?? (await loadHandler(source, options)))
    })
  }

  run(feeds: SessionInterface.FeedsType, second?: unknown, third?: unknown): Promise<SessionInterface.ReturnType> {
    return traced('InferenceSession.run', async () => {
      const { fetches, options } = parseRun(this.inputNames, this.outputNames, feeds, second, third)
      const results = await this.handler().run(feeds, fetches, options)
      return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, own(value)]))
    })
  }

  release(): Promise<void> {
    return this.handler().dispose()
  }

  startProfiling(): void {
    this.handler().startProfiling()
  }

  endProfiling(): void {
    this.handler().endProfiling()
  }

  get inputNames(): readonly string[] {
    return this.handler().inputNames
  }

  get outputNames(): readonly string[] {
    return this.handler().outputNames
  }

  get inputMetadata(): readonly SessionInterface.ValueMetadata[] {
    return this.handler().inputMetadata
  }

  get outputMetadata(): readonly SessionInterface.ValueMetadata[] {
    return this.handler().outputMetadata
  }
}

/** A session: see onnxruntime-web's documentation. */
export const InferenceSession = SessionImplementation as unknown as InferenceSessionFactory
export interface InferenceSession extends SessionInterface {}
export declare namespace InferenceSession {
  type OnnxValueMapType = SessionInterface.OnnxValueMapType
  type NullableOnnxValueMapType = SessionInterface.NullableOnnxValueMapType
  type FeedsType = SessionInterface.FeedsType
  type FetchesType = SessionInterface.FetchesType
  type ReturnType = SessionInterface.ReturnType
  type ExecutionProviderOption = SessionInterface.ExecutionProviderOption
  type ExecutionProviderName = SessionInterface.ExecutionProviderName
  type ExecutionProviderConfig = SessionInterface.ExecutionProviderConfig
  type SessionOptions = SessionInterface.SessionOptions
  type RunOptions = SessionInterface.RunOptions
  type NonTensorValueMetadata = SessionInterface.NonTensorValueMetadata
  type TensorValueMetadata = SessionInterface.TensorValueMetadata
  type ValueMetadata = SessionInterface.ValueMetadata
}
Object.defineProperty(SessionImplementation, 'name', { value: 'InferenceSession' })

async function smallHandler(source: string | Uint8Array): Promise<InferenceSessionHandler | undefined> {
  if (typeof source === 'string' || source.length > SMALL) return undefined
  const { builtinHandler } = await import('./builtin.js')
  return builtinHandler(source)
}

/** A backend's outputs may be tensors of another library. */
function own(value: OnnxValue): OnnxValue {
  return value instanceof Tensor ? value : new Tensor(value.type, value.data, value.dims)
}

async function traced<T>(name: string, work: () => Promise<T>): Promise<T> {
  TRACE_FUNC_BEGIN(name)
  TRACE_EVENT_BEGIN(name)
  try {
    return await work()
  } finally {
    TRACE_EVENT_END(name)
    TRACE_FUNC_END(name)
  }
}
