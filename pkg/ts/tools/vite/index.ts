/**
 * A plugin for Vite: `import digits from './digits.onnx'` gives the address of the model's plan, which is compiled at build time.
 *
 * @example
 * // vite.config.ts
 * import { nearside } from 'nearside/vite'
 * export default defineConfig({ plugins: [nearside()] })
 */

import { createReadStream, existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

import type { Plugin, ResolvedConfig } from 'vite'

import { NearsideError, UnsupportedError } from '../../errors.js'
import { writeWhole } from '../compiler/write.js'
import { declarations } from './declarations.js'
import { checkOptions, type NearsideOptions } from './options.js'
import { type CompiledModel, planOf } from './plans.js'
import { asOption, settledOf } from './settled.js'

export type { NearsideOptions } from './options.js'
export type { Element, Settled, SettledByModel } from './settled.js'

/** Where the development server has plans. */
const PREFIX = '@nearside/'

/** The plugin. Give it to `worker.plugins`, too, where a Worker's code imports models. */
export function nearside(options: NearsideOptions = {}): Plugin {
  checkOptions(options)
  let config: ResolvedConfig
  let cache: string
  /** Plans that the development server has told of, by their path below the prefix. */
  const served = new Map<string, string>()
  /** Models by the files in which they keep weights. */
  const models = new Map<string, Set<string>>()

  /** Address of a plan for the page that the development server serves, or for code that runs in Node. */
  function devAddress(model: CompiledModel, name: string, ssr: boolean): string {
    if (ssr) return JSON.stringify(pathToFileURL(model.path).href)
    const place = `${model.digest}/${name}`
    served.set(place, model.path)
    // Whole, for whoever has another base, such as a Worker. Vite would take the usual expression for a file of the project.
    return `((here) => new URL(${JSON.stringify(`${config.base}${PREFIX}${encodeURI(place)}`)}, here).href)(import.meta.url)`
  }

  async function declare(file: string, model: CompiledModel): Promise<void> {
    const { types = true } = options
    if (types === false || file.split(/[/\\]/).includes('node_modules')) return
    const place = typeof types === 'string' ? join(resolve(config.root, types), relative(config.root, file)) : file
    const path = `${place}.d.ts`
    const text = declarations(basename(file), model)
    if (existsSync(path) && (await readFile(path, 'utf8')) === text) return
    await writeWhole(path, [Buffer.from(text)]).catch((error: unknown) => {
      config.logger.warn(`nearside: the declarations of ${file} cannot be written (${String(error)}); set the option types.`)
    })
  }

  return {
    name: 'nearside',
    // Before Vite's own plugins, which take an unknown extension for JavaScript.
    enforce: 'pre',

    config: () => ({
      // The package finds its Worker and its WebAssembly beside its own files, which pre-bundling would move.
      optimizeDeps: { exclude: ['nearside'] },
    }),

    configResolved(resolved) {
      config = resolved
      cache = resolve(config.root, options.cacheDir ?? join(nodeModules(config.root), '.cache/nearside'))
    },

    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const place = planRequest(request, server.config.base)
        const path = place === undefined ? undefined : served.get(place)
        if (path === undefined) next()
        else sendPlan(path, response)
      })
    },

    handleHotUpdate({ file, modules, server }) {
      const changed = [...(models.get(file) ?? [])].flatMap((model) => [...(server.moduleGraph.getModulesByFile(model) ?? [])])
      return changed.length > 0 ? [...modules, ...changed] : undefined
    },

    async load(id, { ssr = false } = {}) {
      const file = modelFile(id)
      if (file === undefined) return undefined
      this.addWatchFile(file)
      let model: CompiledModel
      try {
        model = await planOf(file, cache, settledOf(options.compile ?? {}, config.root, file))
      } catch (error) {
        if (!(error instanceof NearsideError)) throw error
        const remedy = error instanceof UnsupportedError ? ` That is what import './${basename(file)}?url' gives.` : ''
        const message = asOption(error.message.replaceAll(`${config.root}/`, ''), basename(file))
        this.error({ message: message + remedy, id: file })
      }
      for (const path of model.files) {
        this.addWatchFile(path)
        models.set(path, (models.get(path) ?? new Set()).add(file))
      }
      await declare(file, model)
      const name = `${basename(file, '.onnx')}.plan`
      const address =
        config.command === 'serve'
          ? devAddress(model, name, ssr)
          : `import.meta.ROLLUP_FILE_URL_${this.emitFile({ type: 'asset', name, source: await readFile(model.path) })}`
      const { inputs, outputs } = model.description
      return {
        code: [
          `export default ${address}`,
          `export const integrity = ${JSON.stringify(model.integrity)}`,
          `export const inputs = ${JSON.stringify(inputs)}`,
          `export const outputs = ${JSON.stringify(outputs)}`,
        ].join('\n'),
        map: null,
        moduleSideEffects: false,
      }
    },
  }
}

export default nearside

/** The model that an import means: `x.onnx` and `x.onnx?plan`. Others, such as `x.onnx?url`, are Vite's own matter. */
function modelFile(id: string): string | undefined {
  const [file = '', query = ''] = id.split('?', 2)
  if (!file.endsWith('.onnx') || !isAbsolute(file)) return undefined
  // The development server adds the time of a change, and a mark for what is imported.
  const asked = query.split('&').filter((part) => part !== '' && part !== 'import' && !/^[tv]=/.test(part))
  return asked.every((part) => part === 'plan' || part === 'plan=') ? file : undefined
}

function planRequest({ url = '' }: IncomingMessage, base: string): string | undefined {
  const path = url.replace(/[?#].*/s, '')
  // Vite takes the base off before it asks its plugins.
  const start = ['/', base].map((before) => before + PREFIX).find((before) => path.startsWith(before))
  if (start === undefined) return undefined
  try {
    return decodeURI(path.slice(start.length))
  } catch {
    return undefined
  }
}

function sendPlan(path: string, response: ServerResponse): void {
  response.setHeader('Content-Type', 'application/octet-stream')
  // The address changes with the content.
  response.setHeader('Cache-Control', 'max-age=31536000, immutable')
  createReadStream(path)
    .on('error', (error) => response.destroy(error))
    .pipe(response)
}

/** The nearest folder of packages, from the root upwards; the root's, if there is none yet. */
function nodeModules(root: string): string {
  for (let folder = root; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules')
    if (existsSync(found)) return found
    if (dirname(folder) === folder) return join(root, 'node_modules')
  }
}
