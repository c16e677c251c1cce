/** Opens the built demo page again and again with nothing cached, and prints when its first answer came and what came before. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

import { chromium } from 'playwright-core'

import { CHROMIUM, CHROMIUM_ARGS } from './browsers.mjs'
import { median } from './report.mjs'

const ROOT = join(import.meta.dirname, '../..')
const FIRST_ANSWER = 'First answer'
const TIMEOUT_MS = 30_000

const { values: options } = parseArgs({
  options: {
    server: { type: 'string', default: join(ROOT, 'target/release/nearside') },
    rounds: { type: 'string', default: '15' },
    json: { type: 'boolean', default: false },
  },
})

/**
 * The demo's own server on a free port.
 * @returns {Promise<{ url: string, close: () => void }>}
 */
async function start() {
  const child = spawn(options.server, ['serve', 'models', '--port', '0', '--static', 'www/dist'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [url] = /https?:\/\/\S+/.exec(line) ?? []
      if (url !== undefined) resolve({ url, close: () => child.kill() })
    })
  })
}

/**
 * One visit: a fresh context has no cache, no service worker and no compiled code.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @returns {Promise<{ name: string, from: number, to: number }[]>}
 */
async function visit(browser, url) {
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    await page.goto(url)
    await page.waitForFunction((name) => performance.getEntriesByName(name).length > 0, FIRST_ANSWER, { timeout: TIMEOUT_MS })
    return await page.evaluate(() => {
      const rounded = (/** @type {number} */ ms) => Math.round(10 * ms) / 10
      return performance
        .getEntriesByType('measure')
        .map(({ name, startTime, duration }) => ({ name, from: rounded(startTime), to: rounded(startTime + duration) }))
    })
  } finally {
    await context.close()
  }
}

const server = await start()
const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS })
/** @type {Awaited<ReturnType<typeof visit>>[]} */
const visits = []
for (let round = 0; round < Number(options.rounds); round++) visits.push(await visit(browser, server.url))
await browser.close()
server.close()

const names = [...new Set(visits.flatMap((steps) => steps.map(({ name }) => name)))]
const rows = names.map((name) => {
  const steps = visits.flatMap((all) => all.filter((step) => step.name === name))
  const ends = steps.map(({ to }) => to)
  return {
    name,
    from: median(steps.map(({ from }) => from)),
    to: median(ends),
    first: Math.min(...ends),
    last: Math.max(...ends),
  }
})
rows.sort((a, b) => Number(a.name === FIRST_ANSWER) - Number(b.name === FIRST_ANSWER) || a.from - b.from)

if (options.json) {
  process.stdout.write(`${JSON.stringify({ rounds: visits.length, steps: rows }, null, 1)}\n`)
} else {
  const cells = rows.map(({ name, from, to, first, last }) => [name, ...[from, to, first, last].map((ms) => ms.toFixed(0))])
  process.stdout.write(
    `Milliseconds after navigation, ${visits.length} visits with nothing cached, Chromium ${browser.version()}\n\n`,
  )
  for (const row of [['step', 'from', 'to', 'soonest', 'latest'], ['---', '--:', '--:', '--:', '--:'], ...cells])
    process.stdout.write(`| ${row.map((cell, i) => (i === 0 ? cell.padEnd(18) : cell.padStart(7))).join(' | ')} |\n`)
}
