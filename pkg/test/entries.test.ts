/** What importing an entry of the package does: nothing, and at once. Needs `cargo xtask build`. */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = new URL('../', import.meta.url)
const { exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
  exports: Record<string, string | { default?: string }>
}
const entries = Object.entries(exports).flatMap(([name, target]): [string, string][] => {
  const path = typeof target === 'string' ? undefined : target.default
  // The Worker's script is no module to import: it listens.
  return path?.endsWith('.js') === true && name !== './worker.js' ? [[name, fileURLToPath(new URL(path, root))]] : []
})

/** Runs in a process of its own. `require` refuses modules that wait at their top level. */
function load(path: string): void {
  const calls: string[] = []
  const watch = (owner: object, name: string): void => {
    Object.defineProperty(owner, name, { value: () => calls.push(name), configurable: true, writable: true })
  }
  for (const name of ['fetch', 'Worker', 'setTimeout', 'setInterval', 'setImmediate', 'addEventListener', 'postMessage'])
    watch(globalThis, name)
  for (const name of ['compile', 'instantiate', 'validate', 'Module', 'Memory']) watch(WebAssembly, name)
  for (const name of ['log', 'info', 'warn', 'error']) watch(console, name)
  const before = new Set(Object.getOwnPropertyNames(globalThis))
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- it is the test
  require(path)
  const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name))
  process.stdout.write(JSON.stringify({ calls, added }))
}

it('are all looked at', () => {
  expect(entries.map(([name]) => name)).toEqual(['.', './inline', './ort', './audio', './post', './digits', './vite'])
})

it.each(entries)('importing %s does nothing', (_, path) => {
  expect(existsSync(path), 'The package is not built: run `cargo xtask build` first.').toBe(true)
  const script = `(${load.toString()})(${JSON.stringify(path)})`
  const said = execFileSync(process.execPath, ['--no-warnings', '--eval', script], { encoding: 'utf8' })
  expect(JSON.parse(said)).toEqual({ calls: [], added: [] })
})
