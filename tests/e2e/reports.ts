/** Pages that work by themselves, in browsers without remote control (Playwright drives only its own build of Firefox), post what they found to `/report`. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import { launch } from '../../benches/web/browsers.mjs'

/** Takes what a page posts, and gives it to `report` when all of it is there. */
export function takeReport(request: IncomingMessage, response: ServerResponse, report: (body: string) => void): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.end()
    report(Buffer.concat(chunks).toString())
  })
}

/** The reports of pages, one page at a time. */
export class Reports {
  #settle: { resolve(body: string): void; reject(error: Error): void } | undefined

  /** Takes what the page under test posts to `/report`. */
  take(request: IncomingMessage, response: ServerResponse): void {
    takeReport(request, response, (body) => this.#settle?.resolve(body))
  }

  /** Opens a page in a browser, `chromium` or `firefox`, and gives what it reports. */
  async visit(browser: string, url: string, preferences: Readonly<Record<string, boolean | number>> = {}): Promise<unknown> {
    const reported = new Promise<string>((resolve, reject) => (this.#settle = { resolve, reject }))
    const opened = await launch(browser, preferences)
    const close = await opened.open(url, (text) => this.#settle?.reject(new Error(text)))
    try {
      return JSON.parse(await reported)
    } finally {
      await close()
      await opened.close()
    }
  }
}
