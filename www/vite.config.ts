import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { brotli } from './build/brotli.ts'
import { keepList } from './build/keep.ts'
import { pageHead } from './build/page.ts'

const here = import.meta.dirname
const plan = join(here, 'public/digits.int8.plan')
if (process.env['VITEST'] === undefined && !existsSync(plan)) {
  throw new Error('www/public/digits.int8.plan is missing: `cargo xtask build` compiles it from models/digits.int8.onnx.')
}
// The address changes with the content, so that a kept page never meets another build's model.
const digest = existsSync(plan) ? createHash('sha256').update(readFileSync(plan)).digest('hex').slice(0, 12) : ''
const planUrl = `digits.int8.plan?${digest}`

export default defineConfig({
  root: here,
  base: './',
  define: { PLAN_URL: JSON.stringify(planUrl) },
  plugins: [pageHead(planUrl), keepList([planUrl, 'favicon.svg']), brotli(join(here, 'dist'))],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { index: join(here, 'index.html'), start: join(here, 'src/start.ts'), sw: join(here, 'sw/sw.ts') },
      output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
  // The server has what a development page asks for: `nearside serve models --port 8080`.
  server: { proxy: { '/v2': 'http://localhost:8080', '/simulate': 'http://localhost:8080' } },
  test: { include: ['{src,bench}/**/*.test.ts'] },
})
