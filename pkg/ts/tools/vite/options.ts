/** Options of the plugin. */

import { InputError } from '../../errors.js'
import { describeValue } from '../../tensor.js'
import { checkSettled, type SettledByModel } from './settled.js'

/** What `nearside()` takes. */
export interface NearsideOptions {
  /**
   * Where declarations of imported models go: `true` (the default) puts `digits.onnx.d.ts` beside `digits.onnx`; the name of a folder, from
   * Vite's root, puts them there, as below the root (name it in `rootDirs` of `tsconfig.json`); `false` writes none.
   */
  readonly types?: boolean | string | undefined
  /** Folder in which plans are kept from build to build. Default `node_modules/.cache/nearside`. */
  readonly cacheDir?: string | undefined
  /**
   * What of a model is settled when it is compiled, by the end of the model's path: values of inputs that decide shapes or branches, and sizes of
   * open dimensions. Such as `{ 'vad.onnx': { values: { sr: 16000 } } }`.
   */
  readonly compile?: SettledByModel | undefined
}

const TYPES: { readonly [K in keyof NearsideOptions]-?: readonly [types: readonly string[], wanted: string] } = {
  types: [['boolean', 'string'], 'true, false, or the name of a folder'],
  cacheDir: [['string'], 'the name of a folder'],
  compile: [['object'], "{ 'model.onnx': { values: …, dimensions: … } }"],
}

/** Throws for an option that there is not, or that is of another type. */
export function checkOptions(options: NearsideOptions): void {
  if (typeof options !== 'object' || (options as object | null) === null)
    throw new InputError(`The options of nearside() are ${describeValue(options)}; give an object, or leave them out.`)
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (!Object.hasOwn(TYPES, name))
      throw new InputError(`The plugin nearside() has no option '${name}'; it has ${Object.keys(TYPES).join(', ')}.`)
    const [types, wanted] = TYPES[name as keyof NearsideOptions]
    if (value !== undefined && !types.includes(typeof value))
      throw new InputError(`The option ${name} of nearside() is ${describeValue(value)}; give ${wanted}.`)
  }
  if (options.compile !== undefined) checkSettled(options.compile)
}
