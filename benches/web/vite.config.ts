import { join } from 'node:path'

import { defineConfig, type Plugin } from 'vite'

/**
 * Runtimes that are installed only for those who compare with them lie in a folder of their own. Without them the page is built all the same:
 * their adapters, each a chunk, would fail if they were asked for.
 */
const packages: Plugin = {
  name: 'packages',
  enforce: 'pre',
  async resolveId(name, from) {
    if (!/^@(litertjs|tensorflow)\//.test(name) || from?.startsWith(join(import.meta.dirname, 'adapters')) !== true) return null
    const found = await this.resolve(name, join(import.meta.dirname, 'transfer/run.mjs'), { skipSelf: true })
    return found ?? { id: name, external: true }
  },
}

export default defineConfig({
  root: import.meta.dirname,
  logLevel: 'warn',
  plugins: [packages],
  // Not `assets`: the runner serves the test models under that name.
  build: { outDir: 'dist', assetsDir: 'page', target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 4096 },
  worker: { format: 'es' },
})
