/**
 * The type of the package's `.wasm` files where an import compiles them, as in Cloudflare's workerd: give them to the option `urls`.
 */

declare const module: WebAssembly.Module
export default module
