/** What of a model is settled when it is compiled: the plugin's option `compile`. */

import { relative, sep } from 'node:path'

import { InputError } from '../../errors.js'
import { describeValue } from '../../tensor.js'
import type { Job } from '../compiler/job.js'

/** An element of an input's value. */
export type Element = number | bigint | boolean

/** What of a model is settled when it is compiled. */
export interface Settled {
  /** Values of inputs that decide shapes or branches, by name; the plan takes these alone. Elements of a tensor are a flat list. */
  readonly values?: { readonly [input: string]: Element | readonly Element[] } | undefined
  /** Sizes of open dimensions, by name, for a model that makes sense for some sizes only. */
  readonly dimensions?: { readonly [dimension: string]: number } | undefined
}

/** By the end of a model's path: `vad.onnx`, `speech/vad.onnx`. */
export type SettledByModel = { readonly [model: string]: Settled }

/** The same as the compiler takes it. */
export type SettledTexts = { readonly [K in 'values' | 'dimensions']: NonNullable<Job[K]> }

/** What is settled of the model in a file, as the compiler takes it. The longest name that fits counts. */
export function settledOf(all: SettledByModel, root: string, file: string): SettledTexts {
  const path = `/${relative(root, file).split(sep).join('/')}`
  const names = Object.keys(all).filter((name) => path.endsWith(`/${plain(name)}`))
  const [name] = names.sort((a, b) => plain(b).length - plain(a).length)
  const { values = {}, dimensions = {} } = (name !== undefined && all[name]) || {}
  return {
    values: Object.entries(values).map(([input, value]) => [input, Array.isArray(value) ? value.join(',') : String(value)]),
    dimensions: Object.entries(dimensions),
  }
}

/** `./vad.onnx` and `/vad.onnx` are `vad.onnx`. */
const plain = (name: string): string => name.replace(/^\.?\//, '')

/** The compiler's sentence about options of a command, about the option of the plugin instead. */
export function asOption(message: string, name: string): string {
  return message.replace(/`nearside compile` with ((?:--(?:value|dimension) .+?=… ?)+)/, (_, options: string) => {
    const member = (kind: string): string => {
      const names = [...options.matchAll(new RegExp(`--${kind} (.+?)=…`, 'g'))].map(([, found = '']) => `${key(found)}: …`)
      return names.length > 0 ? `${kind}s: { ${names.join(', ')} }` : ''
    }
    const members = ['value', 'dimension'].map(member).filter((text) => text !== '')
    return `In vite.config, nearside({ compile: { '${name}': { ${members.join(', ')} } } }) `
  })
}

const key = (name: string): string => (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : `'${name}'`)

/** Throws for a value of the option that is of another type. */
export function checkSettled(all: unknown): void {
  const at = 'The option compile of nearside()'
  if (!isRecord(all)) throw new InputError(`${at} is ${describeValue(all)}; give { 'model.onnx': { values: …, dimensions: … } }.`)
  for (const [model, settled] of Object.entries(all)) {
    if (!isRecord(settled))
      throw new InputError(`${at} has ${describeValue(settled)} for '${model}'; give { values: …, dimensions: … }.`)
    for (const [name, given] of Object.entries(settled)) {
      if (name !== 'values' && name !== 'dimensions')
        throw new InputError(`${at} has '${name}' for '${model}'; it takes values and dimensions.`)
      if (given === undefined) continue
      if (!isRecord(given)) throw new InputError(`${at} has ${describeValue(given)} as ${name} for '${model}'; give an object.`)
      const fits = name === 'values' ? isValue : isSize
      const wanted = name === 'values' ? 'a number, a bigint, a boolean, or a list of them' : 'a whole number from 0 up'
      for (const [part, value] of Object.entries(given))
        if (!fits(value)) throw new InputError(`${at} has ${describeValue(value)} for '${part}' of '${model}'; give ${wanted}.`)
    }
  }
}

const isRecord = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)
const isElement = (value: unknown): boolean => ['number', 'bigint', 'boolean'].includes(typeof value)
const isValue = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 && value.every(isElement) : isElement(value)
const isSize = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
