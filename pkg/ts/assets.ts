/** The package's WebAssembly files: where they are, and their compilation, once per page. */

import { NetworkError } from './errors.js'
import { fetchAny, fileAddress } from './files.js'
import { looksLikeHtml } from './magic.js'
import type { LoadOptions, Variant } from './types.js'

/** Modules by address. A failure is forgotten, so that the next load tries again. */
const modules = new Map<string, Promise<WebAssembly.Module>>()

/** Addresses under which compiled binaries that were given are known. */
const given = new WeakMap<WebAssembly.Module, string>()
let nextGiven = 1

function addressOf(asset: string | URL | WebAssembly.Module): string {
  if (!(asset instanceof WebAssembly.Module)) return String(fileAddress(asset))
  const address = given.get(asset) ?? `module:${nextGiven++}`
  given.set(asset, address)
  modules.set(address, Promise.resolve(asset))
  return address
}

/** Address of a binary. */
export function assetUrl(
  which: Variant | `${Variant}.threads` | 'compiler',
  options: Pick<LoadOptions, 'urls' | 'wasmBase'>,
): string {
  const asset = options.urls?.[which === 'simd.threads' ? 'simdThreads' : which === 'relaxed.threads' ? 'relaxedThreads' : which]
  if (asset !== undefined) return addressOf(asset)
  const { wasmBase } = options
  if (wasmBase !== undefined) {
    const file = which === 'compiler' ? 'compiler.wasm' : `core.${which}.wasm`
    return `${addressOf(wasmBase).replace(/\/$/, '')}/${file}`
  }
  // Bundlers recognise these very expressions, so each stands here in full.
  switch (which) {
    case 'simd':
      return new URL('./wasm/core.simd.wasm', import.meta.url).href
    case 'relaxed':
      return new URL('./wasm/core.relaxed.wasm', import.meta.url).href
    case 'simd.threads':
      return new URL('./wasm/core.simd.threads.wasm', import.meta.url).href
    case 'relaxed.threads':
      return new URL('./wasm/core.relaxed.threads.wasm', import.meta.url).href
    case 'compiler':
      return new URL('./wasm/compiler.wasm', import.meta.url).href
  }
}

/** The compiled binary at an address. */
export function compileAsset(url: string, timeout: number): Promise<WebAssembly.Module> {
  const known = modules.get(url)
  if (known !== undefined) return known
  const module = fetchAndCompile(url, timeout)
  modules.set(url, module)
  module.catch(() => modules.delete(url))
  return module
}

async function fetchAndCompile(url: string, timeout: number): Promise<WebAssembly.Module> {
  const stop = new AbortController()
  const late = new NetworkError(
    `Nearside's WebAssembly at '${url}' did not arrive in time; check the server, or raise the option timeout.`,
    { url, reason: 'timeout' },
  )
  const deadline = (factor: number): ReturnType<typeof setTimeout> | undefined =>
    timeout > 0 ? setTimeout(() => stop.abort(late), timeout * factor) : undefined
  let timer = deadline(1)
  try {
    const response = await fetchAny(url, { credentials: 'same-origin', signal: stop.signal })
    clearTimeout(timer)
    // The body gets longer: watching its bytes would hide it from the browser's cache of compiled code.
    timer = deadline(4)
    return await compileResponse(response, url)
  } catch (cause) {
    if (stop.signal.aborted) throw late
    if (cause instanceof NetworkError) throw cause
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new NetworkError(`Nearside's WebAssembly at '${url}' could not be loaded (${text}). ${REMEDY}`, {
      url,
      reason: 'unreachable',
      cause,
    })
  } finally {
    clearTimeout(timer)
  }
}

const REMEDY =
  "Serve the package's dist/wasm folder there, or say where it is with the option wasmBase; with Vite's development server add optimizeDeps: { exclude: ['nearside'] }."

async function compileResponse(response: Response, url: string): Promise<WebAssembly.Module> {
  if (!response.ok) {
    throw new NetworkError(`The server answered ${response.status} for Nearside's WebAssembly at '${url}'. ${REMEDY}`, {
      url,
      reason: 'status',
      status: response.status,
    })
  }
  // Streaming demands this type; some servers do not know it.
  if (response.headers.get('content-type')?.split(';')[0]?.trim() === 'application/wasm')
    return WebAssembly.compileStreaming(response)
  const bytes = new Uint8Array(await response.arrayBuffer())
  if (looksLikeHtml(bytes)) {
    throw new NetworkError(`There is a web page instead of Nearside's WebAssembly at '${url}'. ${REMEDY}`, {
      url,
      reason: 'html',
      status: response.status,
    })
  }
  return WebAssembly.compile(bytes)
}
