/** Builds the applications of this folder with Vite: as they are, and with one alias that puts Nearside in onnxruntime-web's place. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import { build } from 'vite'

export const OUTPUT = join(import.meta.dirname, 'output')

/** Which engine an application gets. */
export type Engine = 'nearside' | 'onnxruntime'

/** The one line that changes an application. */
const ALIAS = { app: 'onnxruntime-web', transformers: 'onnxruntime-web/webgpu' }

/** Builds an application; returns its folder below {@link OUTPUT}. */
export async function buildApp(app: keyof typeof ALIAS, engine: Engine): Promise<string> {
  const name = `${app}-${engine}`
  await mkdir(OUTPUT, { recursive: true })
  await build({
    configFile: false,
    root: join(import.meta.dirname, app),
    base: './',
    logLevel: 'error',
    // transformers.js has a build for Node too; pages get the one for the web.
    resolve: engine === 'nearside' ? { alias: { [ALIAS[app]]: 'nearside/ort' } } : {},
    build: { target: 'esnext', outDir: join(OUTPUT, name), emptyOutDir: true, minify: false },
  })
  return name
}
