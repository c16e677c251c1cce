import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { defaultClientConditions, defineConfig, type Plugin } from 'vite'
import { brotli } from '../build/brotli.ts'

const here = import.meta.dirname
const output = join(here, '../dist/bench')
const require = createRequire(import.meta.url)

function versionOf(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Models may come from any address that the visitor gives; scripts and everything else are the page's own. */
const policy: Plugin = {
  name: 'policy',
  apply: 'build',
  transformIndexHtml: () => [
    {
      tag: 'meta',
      injectTo: 'head-prepend',
      attrs: {
        'http-equiv': 'Content-Security-Policy',
        content: "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *; img-src 'self' data:; base-uri 'none'",
      },
    },
  ],
}

/** A copy of the page that servers are to send without headers, to show that everything works then, too; in development as `nearside serve` does it. */
const PLAIN = 'one-thread.html'
const plainCopy: Plugin = {
  name: 'one-thread',
  enforce: 'post',
  generateBundle(_, bundle) {
    const page = bundle['index.html']
    if (page?.type === 'asset') this.emitFile({ type: 'asset', fileName: PLAIN, source: page.source })
  },
  configureServer: ({ middlewares }) => {
    middlewares.use((request, response, next) => {
      const plain = request.url?.replace(/[?#].*$/, '').endsWith(`/${PLAIN}`) === true
      if (plain) request.url = request.url?.replace(PLAIN, 'index.html')
      else {
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
      }
      next()
    })
  },
}

// A build of its own, not one more page of the demo's: shared chunks would be requests that the demo's first answer waits for.
export default defineConfig({
  root: here,
  base: './',
  define: {
    VERSIONS: JSON.stringify({
      nearside: versionOf(join(here, '../../pkg/package.json')),
      'onnxruntime-web': versionOf(join(require.resolve('onnxruntime-web/wasm'), '../../package.json')),
    }),
  },
  // onnxruntime-web then takes its glue from a file of its own, which its threads load, too.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  plugins: [policy, plainCopy, brotli(output, join(here, '../dist'))],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    outDir: output,
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: { input: { index: join(here, 'index.html'), first: join(here, 'first.html') } },
  },
})
