/** What a page does to check models: each function runs there, by itself, and gets the package's address. */

import type * as Nearside from 'nearside'

import type { Job, Stored } from './cards.ts'

/** How a variant of a model did. */
export interface Checked {
  /** Outputs beyond their tolerance, of another shape, or missing, as sentences; what stopped the check, too. */
  failures: string[]
  compared: number
  fallback: readonly string[]
  /** Sha-256 of the bytes of all outputs, in order. */
  digest: string
}

/** Loads a variant, runs its cases and compares. */
export async function check(request: { library: string; job: Job; options?: Nearside.LoadOptions }): Promise<Checked> {
  const { library, job, options = {} } = request
  const { Model, Tensor } = (await import(library)) as typeof Nearside
  type Named = Record<string, Nearside.AnyTensor>
  const failures: string[] = []
  let [compared, fallback]: [number, readonly string[]] = [0, []]
  const bytes: Uint8Array<ArrayBuffer>[] = []

  const TYPES = {
    f32: 'float32',
    f64: 'float64',
    f16: 'float16',
    i64: 'int64',
    i32: 'int32',
    i16: 'int16',
    i8: 'int8',
    u8: 'uint8',
  } as const
  const read = async ({ dtype, dims, url, stride }: Stored): Promise<Nearside.AnyTensor> => {
    const buffer = await (await fetch(url)).arrayBuffer()
    const type = TYPES[dtype as keyof typeof TYPES]
    const ARRAYS = { float32: Float32Array, float64: Float64Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array, uint8: Uint8Array } // prettier-ignore
    const data = new ARRAYS[type](buffer)
    return new Tensor(type as 'float32', data as Float32Array<ArrayBuffer>, stride > 1 ? [data.length] : dims)
  }
  // TypeScript's library does not have it yet, these browsers do.
  const halves = globalThis as unknown as {
    Float16Array: {
      new (buffer: ArrayBuffer, at: number, length: number): Float32Array
      from(values: Float32Array): Float32Array<ArrayBuffer>
    }
  }
  const numbers = (tensor: Nearside.AnyTensor): Float64Array =>
    tensor.type === 'float16'
      ? Float64Array.from(new halves.Float16Array(tensor.data.buffer as ArrayBuffer, tensor.data.byteOffset, tensor.data.length))
      : Float64Array.from(tensor.data as ArrayLike<number | bigint>, Number)
  const top = (values: Float64Array): number => values.reduce((best, v, i) => (v > (values[best] ?? NaN) ? i : best), 0)

  const model = await Model.load(new URL(job.url, location.href), { cache: false, ...options })
  try {
    fallback = model.engine.fallbackOperators
    const fit = (tensor: Nearside.AnyTensor, name: string): Nearside.AnyTensor => {
      const port = model.inputs.find((p) => p.name === name)
      const dims = port?.dims.length === 0 && tensor.data.length === 1 ? [] : tensor.dims
      if (port?.type !== 'float16' || tensor.type !== 'float32') return new Tensor(tensor.type as 'float32', tensor.data, dims) // prettier-ignore
      return new Tensor('float16', new Uint16Array(halves.Float16Array.from(tensor.data).buffer), dims)
    }
    const run = async (feeds: Named): Promise<Named> => {
      const fitted = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, fit(tensor, name)]))
      return { ...(await model.run(fitted)) }
    }

    /** Chunk after chunk: outputs that no reference gathers are the new values of the inputs that are not given. */
    const stream = async (given: Named, expected: readonly Stored[]): Promise<Named> => {
      const count = Object.values(given)[0]?.dims[0] ?? 0
      const ranks = new Map(expected.map(({ name, dims }) => [name, dims.length]))
      const collects = (port: Nearside.Port): boolean => ranks.get(port.name) === port.dims.length + 1
      const fedBack = model.outputs.filter((port) => !collects(port)).map((port) => port.name)
      const stateNames = model.inputs.filter((port) => given[port.name] === undefined)
      let states: Named = Object.fromEntries(
        stateNames.map((port) => {
          const dims = port.dims.map((d) => (typeof d === 'number' ? d : 1))
          return [port.name, new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims)]
        }),
      )
      const parts = new Map<string, number[]>()
      const results: Named = {}
      for (let i = 0; i < count; i++) {
        const chunk = Object.entries(given).map(([name, tensor]) => {
          const length = tensor.data.length / count
          const data = (tensor.data as Float32Array<ArrayBuffer>).slice(i * length, (i + 1) * length)
          return [name, new Tensor('float32', data, tensor.dims.slice(1))]
        })
        const outputs = await run({ ...(Object.fromEntries(chunk) as Named), ...states })
        for (const [name, tensor] of Object.entries(outputs)) {
          if (fedBack.includes(name)) continue
          parts.set(name, [...(parts.get(name) ?? []), ...(tensor.data as Float32Array)])
          results[name] = new Tensor('float32', Float32Array.from(parts.get(name) ?? []), [i + 1, ...tensor.dims])
        }
        states = Object.fromEntries(stateNames.map((port, k) => [port.name, outputs[fedBack[k] ?? ''] as Nearside.AnyTensor]))
      }
      const own = expected.map(({ name }) => name).filter((name) => !fedBack.includes(name) && results[name] === undefined)
      Object.values(states).forEach((state, k) => {
        for (const name of [own[k], fedBack[k]]) if (name !== undefined) results[name] = state
      })
      return results
    }

    /** Each call sees the end of the chunk before and a chunk. */
    const speech = async (audio: Nearside.AnyTensor, chunk: number, context: number): Promise<Named> => {
      const samples = Float32Array.from(audio.data as Int16Array, (v) => v / 32768)
      const window = new Float32Array(context + chunk)
      const answers: number[] = []
      let state = new Tensor('float32', new Float32Array(256), [2, 1, 128]) as Nearside.AnyTensor
      const rate = new Tensor('int64', BigInt64Array.of(16000n), []) as Nearside.AnyTensor
      for (let at = 0; at + chunk <= samples.length; at += chunk) {
        window.copyWithin(0, chunk)
        window.set(samples.subarray(at, at + chunk), context)
        const input = new Tensor('float32', window.slice(), [1, window.length]) as Nearside.AnyTensor
        const { stateN, ...rest } = await run({ input, state, sr: rate })
        state = stateN as Nearside.AnyTensor
        for (const tensor of Object.values(rest)) answers.push(...(tensor.data as Float32Array))
      }
      return { prob: new Tensor('float32', Float32Array.from(answers), [answers.length]) as Nearside.AnyTensor }
    }

    for (const { id, kind, inputs, expected, chunk, context } of job.cases) {
      const given: Named = {}
      for (const stored of inputs) given[stored.name] = await read(stored)
      const outputs =
        kind === 'speech'
          ? await speech(given['audio'] as Nearside.AnyTensor, chunk, context)
          : kind === 'chunks'
            ? await stream(given, expected)
            : await run(given)
      for (const stored of expected) {
        const where = `${id}: output '${stored.name}'`
        const actual = outputs[stored.name]
        if (actual === undefined || actual.dims.join() !== stored.dims.join()) {
          failures.push(
            `${where} is ${actual === undefined ? 'missing' : `[${actual.dims.join()}], not [${stored.dims.join()}]`}`,
          )
          continue
        }
        const data = actual.data as Float32Array<ArrayBuffer>
        bytes.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
        const [got, wanted] = [numbers(actual), numbers(await read(stored))]
        let [worst, largest] = [0, 0]
        for (const [i, want] of wanted.entries()) {
          worst = Math.max(worst, Math.abs((got[i * stored.stride] ?? NaN) - want))
          largest = Math.max(largest, Math.abs(want))
        }
        const tolerance = Math.max(job.tolerance * largest, job.quantized ? 2 * stored.slack : 0)
        if (!(worst <= tolerance)) failures.push(`${where} differs by ${worst}, tolerance ${tolerance}`)
        const classes = stored.dims.at(-1) ?? 1
        for (let row = 0; stored.classifier && row < got.length; row += classes) {
          if (top(got.subarray(row, row + classes)) !== top(wanted.subarray(row, row + classes)))
            failures.push(`${where} has another top-1 class`)
        }
        compared += 1
      }
    }
  } catch (error) {
    failures.push(String(error))
  } finally {
    model.dispose()
  }
  const all = new Uint8Array(await new Blob(bytes).arrayBuffer())
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', all))
  return { failures, compared, fallback, digest: Array.from(hash, (b) => b.toString(16).padStart(2, '0')).join('') }
}
