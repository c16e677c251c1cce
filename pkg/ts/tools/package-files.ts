/** Files of the package, from the folder `dist/tools` in which the build puts all of these sources. */

/** The compiler's WebAssembly. */
export const COMPILER = new URL('../wasm/compiler.wasm', import.meta.url)

/** The script of the thread that compiles. */
export const THREAD = new URL('./thread.js', import.meta.url)

/** The template of the page that draws a model. */
export const PAGE = new URL('./inspect.html', import.meta.url)

/** The package's manifest. */
export const MANIFEST = new URL('../../package.json', import.meta.url)
