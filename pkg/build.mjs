// Builds dist/: index.js, ort/, audio/ and post/index.js (with what they load lazily beside them), worker.js and inline.js in one file each, and the declarations.
// `cargo xtask build` has put the WebAssembly files and their glue in dist/wasm before.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, 'dist')
const compiler = join(dist, 'wasm/compiler.wasm')

// Cached plans are kept under this name: a changed compiler makes them anew.
const compilerId = existsSync(compiler) ? createHash('sha256').update(readFileSync(compiler)).digest('hex').slice(0, 16) : 'none'

/** A build without the compiler has no glue for it either; loading raw ONNX then fails with its missing .wasm file. */
const withoutCompiler = {
  name: 'without-compiler',
  resolveId: (id) => (id.endsWith('/wasm/compiler.js') && !existsSync(compiler) ? '\0no-compiler' : undefined),
  load: (id) => (id === '\0no-compiler' ? 'export default () => { throw new Error("built without the compiler") }' : undefined),
}

/**
 * One runtime serves all ways in, and one class stands for each error: other entries import them from the package's own file, out of the folder where
 * all of their chunks lie.
 */
const packageEntry = {
  name: 'package-entry',
  resolveId: (id) => (/^(\.\.\/)+(index|errors)\.js$/.test(id) ? { id: '../index.js', external: true } : undefined),
}

/** @param folder of the entry, in the sources as in dist; with `one`, what is loaded lazily is in the same file. */
async function bundle(entry, folder = '.', one = false) {
  const build = await rolldown({
    input: { [entry]: join(here, 'ts', folder, `${entry}.ts`) },
    platform: 'browser',
    preserveEntrySignatures: 'allow-extension',
    tsconfig: join(here, 'tsconfig.json'),
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    transform: { target: 'es2022', define: { NEARSIDE_COMPILER_ID: JSON.stringify(compilerId) } },
    plugins: [withoutCompiler, folder === '.' ? undefined : packageEntry],
  })
  // Chunks lie flat beside the entry, so that `new URL('./wasm/…', import.meta.url)` is right in each of them.
  await build.write({
    dir: join(dist, folder),
    format: 'esm',
    minify: true,
    codeSplitting: !one,
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
  })
  await build.close()
}

mkdirSync(dist, { recursive: true })
for (const name of readdirSync(dist)) if (name !== 'wasm') rmSync(join(dist, name), { recursive: true })
await bundle('index')
await bundle('worker')
await bundle('inline', '.', true)
await bundle('index', 'ort')
await bundle('index', 'audio')
await bundle('index', 'post')

// Declarations of everything, of which the package keeps what the entries lead to.
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const all = join(dist, 'declarations')
execFileSync(process.execPath, [tsc, '-p', here, '--emitDeclarationOnly', '--outDir', all], { stdio: 'inherit' })
const wanted = ['index.d.ts', 'inline.d.ts', 'worker.d.ts', 'wasm.d.ts', 'ort/index.d.ts', 'audio/index.d.ts', 'post/index.d.ts']
for (const name of wanted) {
  const text = readFileSync(join(all, name), 'utf8')
  mkdirSync(dirname(join(dist, name)), { recursive: true })
  writeFileSync(join(dist, name), text)
  for (const [, path] of text.matchAll(/ from '(\.[\w./-]+)\.js'/g)) {
    const next = `${posix.join(dirname(name), path)}.d.ts`
    if (!wanted.includes(next)) wanted.push(next)
  }
}
rmSync(all, { recursive: true })

for (const name of readdirSync(dirname(here)))
  if (name.startsWith('LICENSE')) copyFileSync(join(dirname(here), name), join(dist, name))
