/** The demo page with the real server: both sides answer, the edge goes on without the cloud, and the page says so. */

import type { Page } from '@playwright/test'

import { expect, Server, test } from './fixtures'

/** A 3 as a hand draws it, on a sheet whose sides are 0 to 1. */
const THREE = [
  [0.33, 0.24],
  [0.45, 0.17],
  [0.58, 0.18],
  [0.65, 0.27],
  [0.63, 0.38],
  [0.52, 0.46],
  [0.44, 0.48],
  [0.56, 0.5],
  [0.67, 0.59],
  [0.67, 0.72],
  [0.57, 0.81],
  [0.43, 0.82],
  [0.32, 0.75],
] as const

async function draw(page: Page, points: readonly (readonly [number, number])[]): Promise<void> {
  const pad = page.getByTestId('pad')
  await pad.scrollIntoViewIfNeeded()
  const box = await pad.boundingBox()
  if (box === null) throw new Error('the sheet is not visible')
  const at = ([x, y]: readonly [number, number]) => [box.x + x * box.width, box.y + y * box.height] as const
  const [first = [0, 0] as const, ...rest] = points
  await page.mouse.move(...at(first))
  await page.mouse.down()
  for (const point of rest) await page.mouse.move(...at(point), { steps: 4 })
  await page.mouse.up()
}

async function ready(page: Page): Promise<void> {
  await expect(page.getByTestId('edge-state')).toHaveText(/^Ready/)
  await expect(page.getByTestId('cloud-state')).toHaveText(/^Connected/)
}

/** Collects what the page asks of other hosts, and what it complains of. */
function watch(page: Page, home: string): { strangers: string[]; complaints: string[] } {
  const [strangers, complaints]: [string[], string[]] = [[], []]
  page.on('request', (request) => {
    if (new URL(request.url()).host !== new URL(home).host) strangers.push(request.url())
  })
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => {
    complaints.push(String(error))
  })
  return { strangers, complaints }
}

/** Movements of what was laid out already, other than right after a click or a key; counted from the start of the page. */
function layoutShift(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        let sum = 0
        const add = (entries: PerformanceEntryList): void => {
          for (const entry of entries as (PerformanceEntry & { value: number; hadRecentInput: boolean })[]) {
            if (!entry.hadRecentInput) sum += entry.value
          }
        }
        const observer = new PerformanceObserver((list) => {
          add(list.getEntries())
        })
        observer.observe({ type: 'layout-shift', buffered: true })
        setTimeout(() => {
          add(observer.takeRecords())
          resolve(sum)
        }, 200)
      }),
  )
}

test('draws a 3, sees 3 from both sides, goes offline, still predicts', async ({ page, server, context }) => {
  const { strangers, complaints } = watch(page, server.url)
  await page.goto('/')
  await ready(page)
  await expect(page.getByTestId('edge-digit')).toHaveText('–')

  await draw(page, THREE)
  await expect(page.getByTestId('edge-digit')).toHaveText('3')
  await expect(page.getByTestId('cloud-digit')).toHaveText('3')
  await expect(page.getByTestId('agreement')).toHaveText('Both say 3; their scores are identical, bit for bit.')
  await expect(page.getByTestId('edge-latency')).toHaveText(/ m?s$/)
  await expect(page.getByTestId('edge-sent')).toHaveText('0 bytes')
  await expect(page.getByTestId('cloud-sent')).toHaveText(/ [KM]B$/)
  await expect(page.getByTestId('cloud-anatomy')).toContainText(/network and browser \d.*queue \d.*computing \d/s)
  await expect(page.getByTestId('verdict-typical')).toContainText(/times faster|about the same/)
  await expect(page.getByTestId('classes')).toHaveAttribute('aria-label', /This device: 3 with .*the cloud: 3 with /)
  expect(strangers).toEqual([])
  expect(complaints).toEqual([])

  await context.setOffline(true)
  await page.getByTestId('clear').click()
  await draw(page, [
    [0.52, 0.15],
    [0.52, 0.5],
    [0.52, 0.85],
  ])
  await expect(page.getByTestId('edge-digit')).toHaveText('1')
  await expect(page.getByTestId('cloud-state')).toHaveText(/The cloud cannot be reached.* This device goes on\./)
  await expect(page.getByTestId('cloud-digit')).toHaveText('–')
  await expect(page.getByTestId('verdict-offline')).toContainText('does not answer now')

  await context.setOffline(false)
  await expect(page.getByTestId('cloud-digit')).toHaveText('1')
})

test('the edge goes on when the server stops, and the cloud comes back with it', async ({ page }) => {
  const server = await Server.start()
  await page.goto(server.url)
  await ready(page)
  await server.stop()
  await draw(page, THREE)
  await expect(page.getByTestId('edge-digit')).toHaveText('3')
  await expect(page.getByTestId('cloud-state')).toHaveText(/The cloud cannot be reached: .* This device goes on\./)
  const again = await Server.start(server.url)
  await expect(page.getByTestId('cloud-digit')).toHaveText('3', { timeout: 20_000 })
  await again.stop()
})

test('opens and predicts without a network once it was visited', async ({ page, context }) => {
  await page.goto('/')
  await expect(page.getByTestId('offline-note')).toHaveText(/opens without a network/)
  await context.setOffline(true)
  await page.reload()
  await expect(page.getByTestId('edge-state')).toHaveText(/^Ready/)
  await draw(page, THREE)
  await expect(page.getByTestId('edge-digit')).toHaveText('3')
  await expect(page.getByTestId('cloud-state')).toHaveText(/The cloud cannot be reached/)
  await expect(page.getByTestId('waterfall').locator('..')).toContainText('from an earlier visit')
})

test('the first answer comes soon after navigation, with nothing cached', async ({ browser, server }, info) => {
  const times: number[] = []
  for (let round = 0; round < 3; round++) {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(server.url)
    const shown = page.getByTestId('first-prediction')
    await expect(shown).toHaveText(/ m?s$/)
    const text = await shown.innerText()
    times.push(parseFloat(text) * (text.endsWith(' ms') ? 1 : 1000))
    await expect(page.getByTestId('waterfall')).toContainText(
      /Download model.*Download runtime|Download runtime.*Download model/s,
    )
    for (const step of ['Compile runtime', 'Start in a Worker', 'Bind the model', 'First run']) {
      await expect(page.getByTestId('waterfall')).toContainText(step)
    }
    await context.close()
  }
  const best = Math.min(...times)
  info.annotations.push({ type: 'first answer', description: `${times.map((ms) => ms.toFixed(0)).join(', ')} ms` })
  console.log(`    first answer after navigation: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms (goal: 300)`)
  // The goal is for a quiet machine; this bound only catches what is broken.
  expect(best).toBeLessThan(1500)
})

test('no task of the page takes 50 ms while the model loads and answers', async ({ browser, server }, info) => {
  const visits: number[][] = []
  // Tasks count as long from 50 ms on. A busy machine can make any task long, but not one in each of many visits.
  while (visits.length < 8 && !visits.some((tasks) => tasks.length === 0)) {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.addInitScript(() => {
      const tasks: number[] = []
      Object.assign(globalThis, { tasks })
      new PerformanceObserver((list) => {
        tasks.push(...list.getEntries().map(({ duration }) => duration))
      }).observe({ type: 'longtask', buffered: true })
    })
    await page.goto(server.url)
    await ready(page)
    for (const digit of ['3', '5', '8', '6', '2']) {
      await page.getByTestId(`example-${digit}`).click()
      await expect(page.getByTestId('edge-digit')).toHaveText(digit)
      await expect(page.getByTestId('cloud-digit')).toHaveText(digit)
    }
    visits.push(await page.evaluate(() => (globalThis as unknown as { tasks: number[] }).tasks))
    await context.close()
  }
  info.annotations.push({ type: 'long tasks', description: JSON.stringify(visits) })
  expect(visits, 'a visit without a long task').toContainEqual([])
})

test('simulated conditions delay the cloud alone, are labelled, and stand in the address', async ({ page }) => {
  await page.goto('/')
  await ready(page)
  await expect(page.getByTestId('simulated-tag')).toHaveText('as it is')
  await page.locator('input[name=preset][value=far]').check({ force: true })
  await expect(page.getByTestId('simulated-tag')).toHaveText('simulated')
  await expect(page.getByTestId('cloud-state')).toHaveText(/Simulated: 80 ms added round trip/)
  expect(new URL(page.url()).search).toBe('?rtt=80&jitter=20')
  await page.getByTestId('example-5').click()
  await expect(page.getByTestId('cloud-digit')).toHaveText('5')
  await expect(page.getByTestId('edge-digit')).toHaveText('5')
  await expect(page.getByTestId('cloud-anatomy')).toContainText(/simulated delay \d/)
  for (const digit of ['6', '8', '5']) {
    await page.getByTestId(`example-${digit}`).click()
    await expect(page.getByTestId('cloud-digit')).toHaveText(digit)
  }
  await expect(page.getByTestId('verdict-typical')).toContainText(/This device is .* simulated delays included/)
  await expect(page.getByTestId('verdict-crossover')).toContainText(
    /None: this device would win|The cloud wins while its way takes less than [\d.]+ ms; now it takes [\d.]+ ms/,
  )

  await expect(page.getByTestId('verdict-cost')).toContainText(/\$0\s+\$0\.0000\d+[^]*At \$0\.10 an hour/)
  await page.getByLabel('Assumed price of the server, in dollars per hour').fill('36')
  await expect(page.getByTestId('verdict-cost')).toContainText(/At \$36\.00 an hour, .* \$1 buys [\d.]+ (thousand|million)\./)
  await page.getByTestId('price').fill('')
  await expect(page.getByTestId('verdict-cost')).toContainText("Give the server's price below")

  await page.reload()
  await expect(page.getByTestId('rtt')).toHaveValue('80')
  await page.getByTestId('offline').check({ force: true })
  await expect(page.getByTestId('cloud-state')).toHaveText(/the simulated network is offline\. This device goes on/)
  await page.getByTestId('example-4').click()
  await expect(page.getByTestId('edge-digit')).toHaveText('4')
  await expect(page.getByTestId('cloud-digit')).toHaveText('–')
})

/** A digit that the page's own font draws, as a PNG file; kept under `picture` in the page. */
function makePicture(page: Page, digit: string, colours: { paper: string; ink: string }): Promise<void> {
  return page.evaluate(
    async ({ digit, colours }) => {
      const canvas = new OffscreenCanvas(300, 420)
      const context = canvas.getContext('2d')
      if (context === null) throw new Error('no canvas')
      context.fillStyle = colours.paper
      context.fillRect(0, 0, 300, 420)
      context.fillStyle = colours.ink
      context.font = '300px sans-serif'
      context.textAlign = 'center'
      context.fillText(digit, 150, 320)
      Object.assign(globalThis, { picture: await canvas.convertToBlob() })
    },
    { digit, colours },
  )
}

test('reads pictures that are pasted, dropped and chosen, and says what is none', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.goto('/')
  await ready(page)
  const digit = page.getByTestId('edge-digit')

  await makePicture(page, '4', { paper: '#f4efe2', ink: '#1d2a55' })
  await page.evaluate(() => {
    const { picture } = globalThis as unknown as { picture: Blob }
    return navigator.clipboard.write([new ClipboardItem({ 'image/png': picture })])
  })
  await page.keyboard.press('Control+V')
  await expect(digit).toHaveText('4')
  await expect(page.getByTestId('cloud-digit')).toHaveText('4')
  await page.getByTestId('clear').click()
  await expect(digit).toHaveText('–')

  // White on black, dropped anywhere on the page.
  await makePicture(page, '2', { paper: '#000', ink: '#fff' })
  const taken = await page.evaluate(() => {
    const { picture } = globalThis as unknown as { picture: Blob }
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([picture], '2.png', { type: 'image/png' }))
    return !document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
  })
  expect(taken).toBe(true)
  await expect(digit).toHaveText('2')

  const choose = (name: string, buffer: Buffer) =>
    page.getByTestId('picture-file').setInputFiles({ name, mimeType: 'image/png', buffer })
  await choose('broken.png', Buffer.from('no picture'))
  await expect(page.getByTestId('pad-hint')).toHaveText('This browser cannot read that as a picture; take a PNG or a JPEG.')
  await expect(digit).toHaveText('–')
  await makePicture(page, '7', { paper: 'transparent', ink: '#333' })
  const bytes = await page.evaluate(async () => [
    ...new Uint8Array(await (globalThis as unknown as { picture: Blob }).picture.arrayBuffer()),
  ])
  const [dialog] = await Promise.all([page.waitForEvent('filechooser'), page.getByTestId('picture').click()])
  await dialog.setFiles({ name: '7.png', mimeType: 'image/png', buffer: Buffer.from(bytes) })
  await expect(digit).toHaveText('7')
  await page.getByTestId('clear').click()
  await expect(page.getByTestId('pad-hint')).toHaveText(/^Draw a digit/)
})

test('the cloud can run the float model, and the page says how far the scores are apart', async ({ page }) => {
  await page.goto('/?model=digits')
  await ready(page)
  await page.getByTestId('example-2').click()
  await expect(page.getByTestId('cloud-digit')).toHaveText('2')
  await expect(page.getByTestId('agreement')).toHaveText(/^Both say 2; their scores differ by 0\.\d+ at most\.$/)
})

test('works by keyboard', async ({ page }) => {
  await page.goto('/')
  await ready(page)
  // Two links of the header come before.
  for (let i = 0; i < 3; i++) await page.keyboard.press('Tab')
  await expect(page.getByTestId('pad')).toBeFocused()
  for (const digit of ['0', '7', '8']) {
    await page.keyboard.press(digit)
    await expect(page.getByTestId('edge-digit')).toHaveText(digit)
    await expect(page.getByTestId('cloud-digit')).toHaveText(digit)
    await expect(page.getByTestId('spoken')).toHaveText(`This device says ${digit}. The cloud says ${digit}.`)
  }
  await page.keyboard.press('Delete')
  await expect(page.getByTestId('edge-digit')).toHaveText('–')
  // A 1 with the arrow keys: the pen goes down, draws, and is lifted.
  await page.keyboard.press(' ')
  for (let i = 0; i < 15; i++) await page.keyboard.press('ArrowDown')
  await page.keyboard.press(' ')
  await page.keyboard.press('ArrowRight')
  await expect(page.getByTestId('edge-digit')).toHaveText('1')
  await expect(page.getByTestId('cloud-digit')).toHaveText('1')
  await page.keyboard.press('Escape')
  await expect(page.getByTestId('cloud-digit')).toHaveText('–')
})

test('all examples are read as what they are', async ({ page }) => {
  await page.goto('/')
  await ready(page)
  for (let digit = 0; digit < 10; digit++) {
    await page.getByTestId(`example-${digit}`).click()
    await expect(page.getByTestId('spoken')).toHaveText(`This device says ${digit}. The cloud says ${digit}.`)
  }
})

test('copies the result as text with an address that repeats it', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.goto('/?rtt=20')
  await ready(page)
  await page.getByTestId('example-6').click()
  await expect(page.getByTestId('cloud-digit')).toHaveText('6')
  await page.getByTestId('copy').click()
  await expect(page.getByTestId('copy')).toHaveText('Copied')
  const text = await page.evaluate(() => navigator.clipboard.readText())
  expect(text).toContain(page.url())
  expect(text).toMatch(/Network: simulated, 20 ms added round trip\. The cloud runs digits\.int8\./)
  expect(text).toMatch(/First run: .* ms/)
})

test.describe('phone', () => {
  test.use({ viewport: { width: 360, height: 740 } })
  test('what is below the answers stays where it is when the cloud goes', async ({ page, server }) => {
    await page.goto('/')
    await ready(page)
    const top = () => page.getByTestId('plot').evaluate((node) => node.getBoundingClientRect().top + scrollY)
    const before = await top()
    await server.stop()
    await page.getByTestId('example-7').click()
    await expect(page.getByTestId('cloud-state')).toHaveText(/The cloud cannot be reached/)
    await expect(page.getByTestId('edge-digit')).toHaveText('7')
    expect(await top()).toBe(before)
  })
})

for (const { name, viewport, colorScheme } of [
  { name: 'phone, light', viewport: { width: 360, height: 740 }, colorScheme: 'light' },
  { name: 'phone, dark', viewport: { width: 360, height: 740 }, colorScheme: 'dark' },
  { name: 'desk, light', viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  { name: 'desk, dark', viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
] as const) {
  test.describe(name, () => {
    test.use({ viewport, colorScheme })
    test('fits, and nothing moves while it works', async ({ page }, info) => {
      await page.goto('/')
      await ready(page)
      await draw(page, THREE)
      await expect(page.getByTestId('cloud-digit')).toHaveText('3')
      await draw(page, [
        [0.4, 0.5],
        [0.6, 0.5],
      ])
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width)
      expect(await layoutShift(page)).toBeLessThan(0.001)
      const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      expect(dark === 'rgb(22, 21, 19)').toBe(colorScheme === 'dark')
      await page.screenshot({ path: info.outputPath('page.png'), fullPage: true })
    })
  })
}
