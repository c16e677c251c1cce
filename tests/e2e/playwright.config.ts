import { defineConfig } from '@playwright/test'

import { CHROMIUM, CHROMIUM_ARGS } from '../../benches/web/browsers.mjs'

/** Files that only look at results, and may share the machine. */
const RESULTS = /(bad-input|check|conformance|hostile|ort)\.spec\.ts$/

export default defineConfig({
  testDir: '.',
  outputDir: 'output',
  workers: 2,
  projects: [
    { name: 'results', testMatch: RESULTS },
    // Tests that look at times too: one page at a time.
    { name: 'pages', testIgnore: RESULTS, workers: 1 },
  ],
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
