/** The benchmark's runner: builds the page, opens it once per engine, model and round, and prints what came back. */

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { build } from 'vite'

import { launch } from './browsers.mjs'
import { DEFAULT_MODELS, find } from './catalog.mjs'
import { PEERS, task } from './peers/models.mjs'
import { profileTable, rows, table } from './report.mjs'
import { serve } from './server.mjs'

const HERE = import.meta.dirname
const ROOT = join(HERE, '../..')
/** Where engines lie that are installed only for those who name them. */
const PACKAGES = join(HERE, 'transfer/node_modules')
const TIMEOUT_MS = 180_000
/**
 * What models are compiled for that have no plan for all values and sizes.
 * @type {Record<string, readonly string[]>}
 */
const COMPILED_FOR = {
  silero_vad_v6: ['--value', 'sr=16000', '--dimension', 'input_d0=1', '--dimension', 'input_d1=576', '--dimension', 'state_d1=1'],
  silero_vad_16k_op15: ['--dimension', 'batch=1', '--dimension', 'sequence=576'],
}
/** How long each page repeats a model. */
const BUDGET_MS = 1500
/** Keeps a core busy for as long as its parent lives. */
const BUSY = 'for (const parent = process.ppid; process.ppid === parent; ) for (let i = 0; i < 1e8; i += 1);'
/**
 * Chromium writes compiled code to its cache two seconds after the last function was optimised. And a browser that was just started is
 * busy for about a second with pages of its own.
 */
const SETTLE_MS = 3000

const { values: options } = parseArgs({
  options: {
    assets: { type: 'string' },
    nearside: { type: 'string' },
    // What benches/web/peers/convert.py has written.
    converted: { type: 'string' },
    models: { type: 'string' },
    engines: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    browser: { type: 'string', default: 'chromium' },
    // Numbers of threads, which take turns like engines.
    threads: { type: 'string', default: '1' },
    // Processes beside the browser that keep a core busy each.
    busy: { type: 'string', default: '0' },
    // Whether each page is opened again in a browser that has kept what it may, with a model that the engine has kept.
    again: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
})
if (options.nearside === undefined) throw new Error('--nearside PROGRAM, the command line tool, is needed')

/** @param {string} text */
const say = (text) => process.stderr.write(`${text}\n`)

const adapters = readdirSync(join(HERE, 'adapters'))
  .map((file) => basename(file, '.ts'))
  .sort()
const engines = options.engines?.split(',') ?? adapters.filter((name) => !PEERS.includes(name))
const peers = engines.filter((name) => PEERS.includes(name))
if (peers.length > 0 && (options.converted === undefined || !existsSync(PACKAGES))) {
  const name = peers.join(',')
  throw new Error(`${name} and models for it have to be made first: \`cargo xtask bench --engines ${name}\` does, and measures`)
}
const folders = { assets: options.assets, models: join(ROOT, 'models') }
const models =
  options.models?.split(',') ?? DEFAULT_MODELS.filter((name) => folders.assets !== undefined || name.startsWith('digits:'))
const entries = models.flatMap((text) => {
  const found = find(text, folders)
  if (found.length === 0) throw new Error(`No model, variant and case is called '${text}'.`)
  return found
})
const threads = options.threads.split(',').map(Number)
const busy = Number(options.busy)
const rounds = Number(options.rounds)

const plans = mkdtempSync(join(tmpdir(), 'nearside-plans-'))

/**
 * Compiles a model ahead; gives the address of its plan, or of the model itself if it has none.
 * @param {import('./catalog.mjs').Entry} entry
 */
function compileAhead({ model: name, url }) {
  const [, prefix = '', path = ''] = url.match(/^\/(assets|models)\/(.*)$/) ?? []
  const plan = `${path.replaceAll('/', '_')}.plan`
  const model = join(prefix === 'models' ? folders.models : (options.assets ?? ''), path)
  try {
    execFileSync(options.nearside ?? '', ['compile', model, '--output', join(plans, plan), ...(COMPILED_FOR[name] ?? [])], {
      stdio: 'pipe',
    })
    return `/plans/${plan}`
  } catch (error) {
    say(`  ${url} has no plan: ${String(/** @type {{ stderr?: Buffer }} */ (error).stderr ?? error).trim()}`)
    return url
  }
}

// tfjs makes its workers of the text of its functions, which do not survive being minified.
await build({
  configFile: join(HERE, 'vite.config.ts'),
  build: { minify: !(Math.max(...threads) > 1 && peers.includes('tfjs')) },
})

/**
 * What pages are to do, and who waits for their answers.
 * @type {Map<string, { job: import('./page.js').Job, pause: number, settle: (body: string) => void }>}
 */
const jobs = new Map()
/** @type {Record<string, string>} */
const given = {}
if (folders.assets !== undefined) given['/assets/'] = folders.assets
if (options.converted !== undefined) given['/converted/'] = options.converted
const server = await serve(
  { ...given, '/models/': folders.models, '/plans/': plans, '/packages/': PACKAGES, '/': join(HERE, 'dist') },
  (request, response) => {
    const entry = jobs.get(request.url?.match(/^\/jobs\/(\d+)$/)?.[1] ?? '')
    if (entry === undefined) return false
    if (request.method === 'POST') {
      /** @type {Buffer[]} */
      const chunks = []
      request.on('data', (chunk) => chunks.push(chunk))
      request.on('end', () => {
        response.end()
        entry.settle(Buffer.concat(chunks).toString())
      })
    } else {
      response.setHeader('Cache-Control', 'no-store')
      response.setHeader('Content-Type', 'application/json')
      setTimeout(() => response.end(JSON.stringify(entry.job)), entry.pause)
    }
    return true
  },
  options.again ? 'max-age=3600' : undefined,
)
const browser = await launch(options.browser)

/**
 * @param {import('./page.js').Job} job
 * @param {string} [profile] of the browser
 * @param {number} [rest] milliseconds for which the page stays open afterwards
 * @returns {Promise<import('./page.js').Measurement>}
 */
async function measure(job, profile, rest = 0) {
  const id = String(jobs.size)
  /** @type {(body: string) => void} */
  let settle = () => undefined
  /** @type {(error: Error) => void} */
  let fail = () => undefined
  /** @type {Promise<string>} */
  const answer = new Promise((resolve, reject) => {
    settle = resolve
    fail = reject
  })
  jobs.set(id, { job, pause: profile === undefined ? 0 : SETTLE_MS, settle })
  const timer = setTimeout(() => fail(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS)
  // Whoever opens the page may give up before anybody waits for its answer.
  answer.catch(() => undefined)
  /** @type {() => Promise<void>} */
  let close = () => Promise.resolve()
  try {
    close = await browser.open(`${server.url}/index.html?job=${id}`, (text) => fail(new Error(text)), profile)
    const body = JSON.parse(await answer)
    if (body.error !== undefined) throw new Error(body.error)
    await sleep(rest)
    return body.measurement
  } finally {
    clearTimeout(timer)
    await close()
  }
}

/**
 * Two visits with one profile: the first, with how long the second took.
 * @param {import('./page.js').Job} job
 * @returns {Promise<import('./page.js').Measurement>}
 */
async function visitTwice(job) {
  const profile = mkdtempSync(join(tmpdir(), 'nearside-profile-'))
  try {
    const first = await measure(job, profile, SETTLE_MS)
    const { load_ms, first_ms } = await measure({ ...job, budget: 0, profile: false }, profile)
    return { ...first, again: { load_ms, first_ms } }
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** @type {import('./report.mjs').Result[]} */
const results = []
let failures = 0
say(
  `${browser.version}, ${rounds} rounds, ${threads.join(' and ')} thread${options.threads === '1' ? '' : 's'}${busy > 0 ? `, beside ${busy} busy processes` : ''}`,
)
const neighbours = Array.from({ length: busy }, () => spawn(process.execPath, ['--eval', BUSY], { stdio: 'ignore' }))
for (const neighbour of neighbours) neighbour.unref()
process.on('exit', () => neighbours.forEach((neighbour) => neighbour.kill()))
const turns = threads.flatMap((count) => engines.map((engine) => ({ engine, count })))
for (const entry of entries) {
  const name = `${entry.model} ${entry.variant} ${entry.case}`
  const plan = engines.includes('nearside') ? compileAhead(entry) : ''
  for (let round = 0; round < rounds; round++) {
    // The other way round every second time, so that no engine always runs on the warmer machine.
    for (const { engine, count } of round % 2 === 0 ? turns : turns.toReversed()) {
      const found = peers.includes(engine) ? task(engine, entry, options.converted ?? '') : entry
      if (found === undefined) {
        if (round === 0) say(`  ${engine} has no model for ${name}`)
        continue
      }
      try {
        const { url: model, inputs, expect, float } = found
        const what = { engine, model, plan, inputs, expect, float, keep: options.again }
        const job = { ...what, threads: count, worker: threads.length > 1, budget: BUDGET_MS, profile: options.profile }
        const measurement = await (options.again ? visitTwice(job) : measure(job))
        if (measurement.profile !== undefined && round === 0) say(`${name}, ${engine}\n${profileTable(measurement.profile)}`)
        const { model: of, variant, case: id, classifier } = entry
        results.push({ engine, model: of, variant, case: id, threads: count, classifier, measurement })
      } catch (error) {
        failures++
        say(`  ${engine}, ${name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
  say(`  ${name}`)
}
await browser.close()
server.close()
rmSync(plans, { recursive: true })

const summary = rows(results)
process.stdout.write(`${options.json ? JSON.stringify(summary, null, 1) : table(summary, engines)}\n`)
process.exitCode = failures > 0 ? 1 : 0
