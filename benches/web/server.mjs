/** A small server of folders, whose pages are cross-origin isolated, for precise clocks. */

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'

/** @type {Record<string, string>} */
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
}

/**
 * @typedef {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => boolean} Handler
 *   Says whether it took the request.
 */

/**
 * Serves each folder below its prefix, on a free port of this machine.
 * @param {Record<string, string>} folders
 * @param {Handler} [handler] Asked first.
 * @param {string} [caching] What browsers may keep.
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function serve(folders, handler, caching = 'no-store') {
  const server = createServer((request, response) => {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    response.setHeader('Cache-Control', caching)
    if (handler?.(request, response)) return
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname))
    const prefix = Object.keys(folders).find((start) => path.startsWith(start))
    const folder = prefix === undefined ? undefined : folders[prefix]
    if (prefix === undefined || folder === undefined) {
      response.writeHead(404).end()
      return
    }
    const file = join(folder, path.slice(prefix.length) || 'index.html')
    stat(file).then(
      (info) => {
        if (!info.isFile()) {
          response.writeHead(404).end()
          return
        }
        response.writeHead(200, {
          'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
          'Content-Length': info.size,
          // By which the next visit knows that what it has kept is this.
          ...(caching === 'no-store' ? {} : { 'Last-Modified': info.mtime.toUTCString() }),
        })
        createReadStream(file).pipe(response)
      },
      () => response.writeHead(404).end(),
    )
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
