/** The experiment as code to copy, for the places where models run, with the headers that it needs. */

import type { Experiment } from './experiment'
import { ARRAYS } from './inputs'

export const PLACES = {
  page: 'A page without a bundler',
  vite: 'Vite',
  next: 'Next.js',
  worker: 'A Worker of yours',
  extension: 'A browser extension',
} as const
export type Place = keyof typeof PLACES

/** An input to write down: its name and how many numbers it has. */
export interface Shape {
  readonly name: string
  readonly type: string
  readonly dims: readonly number[]
}

const DIGITS: readonly Shape[] = [{ name: 'image', type: 'float32', dims: [1, 1, 28, 28] }]

/** The same load and run as the experiment's first side. */
export function codeOf(experiment: Experiment, place: Place, inputs: readonly Shape[] = DIGITS): string {
  const file = fileOf(experiment)
  const load = (address: string, more: string[] = []): string =>
    `const model = await Model.load(${[address, ...optionsOf(experiment, more)].join(', ')})`
  const run = `const outputs = await model.run({ ${inputs.map(feedOf).join(', ')} })`
  switch (place) {
    case 'page':
      return lines(
        '<script type="importmap">{ "imports": { "nearside": "/nearside/index.js" } }</script>',
        '<script type="module">',
        ...['// /nearside is a copy of node_modules/nearside/dist.', "import { Model, Tensor } from 'nearside'"].map(indent),
        ...[load(`'/models/${file}'`), run, 'console.log(outputs)'].map(indent),
        '</script>',
      )
    case 'vite':
      return lines(
        '// vite.config.js',
        "import { nearside } from 'nearside/vite'",
        'export default { plugins: [nearside()] }',
        '',
        '// main.js',
        "import { Model, Tensor } from 'nearside'",
        `import address, { integrity } from './${file.replace(/\.plan$/, '.onnx')}'`,
        load('address', ['integrity']),
        run,
      )
    case 'next':
      return lines(
        "'use client'",
        "import { useEffect, useState } from 'react'",
        "import { Model, Tensor } from 'nearside'",
        '',
        'export function Prediction() {',
        '  const [outputs, setOutputs] = useState()',
        '  useEffect(() => {',
        '    const predict = async () => {',
        ...[load(`'/models/${file}'`), run, 'setOutputs(outputs)'].map((line) => `      ${line}`),
        '    }',
        '    predict().catch(console.error)',
        '  }, [])',
        '  return <output>{outputs && Object.keys(outputs).join()}</output>',
        '}',
      )
    case 'worker':
      return lines(
        '// A module Worker: new Worker(new URL("./worker.js", import.meta.url), { type: "module" })',
        "import { Model, Tensor } from 'nearside'",
        '',
        load(`'/models/${file}'`),
        'onmessage = async ({ data }) => {',
        `  postMessage(await model.run({ ${inputs.length === 1 ? `${key(inputs[0]?.name ?? '')}: data` : '...data'} }))`,
        '}',
      )
    case 'extension':
      return lines(
        '// A page of the extension; a service worker imports nearside/inline instead.',
        "import { Model, Tensor } from 'nearside'",
        '',
        load(`chrome.runtime.getURL('models/${file}')`),
        run,
      )
  }
}

/** Headers and policies for that code. */
export function headersOf({ threads }: Experiment, place: Place): string {
  if (place === 'extension')
    return lines(
      '// manifest.json',
      '"content_security_policy": {',
      `  "extension_pages": "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; object-src 'self'"`,
      '}',
    )
  const policy = "Content-Security-Policy: script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
  const isolation = ['Cross-Origin-Opener-Policy: same-origin', 'Cross-Origin-Embedder-Policy: require-corp']
  return lines(
    ...(threads === 1 ? [] : ['# For several threads; without them one thread runs.', ...isolation]),
    '# If your page has a policy: what it must allow.',
    policy,
  )
}

function fileOf({ model, form }: Experiment): string {
  if (model === 'file') return 'model.onnx'
  if (/^digits/.test(model)) return `${model}.${form}`
  return (
    model
      .replace(/[?#].*$/, '')
      .split('/')
      .at(-1) || 'model.onnx'
  )
}

/** The options that differ from what the package does by itself, if there are any. */
function optionsOf({ variant, threads, worker }: Experiment, more: string[]): string[] {
  const options = [
    ...more,
    ...(variant === 'auto' ? [] : [`variant: '${variant}'`]),
    ...(threads === 0 ? [] : [`threads: ${threads}`]),
    ...(worker ? [] : ['worker: false']),
  ]
  return options.length === 0 ? [] : [`{ ${options.join(', ')} }`]
}

function feedOf({ name, type, dims }: Shape): string {
  const size = dims.length === 0 ? '1' : dims.join(' * ')
  return `${key(name)}: new Tensor('${type}', new ${(ARRAYS[type] ?? Float32Array).name}(${size}), [${dims.join(', ')}])`
}

function key(name: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : JSON.stringify(name)
}

function indent(line: string): string {
  return `  ${line}`
}

function lines(...all: string[]): string {
  return all.join('\n')
}
