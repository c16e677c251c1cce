/** The benchmark page's gallery of mistakes, with the headers for threads and without, in real browsers: each has its sentence, and the next run is right. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from '@playwright/test'

import { type Handler, serve } from '../../benches/web/server.mjs'
import { Reports } from './reports.ts'

const DIST = join(import.meta.dirname, '../../www/dist')

interface Report {
  readonly isolated: boolean
  readonly said: string
  readonly rows: readonly { readonly title: string; readonly name: string; readonly sentence: string; readonly well: boolean }[]
  readonly result: { readonly error?: string; readonly sides?: readonly { readonly description: string }[] }
}

/** The class that each mistake must have. */
const CLASSES: Readonly<Record<string, string>> = {
  'A picture of the wrong size': 'InputError',
  'Too few numbers': 'InputError',
  'Integers for an input of floats': 'InputError',
  'A misspelt input': 'InputError',
  'No input at all': 'InputError',
  'An array that was given away (detached)': 'InputError',
  'A model that was disposed': 'DisposedError',
  'A run that was aborted': 'AbortError',
  'A damaged plan': 'PlanError',
  'Half a plan': 'PlanError',
  'A picture in place of a model': 'ModelFormatError',
  'A web page in place of a model': 'ModelFormatError',
  'An address that answers 404': 'NetworkError',
  'A server that is not there': 'NetworkError',
  'Other bytes than were promised (integrity)': 'IntegrityError',
  'A model over the limits': 'LimitError',
  'An option that makes no sense': 'InputError',
  'A server without that model': 'NetworkError',
}

/** Presses the page's buttons and reports. Runs in the page, so it stands for itself. */
async function drive(): Promise<void> {
  const byId = (id: string): HTMLElement => document.getElementById(id) as HTMLElement
  const until = async (test: () => boolean): Promise<void> => {
    while (!test()) await new Promise((resolve) => setTimeout(resolve, 50))
  }
  byId('gallery-all').click()
  await until(() => /mistakes had/.test(byId('gallery-state').textContent))
  const rows = [...document.querySelectorAll('#gallery li')].map((row) => ({
    title: row.querySelector('button')?.textContent,
    name: row.querySelector('code')?.textContent,
    sentence: row.querySelector('.outcome p')?.textContent,
    well: row.querySelector('.well') !== null,
  }))
  byId('run').click()
  await until(() => globalThis.result !== undefined)
  const report = { isolated: crossOriginIsolated, said: byId('isolation').textContent, rows, result: globalThis.result }
  await fetch('/report', { method: 'POST', body: JSON.stringify(report) })
}
declare global {
  var result: unknown
}

const reports = new Reports()

/** The built pages, with the script that drives them, and with the headers that `nearside serve` gives. */
const pages: Handler = (request, response) => {
  const path = request.url?.replace(/[?#].*$/, '')
  if (path === '/report') {
    reports.take(request, response)
    return true
  }
  if (path === '/bench/drive.js') {
    response.setHeader('Content-Type', 'text/javascript')
    response.end(`(${drive.toString()})()`)
    return true
  }
  const [, name] = /^\/bench\/(index|one-thread)\.html$/.exec(path ?? '') ?? []
  if (name === undefined) return false
  if (name === 'one-thread') {
    response.removeHeader('Cross-Origin-Opener-Policy')
    response.removeHeader('Cross-Origin-Embedder-Policy')
  }
  response.setHeader('Content-Type', 'text/html; charset=utf-8')
  response.end(`${readFileSync(join(DIST, 'bench', `${name}.html`), 'utf8')}<script type="module" src="drive.js"></script>`)
  return true
}

let server: Awaited<ReturnType<typeof serve>>
test.beforeAll(async () => {
  server = await serve({ '/': DIST }, pages)
})
test.afterAll(() => {
  server.close()
})

for (const browser of ['chromium', 'firefox'] as const) {
  for (const name of ['index', 'one-thread'] as const) {
    test(`${browser}: ${name}.html names every mistake, and goes on`, async () => {
      const { isolated, said, rows, result } = (await reports.visit(
        browser,
        `${server.url}/bench/${name}.html?n=2&rounds=1&threads=2`,
      )) as Report
      for (const { title, name, sentence, well } of rows) {
        expect.soft(name, title).toBe(CLASSES[title])
        expect.soft(sentence, title).toMatch(/^\w+Error .{15,}/)
        expect.soft(well, `the run after: ${title}`).toBe(true)
      }
      expect(rows.map(({ title }) => title)).toEqual(Object.keys(CLASSES))
      expect(result.error).toBeUndefined()
      expect(isolated).toBe(name === 'index')
      expect(said).toMatch(isolated ? /several threads/ : /comes without COOP and COEP: everything works, on one thread/)
      expect(result.sides?.[0]?.description).toContain(isolated ? '2 threads' : 'one thread')
    })
  }
}
