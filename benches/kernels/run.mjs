/** The browser's side of `cargo xtask bench --kernels`: opens one page per job and prints what its module measured. */

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'

import { launch } from '../web/browsers.mjs'
import { serve } from '../web/server.mjs'

const { values: options } = parseArgs({
  options: {
    module: { type: 'string' },
    browser: { type: 'string', default: 'chromium' },
    filter: { type: 'string', default: '' },
    plan: { type: 'string', multiple: true, default: [] },
    tune: { type: 'boolean', default: false },
  },
})
if (options.module === undefined) throw new Error('--module DIR is needed')

const plans = mkdtempSync(join(tmpdir(), 'nearside-plans-'))
options.plan.forEach((file, i) => copyFileSync(file, join(plans, `${i}.plan`)))

/** @type {(body: string) => void} */
let settle = () => undefined
const server = await serve({ '/module/': options.module, '/plans/': plans, '/': import.meta.dirname }, (request, response) => {
  if (request.method !== 'POST') return false
  let body = ''
  request.setEncoding('utf8').on('data', (text) => (body += text))
  request.on('end', () => {
    response.end()
    settle(body)
  })
  return true
})
const browser = await launch(options.browser)

/** @param {string} query */
async function measure(query) {
  /** @type {Promise<string>} */
  const answer = new Promise((resolve, reject) => {
    settle = resolve
    fail = reject
  })
  const close = await browser.open(`${server.url}/index.html?${query}`, (text) => fail(new Error(text)))
  try {
    process.stdout.write(await answer)
  } finally {
    await close()
  }
}
/** @type {(error: Error) => void} */
let fail = () => undefined

try {
  for (const [i, file] of options.plan.entries()) {
    console.log(basename(file))
    await measure(`plan=${i}${options.tune ? '&tune' : ''}`)
  }
  if (options.plan.length === 0) await measure(`filter=${encodeURIComponent(options.filter)}`)
} finally {
  await browser.close()
  server.close()
  rmSync(plans, { recursive: true })
}
