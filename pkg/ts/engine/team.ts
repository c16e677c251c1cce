/** The helpers of a threaded instance: Workers of the same script that enter its module with the same memory, and stay there. */

/** The first and only message to a helper. */
export interface HelpMessage {
  readonly help: { readonly member: number; readonly module: WebAssembly.Module; readonly memory: WebAssembly.Memory }
}

/** Pages of 64 KB that shared memory begins with; `xtask/src/wasm.rs` checks that no binary wants more. */
const INITIAL_PAGES = 80
/** The most that it may grow to. All is reserved at once, which small devices and 32-bit browsers refuse. */
const MAXIMA = [65536, 32768, 16384, 8192, 4096]
/** How long the first model waits, in milliseconds, to tell how many helpers could be started. */
const PATIENCE = 250

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

/** Starts helpers, which come when they come; gives the number of threads once each has come or failed: after a while, without those that failed. */
export async function startHelpers(threads: number, module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<number> {
  let count = threads
  const arrivals = Array.from({ length: threads - 1 }, async (_, i) => {
    try {
      await startHelper({ help: { member: i + 1, module, memory } })
    } catch (error) {
      count -= 1
      console.warn(`nearside: a thread could not start (${String(error)}); the others do its work.`)
    }
  })
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE))
  await Promise.race([Promise.all(arrivals), late])
  return count
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
