import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  logLevel: 'warn',
  // Not `assets`: the runner serves the test models under that name.
  build: { outDir: 'dist', assetsDir: 'page', target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 4096 },
  worker: { format: 'es' },
})
