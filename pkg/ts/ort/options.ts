/** Session options: which take effect here, which may be ignored in silence, and which are worth a word. */

import { providerNames } from './backend.js'
import { warn } from './env.js'
import type { InferenceSession } from './session-types.js'

type Options = InferenceSession.SessionOptions

/** Hints that change nothing about the results. */
const HINTS: ReadonlySet<string> = new Set([
  'executionProviders',
  'intraOpNumThreads',
  'interOpNumThreads',
  'freeDimensionOverrides',
  'graphOptimizationLevel',
  'enableCpuMemArena',
  'enableMemPattern',
  'executionMode',
  'enableProfiling',
  'profileFilePrefix',
  'logId',
  'logSeverityLevel',
  'logVerbosityLevel',
  'externalData',
])

const UNSUPPORTED: { readonly [name: string]: string } = {
  optimizedModelFilePath: 'the optimized model is not written; `nearside compile` makes a plan',
  enableGraphCapture: 'there are no graphics commands to capture',
  extra: "onnxruntime's configuration entries have no meaning here",
}

/** Execution providers that mean the CPU. */
const CPU: ReadonlySet<string> = new Set(['cpu', 'wasm', 'nearside'])

const reported = new Set<string>()

/** Throws for values that onnxruntime-web refuses too, and reports once what has no effect. */
export function checkOptions(options: Options): void {
  checkValues(options)
  const say = (message: string): void => {
    if (reported.has(message)) return
    reported.add(message)
    warn(message, options.logSeverityLevel)
  }
  for (const [name, value] of Object.entries(options)) {
    if ((value ?? false) === false || HINTS.has(name)) continue
    if (name === 'preferredOutputLocation') {
      const places = typeof value === 'string' ? [value] : Object.values(value as { [output: string]: string })
      if (places.some((place) => place !== 'cpu' && place !== 'cpu-pinned'))
        say('the session option preferredOutputLocation is ignored: outputs are on the CPU.')
    } else {
      const why = Object.hasOwn(UNSUPPORTED, name) ? UNSUPPORTED[name] : 'it is not known'
      say(`the session option ${name} is ignored: ${why}.`)
    }
  }
  for (const name of providerNames(options)) {
    if (!CPU.has(name)) say(`the execution provider '${name}' is not there: the model runs on the CPU, in WebAssembly.`)
  }
}

function checkValues(options: Options): void {
  const { graphOptimizationLevel: level, executionMode: mode, logSeverityLevel, logVerbosityLevel } = options
  if (level !== undefined && !['disabled', 'basic', 'extended', 'layout', 'all'].includes(level))
    throw new Error(`unsupported graph optimization level: ${String(level)}`)
  if (mode !== undefined && !['sequential', 'parallel'].includes(mode))
    throw new Error(`unsupported execution mode: ${String(mode)}`)
  checkLogging({ logSeverityLevel, logVerbosityLevel })
  for (const [name, size] of Object.entries(options.freeDimensionOverrides ?? {})) {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new Error(`free dimension override value must be a non-negative integer: ${String(size)} for '${name}'`)
  }
}

/** Levels of logging, of a session or of a run. */
export function checkLogging(options: { logSeverityLevel?: number | undefined; logVerbosityLevel?: number | undefined }): void {
  const { logSeverityLevel: severity, logVerbosityLevel: verbosity } = options
  if (severity !== undefined && ![0, 1, 2, 3, 4].includes(severity))
    throw new Error(`log severity level is not valid: ${String(severity)}`)
  if (verbosity !== undefined && !(Number.isInteger(verbosity) && verbosity >= 0))
    throw new Error(`log verbosity level is not valid: ${String(verbosity)}`)
}
