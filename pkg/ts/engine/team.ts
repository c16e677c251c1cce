/** The helpers of a threaded instance: Workers of the same script that enter its module with the same memory, and stay there. */

/** The first and only message to a helper. */
export interface HelpMessage {
  readonly help: { readonly member: number; readonly module: WebAssembly.Module; readonly memory: WebAssembly.Memory }
}

/** Pages of 64 KB that shared memory begins with; `xtask/src/wasm.rs` checks that no binary wants more. */
const INITIAL_PAGES = 80
/** The most that it may grow to. All is reserved at once, which small devices and 32-bit browsers refuse. */
const MAXIMA = [65536, 32768, 16384, 8192, 4096]

/** The largest shared memory that the device grants. */
export function sharedMemory(): WebAssembly.Memory {
  let refusal: unknown
  for (const maximum of MAXIMA) {
    try {
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true })
    } catch (error) {
      refusal = error
    }
  }
  throw refusal
}

/** Starts helpers, for which nobody waits; gives a function that tells the number of threads, without helpers that failed by then. */
export function startHelpers(threads: number, module: WebAssembly.Module, memory: WebAssembly.Memory): () => number {
  let count = threads
  for (let member = 1; member < threads; member++) {
    startHelper({ help: { member, module, memory } }).catch((error: unknown) => {
      count -= 1
      console.warn(`nearside: a thread could not start (${String(error)}); the others do its work.`)
    })
  }
  return () => count
}

function startHelper(message: HelpMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    const helper = new Worker(location.href, { type: 'module', name: `nearside ${message.help.member}` })
    helper.onmessage = () => resolve()
    helper.onerror = (event) => {
      event.preventDefault()
      reject(new Error(event.message || 'its script could not be loaded'))
    }
    helper.postMessage(message)
  })
}
