import { chromium } from 'playwright-core'
const [,, tag='a', w='1200', h='1500', scheme='light', query='', action='3'] = process.argv
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
const ctx = await b.newContext({ viewport: { width: +w, height: +h }, colorScheme: scheme, deviceScaleFactor: 1 })
const p = await ctx.newPage()
p.on('console', m => console.log('console', m.type(), m.text()))
p.on('pageerror', e => console.log('pageerror', e.message))
const hosts = new Set(); p.on('request', r => hosts.add(new URL(r.url()).host))
await p.goto('http://localhost:8097/' + query)
await p.evaluate(() => { window.cls = []; new PerformanceObserver(l => { for (const e of l.getEntries()) cls.push([e.value, e.hadRecentInput, e.sources.map(s=>s.node?.id||s.node?.className||s.node?.nodeName)]) }).observe({ type: 'layout-shift', buffered: true }) })
await p.waitForTimeout(1200)
console.log('first', await p.textContent('[data-testid=first-prediction]'))
for (const d of action.split('')) { if (d==='-') continue; await p.click(`[data-testid=example-${d}]`); await p.waitForTimeout(1300) ; console.log(d, await p.textContent('#edge-digit'), await p.textContent('#edge-sure'), await p.textContent('#cloud-digit'), await p.textContent('#agreement'), await p.textContent('#edge-took'), await p.textContent('#cloud-took')) }
await p.waitForTimeout(400)
console.log('cloud', await p.textContent('#cloud-state'), 'cls', JSON.stringify(await p.evaluate(() => cls)), [...hosts], 'isolated', await p.evaluate(()=>crossOriginIsolated), 'scrollw', await p.evaluate(()=>document.documentElement.scrollWidth))
await p.screenshot({ path: `/tmp/demo-dev/${tag}.png`, fullPage: true, ...(process.env.CLIP ? { clip: JSON.parse(process.env.CLIP) } : {}) })
await b.close()
