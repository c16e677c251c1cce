import { defineConfig } from '@playwright/test'

import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'

export default defineConfig({
  testDir: '.',
  outputDir: 'output',
  // Tests look at times too: one page at a time.
  workers: 1,
  timeout: 120_000,
  forbidOnly: process.env['CI'] !== undefined,
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    launchOptions: { executablePath: CHROMIUM, args: CHROMIUM_ARGS },
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
  },
})
