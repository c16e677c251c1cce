import { defineConfig } from 'vitest/config'

export default defineConfig({
  define: { NEARSIDE_COMPILER_ID: JSON.stringify('test'), NEARSIDE_RUNTIME_ID: JSON.stringify('test') },
  test: { include: ['test/**/*.test.ts'], testTimeout: 20_000 },
})
