/** The engines of this page: one per way of running models, shared by all that run that way. */

import { assetUrl, compileAsset } from './assets.js'
import { lazily } from './chunk.js'
import { type Binary, Engine } from './engine/engine.js'
import type { Channel, Role } from './engine/protocol.js'
import { WorkerChannel } from './engine/worker-channel.js'
import { measureParallelism, pickThreads } from './threads.js'
import { measureFeatures, pickVariant } from './variant.js'
import type { LoadOptions, Variant } from './types.js'

/** The options that decide on an engine. */
export type EngineOptions = Pick<LoadOptions, 'worker' | 'variant' | 'threads' | 'wasmBase' | 'urls' | 'early'> & {
  readonly timeout: number
}

/** A shared engine and what it is. */
export interface Placement {
  readonly engine: Engine
  readonly variant: Variant
  readonly worker: boolean
  /** Why there are fewer threads than were asked for. */
  readonly note?: string | undefined
}

const shared = new Map<string, Engine>()

/** The runtime for these options. */
export function runtimeFor(options: EngineOptions): Placement {
  const variant = pickVariant(measureFeatures(), options.variant)
  const worker = usesWorker(options)
  const { threads, note } = threadsFor(options, variant, worker)
  const url = assetUrl(variant, options)
  const threadedUrl = threads > 1 ? assetUrl(`${variant}.threads`, options) : ''
  const key = JSON.stringify([worker, threads, url, threadedUrl, String(options.urls?.worker)])
  const make = (): Engine => engineAt('core', url, worker, withEarly(options, variant), { url: threadedUrl, threads })
  return { engine: remember(key, make), variant, worker, note }
}

function threadsFor(options: EngineOptions, variant: Variant, worker: boolean): ReturnType<typeof pickThreads> {
  const { early, threads, urls } = options
  // What was started early is on its way, and a page that says where its files are need not have those with threads.
  const other = early !== undefined || (urls?.[variant] !== undefined && urls[`${variant}Threads`] === undefined)
  return pickThreads(measureParallelism(), worker, other && (threads ?? 'auto') === 'auto' ? 1 : threads)
}

/**
 * The compiler for these options: with Workers a new one for each model, so that an abort really stops it and its memory is
 * given back as soon as the plan is there.
 */
export function compilerFor(options: EngineOptions): Engine {
  const worker = usesWorker(options)
  const url = assetUrl('compiler', options)
  const make = (): Engine => engineAt('compiler', url, worker, { ...options, early: undefined })
  return worker ? make() : remember(JSON.stringify(['compiler', url]), make)
}

/** Without what was started early, where that is another binary. */
function withEarly(options: EngineOptions, variant: Variant): EngineOptions {
  return options.early?.variant === variant ? options : { ...options, early: undefined }
}

function usesWorker({ worker, threads }: EngineOptions): boolean {
  if (typeof Worker !== 'undefined') return worker !== false
  return (worker ?? Number(threads) > 1) && measureParallelism().isolated
}

function remember(key: string, make: () => Engine): Engine {
  const engine = shared.get(key) ?? make()
  shared.set(key, engine)
  return engine
}

function engineAt(
  role: Role,
  url: string,
  worker: boolean,
  options: EngineOptions,
  threaded: { readonly url: string; readonly threads: number } = { url: '', threads: 1 },
): Engine {
  const { early, timeout, urls } = options
  // Both are for the first instance: a Worker lives once, and a module that failed is fetched anew.
  const open = async (): Promise<Channel> => {
    if (!worker) return inlineChannel()
    const started = early?.worker
    if (early !== undefined) early.worker = undefined
    if (typeof Worker !== 'undefined') return new WorkerChannel(started ?? urls?.worker)
    const NodeWorker = await (await lazily(import('./node-thread.js'))).nodeWorker()
    return new WorkerChannel(new NodeWorker(urls?.worker) as unknown as Worker)
  }
  const plain = async (): Promise<Binary> => {
    const compiled = early === undefined ? undefined : await arrived(early.module, timeout)
    return { module: compiled ?? (await compileAsset(url, timeout)), threads: 1 }
  }
  const { threads } = threaded
  const shared = async (): Promise<Binary> => ({ module: await compileAsset(threaded.url, timeout), threads })
  return new Engine({ role, binaries: threads > 1 ? [shared, plain] : [plain], open })
}

async function inlineChannel(): Promise<Channel> {
  const { InlineChannel } = await lazily(import('./engine/inline.js'))
  return new InlineChannel()
}

/** A module that was begun early; `undefined` if it failed or hangs, by the same patience as for one that is fetched here. */
function arrived(module: Promise<WebAssembly.Module>, timeout: number): Promise<WebAssembly.Module | undefined> {
  return new Promise((resolve) => {
    const timer = timeout > 0 ? setTimeout(resolve, timeout, undefined) : undefined
    const settle = (value?: WebAssembly.Module): void => {
      clearTimeout(timer)
      resolve(value)
    }
    module.then(settle, () => settle())
  })
}
