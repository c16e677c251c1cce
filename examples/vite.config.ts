import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vite'

const here = import.meta.dirname
const pages = readdirSync(here, { recursive: true, encoding: 'utf8' }).filter((name) => /^[^/]+\/index\.html$/.test(name))

// Several threads need these headers: docs/guide/threads-and-headers.md.
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }

export default defineConfig({
  root: here,
  base: './',
  server: { headers },
  preview: { headers },
  optimizeDeps: { exclude: ['nearside'] },
  build: {
    target: 'es2022',
    rollupOptions: { input: pages.filter((name) => !name.startsWith('dist')).map((name) => join(here, name)) },
  },
})
