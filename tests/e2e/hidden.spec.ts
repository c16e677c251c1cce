/** A page that another tab hides goes on answering. */

import { join } from 'node:path'

import { expect, test } from '@playwright/test'

import { serve } from '../../benches/web/server.mjs'

const ROOT = join(import.meta.dirname, '../..')
const FOLDERS = {
  '/package/': join(ROOT, 'pkg/dist'),
  '/public/': join(ROOT, 'www/public'),
  '/': join(import.meta.dirname, 'blank'),
}

/** One run after the other, each of them told to the server. */
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  const report = (run) => fetch('/report', { method: 'POST', body: JSON.stringify({ ...run, visibility: document.visibilityState }) })
  try {
    const { Model } = await import('/package/index.js')
    const model = await Model.load('/public/digits.int8.plan')
    for (;;) {
      const { logits } = await model.run(new Float32Array(784).fill(0.5))
      await report({ answer: String(logits.data) })
    }
  } catch (error) {
    await report({ error: String(error) })
  }
</script>`

interface Run {
  readonly answer?: string
  readonly error?: string
  readonly visibility: DocumentVisibilityState
}

test('a page behind another tab goes on answering, and so when it is back', async ({ browser }) => {
  const runs: Run[] = []
  const server = await serve(FOLDERS, (request, response) => {
    if (request.url === '/answers') {
      response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE)
    } else if (request.url === '/report') {
      let body = ''
      request.on('data', (part: Buffer) => (body += part.toString()))
      request.on('end', () => {
        runs.push(JSON.parse(body) as Run)
        response.end()
      })
    } else return false
    return true
  })
  // Playwright tells its own pages that they are seen and focused, always: these tabs are opened behind its back, and tell the server about themselves.
  const devtools = await browser.newBrowserCDPSession()
  const { browserContextId } = await devtools.send('Target.createBrowserContext')
  const openTab = async (path: string): Promise<string> =>
    (await devtools.send('Target.createTarget', { url: `${server.url}${path}`, browserContextId })).targetId
  const next = (visibility: DocumentVisibilityState, count: number) => {
    const before = runs.length
    return expect
      .poll(() => runs.slice(before).filter((run) => run.visibility === visibility && run.answer !== undefined).length)
      .toBeGreaterThan(count)
  }
  try {
    const tab = await openTab('/answers')
    await next('visible', 5)
    await openTab('/')
    await next('hidden', 50)
    await devtools.send('Target.activateTarget', { targetId: tab })
    await next('visible', 5)
    expect(runs.flatMap(({ error }) => error ?? [])).toEqual([])
    expect(new Set(runs.map(({ answer }) => answer)).size).toBe(1)
  } finally {
    await devtools.send('Target.disposeBrowserContext', { browserContextId })
    await devtools.detach()
    server.close()
  }
})
