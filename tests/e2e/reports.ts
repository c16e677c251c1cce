/** Pages that work by themselves, in browsers without remote control, post what they found to `/report`. */

import type { IncomingMessage, ServerResponse } from 'node:http'

/** Takes what a page posts, and gives it to `report` when all of it is there. */
export function takeReport(request: IncomingMessage, response: ServerResponse, report: (body: string) => void): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.end()
    report(Buffer.concat(chunks).toString())
  })
}
