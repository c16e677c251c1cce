/** The command `nearside` as a user meets it: the built package's own script, spawned. Needs `cargo xtask build`. */

import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { encodeOnnx, RESHAPED } from './onnx.js'

const SCRIPT = fileURLToPath(new URL('../dist/tools/cli.js', import.meta.url))
// Every call is a process, and some wait for a compilation on a busy machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const folder = mkdtempSync(join(tmpdir(), 'nearside-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs the command; without the signs of life that it gives on a busy machine. */
function nearside(...args: string[]): SpawnSyncReturns<string> {
  const result = spawnSync(process.execPath, [SCRIPT, ...args], { cwd: folder, encoding: 'utf8', timeout: 60_000 })
  return { ...result, stderr: result.stderr.replace(/^.* …\n/gm, '') }
}

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(join(folder, name), content)
  return name
}

/** `y = x + [1, 2, 3]` */
const SUM = write(
  'sum.onnx',
  encodeOnnx({
    inputs: { x: ['batch', 3] },
    outputs: { y: ['batch', 3] },
    constants: { c: [1, 2, 3] },
    nodes: [{ op: 'Add', inputs: ['x', 'c'], outputs: ['y'] }],
  }),
)
/** `y = relu(x + [1])`, in which one operator becomes part of the other. */
const RELU = write(
  'relu.onnx',
  encodeOnnx({
    inputs: { x: [1] },
    outputs: { y: [1] },
    constants: { c: [1] },
    nodes: [
      { op: 'Add', inputs: ['x', 'c'], outputs: ['s'] },
      { op: 'Relu', inputs: ['s'], outputs: ['y'] },
    ],
  }),
)
/** The same as SUM with the constant in a file of its own. */
const split = (name: string, location: string): string =>
  write(
    name,
    encodeOnnx({
      inputs: { x: [3] },
      outputs: { y: [3] },
      constants: { w: { dims: [3], location, offset: 4, length: 12 } },
      nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
    }),
  )
const WEIGHTS = new Uint8Array(Float32Array.of(9, 1, 2, 3).buffer)
/** A model that only the compiler runs. */
const UNPLANNED = write(
  'unplanned.onnx',
  encodeOnnx({
    inputs: { x: [1, 1, 1, 1, 3] },
    outputs: { y: [1, 1, 1, 1, 3] },
    constants: { w: { dims: [1, 1, 1, 1, 1], data: [2] } },
    nodes: [{ op: 'ConvTranspose', inputs: ['x', 'w'], outputs: ['y'] }],
  }),
)

/** RESHAPED for some sizes only, with which the value must fit together. */
const FITTED = write('fitted.onnx', encodeOnnx({ ...RESHAPED, inputs: { x: ['rows', 3], shape: [2] } }))

function npy(descr: string, shape: string, data: ArrayBufferView): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117) + '\n'
  const head = Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(header.length, 0)}${header}`, 'latin1')
  return Buffer.concat([head, Buffer.from(data.buffer, data.byteOffset, data.byteLength)])
}

describe('nearside', () => {
  it('tells what there is, and the difference between wrong usage and failure', () => {
    expect(nearside('--help')).toMatchObject({ status: 0, stderr: '' })
    expect(nearside('--version').stdout).toMatch(/^nearside \d+\.\d+\.\d+\n$/)
    expect(nearside('compile', '--help').stdout).toMatch(/^Usage: nearside compile/)
    expect(nearside('help', 'compile').stdout).toBe(nearside('compile', '--help').stdout)
    expect(nearside('help', 'fly').stderr).toMatch(/^error: There is no command 'fly'; /)
    expect(nearside()).toMatchObject({ status: 2 })
    for (const [args, message] of [
      [['frobnicate'], /There is no command 'frobnicate'; there are compile,/],
      [['compile'], /Give the path of an ONNX model\./],
      [['compile', SUM, '--fast'], /Unknown option '--fast'/],
      [['run', SUM, '--runs', 'many'], /--runs is 'many'; give a whole number from 1 on\./],
      [['run', SUM, '--input', 'x'], /--input is 'x'; give NAME=FILE/],
      [['inspect', SUM, '--graph', '--json'], /not both/],
      [['inspect', SUM, '--html', 'x.html', '--json'], /Give --html alone/],
      [['inspect', SUM, '--html', 'x.html', '--dimension', 'batch'], /--dimension is 'batch'; give NAME=SIZE, such as batch=8\./],
      [['inspect', SUM, '--dimension', 'batch=2'], /--dimension is for the times of --html/],
      [['inspect', SUM, '--value', 'x=2'], /--value is for --html; give --html FILE, or compile the model with it/],
      [['run', SUM, '--value', 'x'], /--value is 'x'; give NAME=VALUE, such as rate=16000\./],
    ] as const) {
      const { status, stderr } = nearside(...args)
      expect(stderr).toMatch(message)
      expect(status).toBe(2)
    }
  })
})

describe('nearside compile', () => {
  it('writes the plan, whole and beside the model', () => {
    const { status, stdout, stderr } = nearside('compile', SUM)
    expect(stdout).toMatch(/^sum\.plan: \d+ bytes, Add×1\nsum\.onnx: \d+ bytes\n$/)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(readFileSync(join(folder, 'sum.plan')).subarray(0, 8).toString()).toBe('NEARPLAN')
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([])
    expect(nearside('compile', SUM, '-o', 'deep/er/other.plan')).toMatchObject({ status: 0 })
    expect(readFileSync(join(folder, 'deep/er/other.plan'))).toEqual(readFileSync(join(folder, 'sum.plan')))
  })

  it('reads weights from the folder of the model, or another one, and from nowhere else', () => {
    mkdirSync(join(folder, 'weights'))
    writeFileSync(join(folder, 'weights/w.bin'), WEIGHTS)
    const model = split('split.onnx', 'w.bin')
    expect(nearside('compile', model).stderr).toMatch(
      /The file w\.bin, where the model keeps weights, cannot be read: there is no such file/,
    )
    expect(nearside('compile', model, '--external-data', 'weights')).toMatchObject({ status: 0 })
    writeFileSync(join(folder, 'w.bin'), WEIGHTS)
    expect(nearside('compile', model, '-o', 'beside.plan')).toMatchObject({ status: 0 })
    expect(readFileSync(join(folder, 'beside.plan'))).toEqual(readFileSync(join(folder, 'split.plan')))

    symlinkSync(join(folder, 'w.bin'), join(folder, 'weights/link.bin'))
    const linked = split('weights/linked.onnx', 'link.bin')
    expect(nearside('compile', linked)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('leads out of the folder') as string,
    })
    const upwards = split('weights/upwards.onnx', '../w.bin')
    expect(nearside('compile', upwards)).toMatchObject({ status: 1, stdout: '' })
  })

  it('says why there is no plan', () => {
    const { status, stdout, stderr } = nearside('compile', UNPLANNED)
    expect(stderr).toMatch(/^error: The model unplanned\.onnx has no plan: it uses ConvTranspose, .*Load the ONNX file itself/)
    expect(stdout).toBe('')
    expect(status).toBe(1)
    expect(readdirSync(folder)).not.toContain('unplanned.plan')
  })

  it('compiles for the value of an input that decides shapes', () => {
    const model = write('reshaped.onnx', encodeOnnx(RESHAPED))
    expect(nearside('compile', model).stderr).toMatch(
      /^error: The model reshaped\.onnx has no plan\. The values of 'shape' decide shapes or branches in this model: .* `nearside compile` with --value shape=… makes a plan for one set, [^.]*\. Load the ONNX file itself: /,
    )
    const { status, stdout } = nearside('compile', model, '--value', 'shape=3,2')
    expect(stdout).toMatch(/^reshaped\.plan: .*\nnote: Input 'shape' must be \[3, 2\]: the plan is for this value\.\n$/s)
    expect(status).toBe(0)
    write('shape.bin', new Uint8Array(BigInt64Array.of(3n, 2n).buffer))
    expect(nearside('run', 'reshaped.plan', '-i', 'shape=shape.bin').stdout).toMatch(/^y: float32 3×2,/m)
    write('other.bin', new Uint8Array(BigInt64Array.of(2n, 3n).buffer))
    expect(nearside('run', 'reshaped.plan', '-i', 'shape=other.bin')).toMatchObject({
      ...{ status: 1, stdout: '' },
      stderr: expect.stringMatching(/^error: Input 'shape' must be \[3, 2\], for which the plan was compiled; /) as string,
    })
    expect(nearside('compile', 'reshaped.plan', '-o', 'again.plan', '--value', 'shape=2,3')).toMatchObject({
      ...{ status: 1, stdout: '' },
      stderr: expect.stringMatching(
        /^error: The file reshaped\.plan is a plan: values and dimensions are settled when /,
      ) as string,
    })
    for (const [args, status, message] of [
      [['--value', 'shape'], 2, /^error: --value is 'shape'; give NAME=VALUE, /],
      [['--value', 'shape=3'], 1, /^error: Input 'shape' takes 2 elements, 1 was given\.\n$/],
      [['--value', 'form=3,2'], 1, /^error: The model has no input 'form' that takes a value; it has 'x', 'shape'\.\n$/],
    ] as const) {
      expect(nearside('compile', model, ...args)).toMatchObject({ status, stderr: expect.stringMatching(message) as string })
    }
  })

  it('compiles for the size of an open dimension', () => {
    expect(nearside('compile', SUM, '-o', 'two.plan', '--dimension', 'batch=2')).toMatchObject({ status: 0 })
    expect(nearside('inspect', 'two.plan').stdout).toMatch(/^input {3}x: float32\[2×3\]$/m)
    expect(nearside('compile', SUM, '--dimension', 'rows=2').stderr).toMatch(/has no open dimension 'rows'; it has 'batch'/)
    expect(nearside('compile', SUM, '--dimension', 'batch=two')).toMatchObject({ status: 2 })
  })

  it('leaves a sentence for whatever else goes wrong', () => {
    write('cut.onnx', readFileSync(join(folder, SUM)).subarray(0, 60))
    write('page.onnx', '<!doctype html><p>404')
    for (const [args, message] of [
      [['missing.onnx'], /^error: The file missing\.onnx cannot be read: there is no such file; check the path, .*\.\n$/],
      [['weights'], /^error: The path weights is not a file; /],
      [['page.onnx'], /^error: The file page\.onnx is a web page; /],
      [['cut.onnx'], /^error: [A-Z].*\.\n$/],
      [[SUM, '-o', SUM], /^error: The plan would take the place of sum\.onnx; /],
      [[SUM, '-o', `${SUM}/x.plan`], /^error: The plan cannot be written to sum\.onnx\/x\.plan /],
    ] as const) {
      const { status, stderr } = nearside('compile', ...args)
      expect(stderr).toMatch(message)
      expect(status).toBe(1)
    }
  })
})

describe('nearside inspect', () => {
  it('prints a model and its plan alike', () => {
    nearside('compile', SUM)
    const text = 'input   x: float32[batch×3]\noutput  y: float32[batch×3]\nnodes   Add×1\nweights 12 bytes\n'
    expect(nearside('inspect', SUM)).toMatchObject({ status: 0, stderr: '', stdout: text })
    expect(nearside('inspect', 'sum.plan')).toMatchObject({ status: 0, stderr: '', stdout: text })
    expect(nearside('inspect', RELU, '--passes').stdout).toMatch(/^pass [\w-]+ \(1 changes\)\n {4}.*\ninput {3}x/)
    expect(nearside('inspect', SUM, '--graph').stdout).toMatch(/^input {2}x: .*\n%\d+: .* = Add\(/)
  })

  it('gives the same to programs', () => {
    const parse = (...args: string[]): unknown => JSON.parse(nearside('inspect', '--json', ...args).stdout)
    expect(parse(SUM)).toEqual({
      plan: true,
      inputs: [{ name: 'x', type: 'float32', dims: ['batch', 3] }],
      outputs: [{ name: 'y', type: 'float32', dims: ['batch', 3] }],
      operators: { Add: 1 },
      weights: 12,
      notes: [],
      fallbackOperators: [],
    })
    expect(parse(RELU, '--passes')).toMatchObject({
      passes: [{ name: expect.any(String) as string, changes: [expect.any(String)] }],
    })
    expect(parse(UNPLANNED)).toMatchObject({ plan: false, operators: {}, fallbackOperators: ['ConvTranspose'] })
  })

  it('draws the graph in a page of one file', () => {
    /** What the page's script finds in it. */
    const drawn = (file: string) => {
      const page = readFileSync(join(folder, file), 'utf8')
      expect(page, 'the page needs nothing else').not.toMatch(/(src|href)=/)
      const [, json = ''] = /<script id="data" type="application\/json">(.*?)<\/script>/s.exec(page) ?? []
      return JSON.parse(json) as {
        readonly title: string
        readonly notes: readonly string[]
        readonly before: { readonly nodes: readonly { readonly op: string }[] }
        readonly after: {
          readonly nodes: readonly { readonly op: string; readonly ms?: number; readonly fused: readonly unknown[] }[]
          readonly inputs: readonly unknown[]
        }
      }
    }
    expect(nearside('inspect', RELU, '--html', 'pages/relu.html')).toMatchObject({
      ...{ status: 0, stderr: '', stdout: 'pages/relu.html: 2 ONNX nodes, 1 of the plan\n' },
    })
    const { title, notes, before, after } = drawn('pages/relu.html')
    expect([title, notes]).toEqual(['relu.onnx', []])
    expect(before.nodes.map(({ op }) => op)).toEqual(['Add', 'Relu'])
    expect(after.nodes).toMatchObject([{ op: 'Add', fused: [{ op: 'Add' }, { op: 'Relu' }] }])
    expect(after.nodes[0]?.ms).toBeGreaterThan(0)

    nearside('compile', SUM, '-o', 'drawn.plan')
    expect(nearside('inspect', 'drawn.plan', '--html', 'sum.html', '--dimension', 'batch=1000')).toMatchObject({ status: 0 })
    const sum = drawn('sum.html')
    expect(sum.before.nodes).toEqual([])
    expect(sum.after.inputs).toEqual([{ name: 'x', value: expect.stringMatching(/^%\d+$/) as string, type: 'float32[batch×3]' }])
    expect(sum.after.nodes[0]?.ms).toBeGreaterThan(0)

    // A plan for one value is run with it.
    const reshaped = write('drawn.onnx', encodeOnnx(RESHAPED))
    nearside('compile', reshaped, '-o', 'valued.plan', '--value', 'shape=3,2')
    expect(nearside('inspect', 'valued.plan', '--html', 'plan.html')).toMatchObject({ status: 0 })
    expect(nearside('inspect', reshaped, '--html', 'model.html', '--value', 'shape=3,2')).toMatchObject({ status: 0 })
    for (const file of ['plan.html', 'model.html'])
      expect(drawn(file).notes).toEqual(["Input 'shape' must be [3, 2]: the plan is for this value."])
    // A model that makes sense for some sizes only is drawn for those of the times.
    const fitted = ['inspect', FITTED, '--html', 'fitted.html', '--value', 'shape=3,2']
    expect(nearside(...fitted).stderr).toMatch(/^error: .*do not fit together/)
    expect(nearside(...fitted, '--dimension', 'rows=2')).toMatchObject({ status: 0 })
    expect(drawn('fitted.html').after.inputs).toMatchObject([{ name: 'x', type: 'float32[2×3]' }, { name: 'shape' }])

    // What cannot be run is drawn all the same.
    expect(nearside('inspect', 'drawn.plan', '--html', 'huge.html', '--dimension', 'batch=1000000000000')).toMatchObject({
      status: 0,
    })
    expect(drawn('huge.html').notes).toEqual([expect.stringMatching(/^It was not run: /)])
    expect(nearside('inspect', UNPLANNED, '--html', 'none.html')).toMatchObject({
      ...{ status: 1, stderr: expect.stringMatching(/has no plan: it uses ConvTranspose/) as string },
    })
    expect(existsSync(join(folder, 'none.html'))).toBe(false)
  })

  it('ends well when nobody reads on', async () => {
    const child = spawn(process.execPath, [SCRIPT, 'inspect', SUM, '--graph'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const complaints: string[] = []
    child.stderr.on('data', (text: Buffer) => complaints.push(String(text).replace(/^.* …\n/gm, '')))
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0)
    expect(complaints.join('')).toBe('')
  })

  it('says what runs a model without a plan', () => {
    expect(nearside('inspect', UNPLANNED).stdout).toMatch(
      /^note: .*ConvTranspose.*\n(.*\n)*no plan: runs in the compiler, for the operators ConvTranspose\n$/,
    )
  })
})

describe('nearside run', () => {
  /** Without the compiler, for the many calls. */
  const PLAN = 'run.plan'
  beforeAll(() => void nearside('compile', SUM, '-o', PLAN))

  it('takes zeros, raw bytes, .npy files and random numbers', () => {
    write('x.bin', new Uint8Array(Float32Array.of(0.5, -1, 1e10).buffer))
    write('x.npy', npy('<f4', '2, 3', Float32Array.of(1, 2, 3, 4, 5, 6)))
    write('x64.npy', npy('<f8', '1, 3', Float64Array.of(1, 2, 3)))
    const run = (...inputs: string[]): string => nearside('run', PLAN, ...inputs.flatMap((input) => ['--input', input])).stdout
    expect(run('x:1x3=zeros')).toMatch(/^median [\d.]+ ms, fastest [\d.]+ ms\ny: float32 1×3, from 1 to 3\n {4}1 2 3\n$/)
    expect(run('x:1x3=x.bin')).toContain('y: float32 1×3, from 1 to 10000000000\n    1.5 1 10000000000\n')
    expect(run('x=x.npy')).toContain('y: float32 2×3, from 2 to 9\n    2 4 6 5 7 9\n')
    expect(run('x=x64.npy')).toContain('    2 4 6\n')
    const random = (): string | undefined => run('x:2x3=random').split('\n')[2]
    expect(random()).toMatch(/^ {4}1\.\d+ 2\.\d+ 3\.\d+ 1\.\d+ 2\.\d+ 3\.\d+$/)
    expect(random()).toBe(random())
    const int = npy('<i4', '1, 3', Int32Array.of(1, 2, 3))
    write('int.npy', int)
    write('cut.npy', int.subarray(0, int.length - 1))
    write('text.npy', npy('<U4', '1', new Uint8Array(16)))
    for (const [input, message] of [
      ['x=int.npy', /Input 'x' takes float32, an int32 tensor was given/],
      ['x=cut.npy', /cut\.npy is cut off: its array has 12 bytes, 11 are there\./],
      ['x=text.npy', /elements of NumPy's type '<U4'/],
      ['x=none.npy', /^error: The file none\.npy, for input 'x', cannot be read: there is no such file; check the path, .*\.\n$/],
      ['x:2x3=x.bin', /has 12 bytes; input 'x' takes 24: float32 of shape 2×3/],
      ['x=random', /not all is fixed: give it as --input 'x:1x3=random'/],
      ['z=random', /Input 'x' has the shape/],
    ] as const) {
      const { status, stderr } = nearside('run', PLAN, '--input', input)
      expect(stderr).toMatch(message)
      expect(status).toBe(1)
    }
    const missing = nearside('run', 'none.plan')
    expect(missing.stderr).toMatch(/^error: The file .*none\.plan cannot be read: there is no such file; check the path, .*\.\n$/)
    expect(missing.status).toBe(1)
    expect(nearside('run', '.').stderr).toMatch(/^error: The path .* is not a file; /)
    expect(nearside('run', PLAN, '-i', 'x=x.npy', '-i', 'z=random').stderr).toMatch(/The model has no input 'z'; it has 'x'\./)
  })

  it('takes what decides shapes, and feeds a plan the value that it is for', () => {
    const model = write('valued.onnx', encodeOnnx(RESHAPED))
    expect(nearside('run', model, '--value', 'shape=3,2').stdout).toMatch(/^y: float32 3×2,/m)
    expect(nearside('run', SUM, '--dimension', 'batch=2').stdout).toMatch(/^y: float32 2×3,/m)
    nearside('compile', model, '--value', 'shape=6,1')
    expect(nearside('run', 'valued.plan', '--profile').stdout).toMatch(/^y: float32 6×1,/m)
    expect(nearside('run', 'valued.plan', '--value', 'shape=3,2').stderr).toMatch(/^error: The file valued\.plan is a plan: /)
  })

  it('gives programs JSON, and a profile as a table', () => {
    const report = JSON.parse(nearside('run', SUM, '--json', '--runs', '3', '--profile', '-i', 'x:1x3=zeros').stdout) as object
    expect(report).toMatchObject({
      model: SUM,
      engine: { threads: 1, fallbackOperators: [] },
      milliseconds: { runs: 3 },
      outputs: { y: { type: 'float32', dims: [1, 3], min: 1, max: 3, elements: [1, 2, 3] } },
      profile: [{ op: 'Add', name: 'the Add', dims: [1, 3] }],
    })
    const table = nearside('run', SUM, '--profile', '-i', 'x:1x3=zeros').stdout
    expect(table).toMatch(
      / {6}time {10}of all {2}GMAC\/s\n +[\d.]+ µs +[\d.]+ % +Add×1\n +[\d.]+ µs +[\d.]+ % +Add 'the Add' \[1, 3\]\n$/,
    )
  })

  it('shares the work between threads, with the same results', () => {
    const rows = (...args: string[]): string =>
      nearside('run', SUM, '-i', 'x:20000x3=random', ...args).stdout.replace(/^.*\n/, '')
    expect(rows('--threads', '2')).toBe(rows())
    const { engine } = JSON.parse(nearside('run', SUM, '--threads', '2', '--json', '-i', 'x:1x3=zeros').stdout) as {
      engine: object
    }
    expect(engine).toMatchObject({ threads: 2 })
  })

  it('runs a model that has no plan, with a warning', () => {
    const { status, stdout, stderr } = nearside('run', UNPLANNED)
    expect(stderr).toMatch(/warning: .*ConvTranspose/)
    expect(stdout).toContain('y: float32 1×1×1×1×3, from 0 to 0')
    expect(status).toBe(0)
  })
})

describe('nearside serve-static', () => {
  const site = join(folder, 'site')
  mkdirSync(site)
  writeFileSync(join(site, 'index.html'), '<p>here')
  writeFileSync(join(site, 'm.plan'), 'a plan, or nearly one')
  writeFileSync(join(site, 'm.plan.br'), brotliCompressSync('a plan, or nearly one'))
  writeFileSync(join(site, 'empty.wasm'), '')
  writeFileSync(join(site, '.env'), 'secret')
  symlinkSync(join(folder, SUM), join(site, 'out.onnx'))

  async function withServer<T>(args: string[], use: (url: string) => Promise<T>): Promise<T> {
    const child = spawn(process.execPath, [SCRIPT, 'serve-static', site, '--port', '0', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const url = await new Promise<string>((resolve) => {
      child.stdout.once('data', (text: Buffer) => resolve(/http:\S+\//.exec(String(text))?.[0] ?? ''))
    })
    try {
      return await use(url)
    } finally {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGINT')
      expect(await ended).toBe(0)
    }
  }

  it('serves files with their types, in ranges, and compressed where that lies beside', async () => {
    await withServer([], async (url) => {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
      const page = await fetch(url)
      expect(await page.text()).toBe('<p>here')
      expect(page.headers.get('content-type')).toBe('text/html;charset=utf-8')
      expect(page.headers.get('cross-origin-opener-policy')).toBeNull()
      expect((await fetch(`${url}empty.wasm`)).headers.get('content-type')).toBe('application/wasm')
      const plan = await fetch(`${url}m.plan`, { headers: { 'accept-encoding': 'br' } })
      expect(plan.headers.get('content-encoding')).toBe('br')
      expect(plan.headers.get('content-type')).toBe('application/octet-stream')
      expect(await plan.text()).toBe('a plan, or nearly one')
      const range = await fetch(`${url}m.plan`, { headers: { range: 'bytes=2-5' } })
      expect([range.status, range.headers.get('content-range'), await range.text()]).toEqual([206, 'bytes 2-5/21', 'plan'])
      expect((await fetch(`${url}m.plan`, { headers: { range: 'bytes=99-' } })).status).toBe(416)
      expect((await fetch(`${url}m.plan`, { headers: { range: 'bytes=-5' } })).status).toBe(200)
      expect((await fetch(url, { method: 'POST' })).status).toBe(405)
    })
  })

  it('gives nothing from elsewhere, and nothing hidden', async () => {
    await withServer([], async (url) => {
      for (const path of ['.env', 'out.onnx', 'none', '%2e%2e/sum.onnx', '..%2fsum.onnx', '%2fetc/passwd', '%00', '%ff'])
        expect((await fetch(url + path)).status, path).toBe(404)
    })
  })

  it('isolates pages when asked', async () => {
    await withServer(['--isolated'], async (url) => {
      const { headers } = await fetch(url)
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(headers.get('cross-origin-embedder-policy')).toBe('require-corp')
    })
  })

  it('names a taken port and a missing folder', async () => {
    await withServer([], (url) => {
      const { status, stderr } = nearside('serve-static', site, '--port', new URL(url).port)
      expect(stderr).toMatch(/^error: Port \d+ of 127\.0\.0\.1 is taken; choose another one with --port/)
      expect(status).toBe(1)
      return Promise.resolve()
    })
    expect(nearside('serve-static', 'nowhere').stderr).toBe(
      'error: There is no folder nowhere; give the one that holds the page.\n',
    )
  })
})
