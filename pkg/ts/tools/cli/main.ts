#!/usr/bin/env node
/** `nearside`: what developers do with models, on their own machine. */

import { readFileSync } from 'node:fs'
import process from 'node:process'

import { MANIFEST } from '../package-files.js'
import { COMMANDS } from './commands.js'
import { UsageError } from './usage.js'

const HELP = `Usage: nearside COMMAND …

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(14)}${summary}`)
  .join('\n')}

nearside COMMAND --help tells the options of a command, nearside --version this version.
`

async function main([name, ...rest]: string[]): Promise<number> {
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string }
    process.stdout.write(`nearside ${version}\n`)
    return 0
  }
  if (name === 'help' && rest.length > 0) return main([...rest, '--help'])
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP)
    return name === undefined ? 2 : 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) throw new UsageError(`There is no command '${name}'; there are ${Object.keys(COMMANDS).join(', ')}.`)
  const { run } = await command.load()
  return run(rest)
}

/** An error as a sentence; one that nobody foresaw with the place where it came from. */
function text(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const unforeseen = ['Error', 'TypeError', 'RangeError', 'ReferenceError'].includes(error.name) && !('code' in error)
  return unforeseen ? (error.stack ?? error.message) : error.message
}

// Whoever reads may have seen enough, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status
  },
  (error: unknown) => {
    process.stderr.write(`error: ${text(error)}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  },
)
