/** Tells the service worker what to keep: all files of the build that a visitor needs. */

import { createHash } from 'node:crypto'
import type { Plugin } from 'vite'

/**
 * @param extra files of `public/` that are kept too, as the page asks for them
 */
export function keepList(extra: readonly string[]): Plugin {
  return {
    name: 'keep-list',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler: (_options, bundle) => {
        const worker = bundle['sw.js']
        if (worker?.type !== 'chunk') throw new Error('The build made no sw.js.')
        // The compiler is only for raw ONNX, which this page never loads, and it starts its runtime early, on one thread.
        const needless = /^sw\.js|\.map$|compiler[-.\w]*\.wasm$|\.threads[-.\w]*\.wasm$|index\.html$/
        const needed = Object.keys(bundle).filter((name) => !needless.test(name))
        const files = ['', ...needed.sort(), ...extra].map((name) => `./${name}`)
        const page = bundle['index.html']
        if (page?.type !== 'asset') throw new Error('The build made no index.html.')
        // Names of files change with their content, all but the page's.
        const hash = createHash('sha256').update(JSON.stringify(files)).update(worker.code).update(page.source)
        const version = hash.digest('hex').slice(0, 12)
        worker.code = worker.code.replace('__KEEP__', JSON.stringify({ version, files }))
      },
    },
  }
}
