/** `nearside serve-static dist --isolated` */

import { existsSync, realpathSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve, sep } from 'node:path'
import process from 'node:process'

import { mimes } from 'mrmime'
import sirv from 'sirv'

import { InputError } from '../../errors.js'
import { parse, wholeNumber } from './usage.js'

const HELP = `Usage: nearside serve-static DIR [--port N] [--host ADDRESS] [--isolated]

Serves a folder over HTTP, to try a page: with ranges, and what lies beside a file as .br or .gz in its place.

  -p, --port N      8080 if not given; 0 for one that is free
  --host ADDRESS    127.0.0.1 if not given, so that no other machine reaches it
  --isolated        With the headers that a page needs for threads (COOP and COEP)
`

export async function run(args: string[]): Promise<number> {
  const parsed = parse(HELP, 'the folder to serve', args, {
    port: { type: 'string', short: 'p' },
    host: { type: 'string' },
    isolated: { type: 'boolean' },
  })
  if (parsed === undefined) return 0
  const { values, target } = parsed
  const port = wholeNumber('port', values.port, 8080, 0, 65_535)
  const host = values.host ?? '127.0.0.1'
  const isolated = values.isolated === true
  const server = createServer(staticFiles(target, isolated))
  await listen(server, port, host)
  const { port: given } = server.address() as AddressInfo
  const at = `http://${host.includes(':') ? `[${host}]` : host}:${given}/`
  process.stdout.write(`Serving ${target} at ${at}${isolated ? ' (cross-origin isolated)' : ''}; Ctrl-C ends it.\n`)
  await new Promise((end) => ['SIGINT', 'SIGTERM'].forEach((signal) => process.once(signal, end)))
  server.close()
  server.closeAllConnections()
  return 0
}

/** Answers requests with the files of a folder. */
export function staticFiles(folder: string, isolated: boolean): RequestListener {
  const root = resolve(folder)
  if (!existsSync(root) || !statSync(root).isDirectory())
    throw new InputError(`There is no folder ${folder}; give the one that holds the page.`)
  for (const type of ['onnx', 'plan', 'npy', 'bin', 'data']) mimes[type] ??= 'application/octet-stream'
  // Looks at the disk at every request, and lets the browser ask whether a file has changed.
  const files = sirv(root, { dev: true, etag: true, brotli: true, gzip: true })
  const home = realpathSync(root)
  return (request, response) => {
    if (isolated) isolate(response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return
    }
    if (!allowed(request, home)) {
      response.writeHead(404).end()
      return
    }
    // Ranges are of the file itself; other forms of them, such as several at once, may be answered with all of it.
    if (/^bytes=\d+-\d*$/.test(request.headers.range ?? '')) delete request.headers['accept-encoding']
    else delete request.headers.range
    files(request, response)
  }
}

function isolate(response: ServerResponse): void {
  response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
  response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
}

/** No hidden files (keys and settings are among them), and nothing to which a link leads out of the folder. */
function allowed(request: IncomingMessage, home: string): boolean {
  let path: string
  try {
    path = decodeURI((request.url ?? '/').replace(/[?#].*/s, ''))
  } catch {
    return false
  }
  const names = path.split(/[/\\]/).filter((name) => name !== '')
  if (path.includes('\0') || names.some((name) => name.startsWith('.') && name !== '.well-known')) return false
  const file = join(home, ...names)
  const candidates = ['', '.html', '.htm', '/index.html', '/index.htm', '/index'].flatMap((end) =>
    ['', '.br', '.gz'].map((packed) => `${file}${end}${packed}`),
  )
  const inside = (real: string): boolean => real === home || real.startsWith(home.endsWith(sep) ? home : home + sep)
  return candidates.every((candidate) => !existsSync(candidate) || inside(realpathSync(candidate)))
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      fail(
        new InputError(
          cause.code === 'EADDRINUSE'
            ? `Port ${port} of ${host} is taken; choose another one with --port, or 0 for one that is free.`
            : `The server cannot listen at ${host}, port ${port} (${cause.message}).`,
          { cause },
        ),
      ),
    )
    server.listen(port, host, done)
  })
}
