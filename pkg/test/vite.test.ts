/** The plugin for Vite: real builds and a real development server with the built package. Needs `cargo xtask build`. */

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { build, createServer, type InlineConfig, type Rollup, type ViteDevServer } from 'vite'

import type * as Plugin from '../ts/tools/vite/index.js'
import { type Dims, encodeOnnx, RESHAPED } from './onnx.js'

vi.setConfig({ testTimeout: 60_000 })

const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const { nearside } = (await import(new URL('../dist/tools/vite.js', import.meta.url).href)) as typeof Plugin

const sum = (constants: readonly number[], dims: Dims = ['batch', constants.length]): Uint8Array<ArrayBuffer> =>
  encodeOnnx({
    inputs: { x: dims },
    outputs: { y: dims },
    constants: { c: constants },
    nodes: [{ op: 'Add', inputs: ['x', 'c'], outputs: ['y'] }],
  })

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'nearside-vite-'))
  mkdirSync(join(root, 'node_modules'))
  symlinkSync(PACKAGE, join(root, 'node_modules/nearside'))
})
afterEach(() => rmSync(root, { recursive: true, maxRetries: 3 }))

function write(name: string, content: Uint8Array | string): void {
  mkdirSync(dirname(join(root, name)), { recursive: true })
  writeFileSync(join(root, name), content)
}

const config = (options?: Plugin.NearsideOptions): InlineConfig => ({
  root,
  base: './',
  configFile: false,
  logLevel: 'silent',
  plugins: [nearside(options)],
  build: { lib: { entry: 'main.js', formats: ['es'], fileName: 'main' }, minify: false },
})

const sri = (bytes: Uint8Array): string => `sha256-${createHash('sha256').update(bytes).digest('base64')}`
const cached = (): string[] => readdirSync(join(root, 'node_modules/.cache/nearside')).filter((name) => name.endsWith('.plan'))

async function built(options?: Plugin.NearsideOptions): Promise<Rollup.RollupOutput['output']> {
  const [result] = (await build(config(options))) as Rollup.RollupOutput[]
  return (result as Rollup.RollupOutput).output
}

describe('nearside()', () => {
  it('refuses options that there are not, and of other types', () => {
    for (const [options, message] of [
      [null, 'The options of nearside() are null; give an object, or leave them out.'],
      [{ cache: 'x' }, "The plugin nearside() has no option 'cache'; it has types, cacheDir, compile."],
      [{ cacheDir: 5 }, 'The option cacheDir of nearside() is 5; give the name of a folder.'],
      [{ types: 5 }, 'The option types of nearside() is 5; give true, false, or the name of a folder.'],
      [{ compile: true }, "The option compile of nearside() is true; give { 'model.onnx': { values: …, dimensions: … } }."],
      [
        { compile: [] },
        "The option compile of nearside() is an object of type Array; give { 'model.onnx': { values: …, dimensions: … } }.",
      ],
      [{ compile: { 'a.onnx': 5 } }, "The option compile of nearside() has 5 for 'a.onnx'; give { values: …, dimensions: … }."],
      [
        { compile: { 'a.onnx': { value: {} } } },
        "The option compile of nearside() has 'value' for 'a.onnx'; it takes values and dimensions.",
      ],
      [
        { compile: { 'a.onnx': { values: 16000 } } },
        "The option compile of nearside() has 16000 as values for 'a.onnx'; give an object.",
      ],
      [
        { compile: { 'a.onnx': { values: { rate: '16000' } } } },
        "The option compile of nearside() has '16000' for 'rate' of 'a.onnx'; give a number, a bigint, a boolean, or a list of them.",
      ],
      [
        { compile: { 'a.onnx': { dimensions: { batch: 1.5 } } } },
        "The option compile of nearside() has 1.5 for 'batch' of 'a.onnx'; give a whole number from 0 up.",
      ],
    ] as const)
      expect(() => nearside(options as unknown as Plugin.NearsideOptions)).toThrow(message)
    expect(nearside({ types: undefined }).name).toBe('nearside')
  })
})

describe('vite build', () => {
  it('emits the plan and gives its address, digest, inputs and outputs', async () => {
    write('digits.onnx', sum([1, 2, 3]))
    write(
      'main.js',
      "import model, { integrity, inputs } from './digits.onnx'\nexport * from './digits.onnx?plan'\nexport { model, integrity, inputs }",
    )
    const output = await built()
    const plan = output.find((file) => file.type === 'asset')
    expect(plan?.fileName).toMatch(/digits(-[\w-]+)?\.plan$/)
    const bytes = plan?.type === 'asset' ? Buffer.from(plan.source) : Buffer.alloc(0)
    expect(bytes.subarray(0, 8).toString()).toBe('NEARPLAN')
    const [main] = output
    expect(main.code).toContain(sri(bytes))
    expect(main.code).toContain(plan?.fileName)
    const module = (await import(join(root, 'dist', main.fileName))) as { model: string; integrity: string; inputs: unknown }
    expect(module.integrity).toBe(sri(readFileSync(new URL(module.model))))
    expect(module.inputs).toEqual([{ name: 'x', type: 'float32', dims: ['batch', 3] }])
  })

  it('compiles once, and anew when the model or its weights change', async () => {
    write('main.js', "import model from './model.onnx'\nexport default model")
    write('w.bin', new Uint8Array(Float32Array.of(1, 2).buffer))
    const split = encodeOnnx({
      inputs: { x: [2] },
      outputs: { y: [2] },
      constants: { w: { dims: [2], location: 'w.bin', offset: 0, length: 8 } },
      nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
    })
    write('model.onnx', split)
    await built()
    const [first] = cached()
    const made = statSync(join(root, 'node_modules/.cache/nearside', first ?? '')).mtimeMs
    const plan = readFileSync(join(root, 'node_modules/.cache/nearside', first ?? ''))
    await built()
    expect(cached()).toEqual([first])
    expect(statSync(join(root, 'node_modules/.cache/nearside', first ?? '')).mtimeMs).toBe(made)
    write('w.bin', new Uint8Array(Float32Array.of(1, 3).buffer))
    await built()
    expect(readFileSync(join(root, 'node_modules/.cache/nearside', first ?? ''))).not.toEqual(plan)
    write('model.onnx', sum([1, 2]))
    await built({ cacheDir: 'elsewhere' })
    expect(cached()).toHaveLength(1)
    expect(readdirSync(join(root, 'elsewhere'))).toHaveLength(2)
    // A damaged cache counts for nothing.
    const [kept] = readdirSync(join(root, 'elsewhere')).filter((name) => name.endsWith('.plan'))
    write(`elsewhere/${kept}`, 'cut off')
    await built({ cacheDir: 'elsewhere' })
    expect(readFileSync(join(root, `elsewhere/${kept}`)).length).toBeGreaterThan(64)
  })

  it('declares the model for TypeScript, where it is told to', async () => {
    write('src/models/digits.onnx', sum([1, 2, 3]))
    write('main.js', "import model from './src/models/digits.onnx'\nexport default model")
    await built({ types: false })
    expect(readdirSync(join(root, 'src/models'))).toEqual(['digits.onnx'])
    await built({ types: 'types' })
    const text = readFileSync(join(root, 'types/src/models/digits.onnx.d.ts'), 'utf8')
    expect(text).toContain("readonly x: FeedOf<'float32'>")
    expect(text).toContain("readonly y: Tensor<'float32'>")
    expect(text).toContain('/** float32, batch×3 */')
    await built()
    expect(readFileSync(join(root, 'src/models/digits.onnx.d.ts'), 'utf8')).toBe(text)
  })

  it('compiles models for values and sizes, and declares them', async () => {
    write('speech/vad.onnx', encodeOnnx(RESHAPED))
    write('digits.onnx', sum([1, 2]))
    write('main.js', "import a from './speech/vad.onnx'\nimport b from './digits.onnx'\nexport default [a, b]")
    await expect(built()).rejects.toThrow(
      /vad\.onnx has no plan\. .*In vite\.config, nearside\(\{ compile: \{ 'vad\.onnx': \{ values: \{ shape: … \} \} \} \}\) makes a plan for one set/s,
    )
    const compile = { 'vad.onnx': { values: { shape: [3, 2n] } }, './digits.onnx': { dimensions: { batch: 4 } } }
    await built({ compile })
    expect(readFileSync(join(root, 'speech/vad.onnx.d.ts'), 'utf8')).toContain(
      "/** int64, 2; must be [3, 2], for which the plan was compiled */\n  readonly shape: FeedOf<'int64'>",
    )
    expect(readFileSync(join(root, 'digits.onnx.d.ts'), 'utf8')).toContain('/** float32, 4×2 */')
    // Other values make another plan; the longest name that fits counts.
    const before = cached()
    await built({ compile: { ...compile, 'speech/vad.onnx': { values: { shape: [1, 6] } } } })
    expect(cached()).toHaveLength(before.length + 1)
    expect(readFileSync(join(root, 'speech/vad.onnx.d.ts'), 'utf8')).toContain('must be [1, 6]')
    await built({ compile })
    expect(cached()).toHaveLength(before.length + 1)
    expect(readFileSync(join(root, 'speech/vad.onnx.d.ts'), 'utf8')).toContain('must be [3, 2]')
    await expect(built({ compile: { ...compile, 'vad.onnx': { values: { form: 1 } } } })).rejects.toThrow(
      /The model has no input 'form' that takes a value; it has 'x', 'shape'\./,
    )
  })

  it('fails with the sentence of what is wrong', async () => {
    write('main.js', "import model from './model.onnx'\nexport default model")
    write('model.onnx', '<!doctype html>')
    await expect(built()).rejects.toThrow(/The file model\.onnx is a web page; give an ONNX model or a compiled plan\./)
    const dims = [1, 1, 1, 1, 3]
    const constants = { w: { dims: [1, 1, 1, 1, 1], data: [2] } }
    write(
      'model.onnx',
      encodeOnnx({
        inputs: { x: dims },
        outputs: { y: dims },
        constants,
        nodes: [{ op: 'ConvTranspose', inputs: ['x', 'w'], outputs: ['y'] }],
      }),
    )
    await expect(built()).rejects.toThrow(/has no plan: it uses ConvTranspose.*import '\.\/model\.onnx\?url'/s)
  })

  it('leaves other uses of the file to Vite', async () => {
    write('digits.onnx', sum([1, 2, 3]))
    write('main.js', "import url from './digits.onnx?url&no-inline'\nexport default url")
    const output = await built()
    expect(output.filter((file) => file.type === 'asset').map((file) => file.fileName)).toEqual([
      expect.stringMatching(/\.onnx$/),
    ])
    expect(existsSync(join(root, 'node_modules/.cache'))).toBe(false)
  })
})

describe('vite dev', () => {
  let server: ViteDevServer
  let base: string
  beforeEach(async () => {
    write('digits.onnx', sum([1, 2, 3]))
    write('main.js', "import model, { integrity } from './digits.onnx'\nconsole.log(model, integrity)")
    server = await createServer({
      ...config(),
      base: '/app/',
      server: { host: '127.0.0.1', port: 0, watch: { usePolling: true, interval: 50 } },
    })
    await server.listen()
    base = server.resolvedUrls?.local[0] ?? ''
  })
  afterEach(() => server.close())

  const text = async (path: string): Promise<string> => (await fetch(new URL(path, base))).text()

  async function planOf(module: string): Promise<{ bytes: Buffer; integrity: string | undefined }> {
    const address = /new URL\("([^"]+)", here\)/.exec(module)?.[1] ?? ''
    const answer = await fetch(new URL(address, base))
    expect(answer.status).toBe(200)
    return { bytes: Buffer.from(await answer.arrayBuffer()), integrity: /integrity = "([^"]+)"/.exec(module)?.[1] }
  }

  it('serves the plan, and a new one when the file changes', async () => {
    const imported = /from ?"([^"]*digits\.onnx[^"]*)"/.exec(await text('main.js'))?.[1] ?? ''
    const { bytes, integrity } = await planOf(await text(imported))
    expect(bytes.subarray(0, 8).toString()).toBe('NEARPLAN')
    expect(integrity).toBe(sri(bytes))
    const send = vi.spyOn(server.ws, 'send')
    write('digits.onnx', sum([4, 5, 6, 7]))
    await vi.waitFor(() => expect(send).toHaveBeenCalledWith(expect.objectContaining({ type: 'full-reload' })), {
      timeout: 20_000,
    })
    const next = await planOf(await text(imported))
    expect(next.integrity).toBe(sri(next.bytes))
    expect(next.integrity).not.toBe(integrity)
    await expect.poll(() => readFileSync(join(root, 'digits.onnx.d.ts'), 'utf8')).toContain('batch×4')
  })

  it('serves a new plan when weights in another file change', async () => {
    write('weights/w.bin', new Uint8Array(Float32Array.of(1, 2).buffer))
    write(
      'split.onnx',
      encodeOnnx({
        inputs: { x: [2] },
        outputs: { y: [2] },
        constants: { w: { dims: [2], location: 'weights/w.bin', offset: 0, length: 8 } },
        nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
      }),
    )
    const { integrity } = await planOf(await text('split.onnx?import'))
    write('weights/w.bin', new Uint8Array(Float32Array.of(1, 3).buffer))
    const now = async (): Promise<string | undefined> => (await planOf(await text('split.onnx?import'))).integrity
    await expect.poll(now, { timeout: 20_000 }).not.toBe(integrity)
  })

  it('answers with the sentence of what is wrong, and goes on when that is mended', async () => {
    write('bad.onnx', 'PK\x03\x04')
    const answer = await fetch(new URL('bad.onnx?import', base))
    expect(answer.status).toBe(500)
    expect(await answer.text()).toContain('The file bad.onnx is a zip archive')
    write('bad.onnx', sum([1]))
    await expect.poll(async () => (await fetch(new URL('bad.onnx?import', base))).status).toBe(200)
    expect((await fetch(new URL('@nearside/0123456789abcdef/none.plan', base))).headers.get('content-type')).not.toBe(
      'application/octet-stream',
    )
  })
})
