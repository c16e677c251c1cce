/**
 * What a page transfers until it has an answer, or until it could give one: an application of each engine, built by Vite, opened in Chromium
 * with nothing cached; every file that the page then asked for, after brotli of the highest quality. Fails if Nearside's is over its budget.
 */

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

import { chromium } from 'playwright-core'
import { build } from 'vite'

import { CHROMIUM, CHROMIUM_ARGS } from '../browsers.mjs'
import { serve } from '../server.mjs'
import { BUDGET, weigh } from './weigh.mjs'

const HERE = import.meta.dirname
const ROOT = join(HERE, '../../..')
/** What a page says when it is done. */
const DONE = /^(This is a 1\.|ready)$/

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: join(ROOT, 'target/transfer') },
    engines: { type: 'string' },
    budget: { type: 'string', default: String(BUDGET) },
    json: { type: 'boolean', default: false },
  },
})

/** The picture and the answer of the README's example, for others. */
const picture = `
const image = new Float32Array(28 * 28)
for (let y = 4; y < 24; y++) image.fill(1, y * 28 + 13, y * 28 + 16)
const say = (scores) => { document.body.textContent = 'This is a ' + scores.indexOf(Math.max(...scores)) + '.' }
`

/** Where a package lies, of this folder's or of the repository's own. @param {string} name */
const folderOf = (name) => join(createRequire(join(HERE, 'package.json')).resolve(`${name}/package.json`), '..')

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {string} what it has done when it is ready
 * @property {() => Promise<string>} code
 * @property {{ [from: string]: string }} [files] to copy as they are, by their place in the page's folder
 */

/** @type {{ [id: string]: Engine }} */
const ENGINES = {
  nearside: {
    name: 'Nearside',
    what: "the README's first example: a digit is read",
    code: async () => /^```ts\n(.*?)^```$/ms.exec(await readFile(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '',
  },
  'nearside-onnx': {
    name: 'Nearside, raw ONNX',
    what: 'the same model as ONNX: a digit is read',
    code: async () => `
import { Model } from 'nearside'
import digits from ${JSON.stringify(`${join(ROOT, 'models/digits.int8.onnx')}?url&no-inline`)}
${picture}
const model = await Model.load(digits)
say([...(await model.run({ image })).logits.data])`,
  },
  ort: {
    name: 'onnxruntime-web 1.30, /wasm',
    what: 'the same model as ONNX: a digit is read',
    code: async () => `
import * as ort from 'onnxruntime-web/wasm'
import digits from ${JSON.stringify(`${join(ROOT, 'models/digits.int8.onnx')}?url&no-inline`)}
${picture}
const session = await ort.InferenceSession.create(digits)
const { logits } = await session.run({ image: new ort.Tensor('float32', image, [1, 1, 28, 28]) })
say([...logits.data])`,
  },
  litert: {
    name: 'LiteRT.js 2.5.3',
    what: 'the runtime is ready, without a model',
    code: async () => `
import { loadLiteRt } from '@litertjs/core'
await loadLiteRt('/wasm/')
document.body.textContent = 'ready'`,
    files: { wasm: join(folderOf('@litertjs/core'), 'wasm') },
  },
  tfjs: {
    name: 'tfjs 4.22, core, converter and wasm',
    what: 'the runtime is ready, without a model',
    code: async () => `
import * as tf from '@tensorflow/tfjs-core'
import { loadGraphModel } from '@tensorflow/tfjs-converter'
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
globalThis.loadGraphModel = loadGraphModel
setWasmPaths('/')
await tf.setBackend('wasm')
await tf.ready()
document.body.textContent = 'ready'`,
    files: Object.fromEntries(
      ['', '-simd', '-threaded-simd'].map((kind) => {
        const name = `tfjs-backend-wasm${kind}.wasm`
        return [name, join(folderOf('@tensorflow/tfjs-backend-wasm'), 'dist', name)]
      }),
    ),
  },
}

/**
 * Builds the application; gives its folder.
 * @param {string} id
 * @param {Engine} engine
 */
async function application(id, { code, files = {} }) {
  const root = join(options.out, id)
  await rm(root, { recursive: true, force: true })
  await mkdir(join(root, 'public'), { recursive: true })
  await writeFile(
    join(root, 'index.html'),
    '<!doctype html><html lang="en"><title>Digits</title><script type="module" src="/main.js"></script></html>',
  )
  await writeFile(join(root, 'main.js'), await code())
  for (const [place, from] of Object.entries(files)) await cp(from, join(root, 'public', place), { recursive: true })
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    build: { target: 'esnext', chunkSizeWarningLimit: 1e6 },
    // The packages of this folder, wherever the application lies.
    plugins: [
      {
        name: 'packages',
        enforce: 'pre',
        resolveId(name, from) {
          if (from !== join(root, 'main.js') || name.startsWith('/') || name.startsWith('.')) return null
          return this.resolve(name, join(HERE, 'run.mjs'), { skipSelf: true })
        },
      },
    ],
  })
  return join(root, 'dist')
}

/**
 * The files that the page of a folder asks for.
 * @param {import('playwright-core').Browser} browser
 * @param {string} folder
 */
async function transferred(browser, folder) {
  /** @type {Set<string>} */
  const paths = new Set()
  const server = await serve({ '/': folder }, (request, response) => {
    // As most pages are served.
    response.removeHeader('cross-origin-opener-policy')
    response.removeHeader('cross-origin-embedder-policy')
    paths.add(new URL(request.url ?? '/', 'http://localhost').pathname)
    return false
  })
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    /** @type {string[]} */
    const complaints = []
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(`${server.url}/`)
    const done = page.waitForFunction((pattern) => new RegExp(pattern).test(document.body.textContent ?? ''), DONE.source, {
      timeout: 60_000,
    })
    await done.catch((error) => {
      throw new Error([String(error), ...complaints].join('\n'))
    })
  } finally {
    await context.close()
    server.close()
  }
  return weigh(folder, paths)
}

const chosen = options.engines?.split(',') ?? Object.keys(ENGINES)
const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS })
const rows = []
for (const id of chosen) {
  const engine = ENGINES[id]
  if (engine === undefined) throw new Error(`there is no engine '${id}'; there are ${Object.keys(ENGINES).join(', ')}`)
  const files = await transferred(browser, await application(id, engine))
  const total = files.reduce((sum, file) => ({ bytes: sum.bytes + file.bytes, brotli: sum.brotli + file.brotli }), {
    bytes: 0,
    brotli: 0,
  })
  rows.push({ id, name: engine.name, what: engine.what, ...total, files })
}
await browser.close()

if (options.json) {
  console.log(JSON.stringify(rows, undefined, 2))
} else {
  /** @param {number} n */
  const grouped = (n) =>
    String(n)
      .replace(/\B(?=(\d{3})+$)/g, ' ')
      .padStart(11)
  for (const { name, what, bytes, brotli, files } of rows) {
    console.log(`${grouped(bytes)} ${grouped(brotli)}  ${name}: ${what}`)
    for (const file of files) console.log(`${grouped(file.bytes)} ${grouped(file.brotli)}      ${file.name}`)
  }
}
const ours = rows.find(({ id }) => id === 'nearside')
if (ours !== undefined && ours.brotli > Number(options.budget)) {
  console.error(`Nearside's example transfers ${ours.brotli} bytes after brotli, more than the ${options.budget} that it may.`)
  process.exitCode = 1
}
