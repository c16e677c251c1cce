// Builds dist/: index.js, ort/, audio/ and post/index.js (with what they load lazily beside them), worker.js and inline.js in one file each, a sample model,
// what developers run in Node.js (tools/), and the declarations.
// `cargo xtask build` has put the WebAssembly files and their glue in dist/wasm before.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, 'dist')
const compiler = join(dist, 'wasm/compiler.wasm')

const digest = (...files) =>
  files
    .reduce((hash, file) => hash.update(readFileSync(file)), createHash('sha256'))
    .digest('hex')
    .slice(0, 16)
const define = {
  // Cached plans are kept under this name: a changed compiler makes them anew.
  NEARSIDE_COMPILER_ID: JSON.stringify(existsSync(compiler) ? digest(compiler) : 'none'),
  // And what a device measured of plans is good for these kernels.
  NEARSIDE_RUNTIME_ID: JSON.stringify(digest(...['core.simd.wasm', 'core.relaxed.wasm'].map((name) => join(dist, 'wasm', name)))),
}

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
  resolveId: (id) => (/^((\.\.\/)+(index|errors)|\.\/errors)\.js$/.test(id) ? { id: '../index.js', external: true } : undefined),
}

/**
 * Chunks that are loaded lazily take the errors from the entry, which is there by then; else they, used by several of them, would become a
 * chunk of their own, and one more request before anything else.
 */
const lazyErrors = {
  name: 'lazy-errors',
  resolveId: (id, importer) =>
    id === './errors.js' && /[\\/]ts[\\/](external|integrity|options|refusals|sniff|tune)\.ts$/.test(importer ?? '')
      ? join(here, 'ts/index.ts')
      : undefined,
}

/** @param folder of the entry, in the sources as in dist; with `one`, what is loaded lazily is in the same file. */
async function bundle(entry, folder = '.', one = false) {
  const build = await rolldown({
    input: { [entry]: join(here, 'ts', folder, `${entry}.ts`) },
    platform: 'browser',
    preserveEntrySignatures: 'allow-extension',
    tsconfig: join(here, 'tsconfig.json'),
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    transform: { target: 'es2022', define },
    plugins: [withoutCompiler, folder === '.' ? lazyErrors : packageEntry],
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

/** The command `nearside` and the plugin for Vite, with the libraries that they use; their parts lie flat in one folder. */
async function bundleTools() {
  const dir = join(dist, 'tools')
  const source = (name) => join(here, 'ts/tools', name)
  const build = await rolldown({
    input: {
      cli: source('cli/main.ts'),
      vite: source('vite/index.ts'),
      thread: source('compiler/thread.ts'),
    },
    platform: 'node',
    external: ['vite'],
    preserveEntrySignatures: 'allow-extension',
    tsconfig: join(here, 'ts/tools/tsconfig.json'),
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    transform: { target: 'node20', define },
    plugins: [withoutCompiler, packageEntry],
  })
  const options = { dir, format: 'esm', entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' }
  const { output } = await build.write(options)
  await build.close()
  chmodSync(join(dir, 'cli.js'), 0o755)
  writeFileSync(join(dir, 'LICENSES.txt'), licences(output.flatMap((chunk) => chunk.moduleIds ?? [])))
}

/** The licences of the libraries that these modules belong to. */
function licences(modules) {
  const folders = modules
    .map((id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0])
    .filter((folder) => folder !== undefined)
  const texts = [...new Set(folders)].sort().map((folder) => {
    const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
    // Some packages name their licence and bring no text of it.
    const text = file === undefined ? `By ${author?.name ?? author}.` : readFileSync(join(folder, file), 'utf8').trim()
    return `${name} ${version} (${license})\n\n${text}\n`
  })
  return texts.join('\n----\n\n')
}

mkdirSync(dist, { recursive: true })
for (const name of readdirSync(dist)) if (name !== 'wasm') rmSync(join(dist, name), { recursive: true })
await bundle('index')
await bundle('worker')
await bundle('inline', '.', true)
await bundle('index', 'ort')
await bundle('index', 'audio')
await bundle('index', 'post')
await bundle('digits')
await bundleTools()
// The sample is compiled by what was just built.
if (existsSync(compiler)) {
  const model = join(here, '../models/digits.int8.onnx')
  execFileSync(process.execPath, [join(dist, 'tools/cli.js'), 'compile', model, '-o', join(dist, 'digits.plan')], {
    stdio: 'inherit',
  })
}

// Declarations of everything, of which the package keeps what the entries lead to.
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const all = join(dist, 'declarations')
for (const project of [here, join(here, 'ts/tools')])
  execFileSync(process.execPath, [tsc, '-p', project, '--emitDeclarationOnly', '--outDir', all], { stdio: 'inherit' })
const wanted = [
  ...['index.d.ts', 'inline.d.ts', 'digits.d.ts', 'worker.d.ts', 'wasm.d.ts'],
  ...['ort/index.d.ts', 'audio/index.d.ts', 'post/index.d.ts', 'tools/vite/index.d.ts'],
]
for (const name of wanted) {
  const text = readFileSync(join(all, name), 'utf8')
  mkdirSync(dirname(join(dist, name)), { recursive: true })
  // Applications may be checked with an older set of the language's own types.
  const reference = text.includes('Symbol.dispose') ? '/// <reference lib="esnext.disposable" />\n' : ''
  writeFileSync(join(dist, name), reference + text)
  for (const [, path] of text.matchAll(/ from '(\.[\w./-]+)\.js'/g)) {
    const next = `${posix.join(dirname(name), path)}.d.ts`
    if (!wanted.includes(next)) wanted.push(next)
  }
}
rmSync(all, { recursive: true })
copyFileSync(join(here, 'ts/tools/vite/client.d.ts'), join(dist, 'tools/vite/client.d.ts'))
// The native tool's template, for both.
copyFileSync(join(here, '../src/bin/nearside/commands/inspect.html'), join(dist, 'tools/inspect.html'))

for (const name of readdirSync(dirname(here)))
  if (name.startsWith('LICENSE')) copyFileSync(join(dirname(here), name), join(dist, name))
