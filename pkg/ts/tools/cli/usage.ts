/** Arguments of a command: Node's parser, with errors that end in the exit status of wrong usage. */

import process from 'node:process'
import { parseArgs, type ParseArgsConfig } from 'node:util'

/** Wrong usage: exit status 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}

type Parsed<T extends ParseArgsConfig['options']> = ReturnType<
  typeof parseArgs<{ args: string[]; allowPositionals: true; options: T & { help: { type: 'boolean'; short: 'h' } } }>
>

/** The options and the one positional argument; `undefined` when help was asked for, which is then printed. */
export function parse<T extends NonNullable<ParseArgsConfig['options']>>(
  help: string,
  what: string,
  args: string[],
  options: T,
): { readonly values: Parsed<T>['values']; readonly target: string } | undefined {
  const all = { ...options, help: { type: 'boolean', short: 'h' } } as T & { help: { type: 'boolean'; short: 'h' } }
  let parsed: Parsed<T>
  try {
    parsed = parseArgs({ args, allowPositionals: true, options: all })
  } catch (error) {
    throw new UsageError(`${(error as Error).message.replace(/\.?$/, '.')}\n\n${help}`)
  }
  if ((parsed.values as { help?: boolean }).help === true) {
    process.stdout.write(help)
    return undefined
  }
  const [target, ...more] = parsed.positionals
  if (target === undefined) throw new UsageError(`Give ${what}.\n\n${help}`)
  if (more.length > 0)
    throw new UsageError(`Give one argument: ${more.join(' ')} ${more.length > 1 ? 'are' : 'is'} too much.\n\n${help}`)
  return { values: parsed.values, target }
}

/** An option that is a whole number from `least` to `most`. */
export function wholeNumber(
  name: string,
  text: string | undefined,
  preset: number,
  least = 1,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (text === undefined) return preset
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new UsageError(
      `--${name} is '${text}'; give a whole number from ${least} ${most === Number.MAX_SAFE_INTEGER ? 'on' : `to ${most}`}.`,
    )
  return value
}

/** What of a model is settled when it is compiled, as options of a command. */
export const SETTLED = {
  value: { type: 'string', multiple: true },
  dimension: { type: 'string', multiple: true },
} as const

/** Values of inputs, from `NAME=VALUE` each. */
export function inputValues(texts: readonly string[]): [name: string, value: string][] {
  return texts.map((text) => {
    const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? []
    if (name === undefined || value === undefined)
      throw new UsageError(`--value is '${text}'; give NAME=VALUE, such as rate=16000.`)
    return [name, value]
  })
}

/** Sizes of open dimensions, from `NAME=SIZE` each. */
export function dimensions(texts: readonly string[]): Map<string, number> {
  return new Map(
    texts.map((text) => {
      const [, name, size] = /^(.+)=(\d+)$/.exec(text) ?? []
      if (name === undefined) throw new UsageError(`--dimension is '${text}'; give NAME=SIZE, such as batch=8.`)
      return [name, Number(size)]
    }),
  )
}
