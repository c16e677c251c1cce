/** Each test that asks for `server` has one of its own, with the demo page and the models, and may stop and start it. */

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { test as base } from '@playwright/test'

export { expect } from '@playwright/test'

const ROOT = join(import.meta.dirname, '../..')

/** The program under test; `cargo xtask test` builds it and says where. */
const PROGRAM = process.env['NEARSIDE_SERVER'] ?? join(ROOT, 'target/release/nearside')

/** `nearside serve` with the models of the repository and the built demo page. */
export class Server {
  #process: ChildProcess
  readonly url: string

  private constructor(process: ChildProcess, url: string) {
    this.#process = process
    this.url = url
  }

  /** Starts on a free port, or on the one of an earlier `url`. */
  static async start(url?: string): Promise<Server> {
    const port = url === undefined ? '0' : new URL(url).port
    const child = spawn(PROGRAM, ['serve', 'models', '--port', port, '--static', 'www/dist'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ready = new Promise<string>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code) => {
        reject(new Error(`${PROGRAM} ended with ${String(code)} before it listened`))
      })
      createInterface({ input: child.stdout }).on('line', (line) => {
        const found = /https?:\/\/\S+/.exec(line)
        if (found !== null) resolve(found[0])
      })
    })
    return new Server(child, await ready)
  }

  /** Ends it as Ctrl-C does, and waits until the port is free. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.kill('SIGINT')
    // Connections that a page keeps open must not hold up the test: give them a moment only.
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 3000)
    await ended
    clearTimeout(timer)
  }
}

export const test = base.extend<{ server: Server }>({
  // Playwright reads the dependencies of a fixture from this pattern.
  // eslint-disable-next-line no-empty-pattern
  server: async ({}, use) => {
    const server = await Server.start()
    await use(server)
    await server.stop()
  },
  baseURL: async ({ server }, use) => {
    await use(server.url)
  },
})
