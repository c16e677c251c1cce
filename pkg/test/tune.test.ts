import { describe, expect, it } from 'vitest'
import type { Resident } from '../ts/engine/engine.js'
import { tune } from '../ts/tune.js'

/** The head of a plan of 100 bytes, and a record of an earlier time. */
function planFile(): Blob {
  const bytes = new Uint8Array(100)
  bytes.set(new TextEncoder().encode('NEARPLAN'))
  new DataView(bytes.buffer).setBigUint64(24, 100n, true)
  return new Blob([bytes, 'a record of before'])
}

/** kept, before, after; then a node: index, before, after, way before, way after. */
const REPORT = Float64Array.of(1, 10, 8, ...[1, 4, 2, 2, 0, 49, 0, 3, 0, 4, 40])

/** A model whose other side does what a test says. */
class FakeResident {
  file: Blob
  readonly asked: string[] = []
  readonly ask: Resident['ask']

  constructor(answers: { [name: string]: (request: never) => unknown }, file = planFile()) {
    this.file = file
    this.ask = (async (name: string, request: unknown, signal?: AbortSignal) => {
      this.asked.push(name)
      const answer = answers[name]?.((await request) as never)
      await Promise.resolve()
      signal?.throwIfAborted()
      return answer
    }) as Resident['ask']
  }

  get resident(): Resident {
    return this as unknown as Resident
  }
}

const done = (report = REPORT, record = new TextEncoder().encode('record')) => {
  let turns = 0
  return {
    tuneOn: () => (turns += 1) / 4,
    tuneEnd: ({ keep }: { keep: boolean }) => ({ record, report: keep ? report : new Float64Array() }),
    explain: () => ({
      nodes: [
        { name: 'a', op: 'Add' },
        { name: 'b', op: 'Conv' },
      ],
    }),
  }
}

describe('tuning', () => {
  it('goes by slices and reports by name', async () => {
    let plan: Blob | undefined
    const fake = new FakeResident({ tune: (request: { plan: Blob }) => void (plan = request.plan), ...done() })
    const fractions: number[] = []
    const report = await tune(fake.resident, [], { onProgress: (fraction) => fractions.push(fraction) })
    expect(fractions).toEqual([0.25, 0.5, 0.75, 1])
    expect(report).toEqual({
      ...{ kept: true, stored: false, before: 10, after: 8 },
      nodes: [
        {
          ...{ name: 'b', op: 'Conv' },
          before: { ms: 4, method: 'windows', inner: 'usual', blocks: [49, 0] },
          after: { ms: 2, method: 'winograd', inner: 'usual', blocks: [4, 40] },
        },
      ],
    })
    // The plan went without its old record, and has the new one from now on.
    expect(plan?.size).toBe(100)
    expect(await fake.file.slice(100).text()).toBe('record')
  })

  it('leaves the model as it was where nothing is faster', async () => {
    const file = planFile()
    const fake = new FakeResident(done(Float64Array.of(0, 0, 0), new Uint8Array()), file)
    const report = await tune(fake.resident, [], {})
    expect(report).toEqual({ kept: false, stored: false, before: undefined, after: undefined, nodes: [] })
    expect(fake.file).toBe(file)
  })

  it('ends when it is aborted, and can be begun again', async () => {
    const control = new AbortController()
    const fake = new FakeResident(done())
    const file = fake.file
    const tuning = tune(fake.resident, [], { signal: control.signal, onProgress: () => control.abort(new Error('enough')) })
    await expect(tuning).rejects.toThrow('enough')
    expect(fake.asked).toEqual(['tune', 'tuneOn', 'tuneOn', 'tuneEnd'])
    expect(fake.file).toBe(file)
    await expect(tune(fake.resident, [], { signal: control.signal })).rejects.toThrow('enough')
    expect((await tune(fake.resident, [], {})).kept).toBe(true)
  })

  it('is refused twice at once, for the fallback, and without time', async () => {
    const fake = new FakeResident(done())
    const first = tune(fake.resident, [], {})
    await expect(tune(fake.resident, [], {})).rejects.toThrow(
      'The model is being tuned; wait for that, or abort it by its signal.',
    )
    await first
    for (const budget of [0, -1, NaN])
      await expect(tune(fake.resident, [], { budget })).rejects.toThrow(
        `The option budget is ${String(budget)}; give a number of milliseconds.`,
      )
    const onnx = new FakeResident(done(), new Blob(['no plan']))
    await expect(tune(onnx.resident, [], {})).rejects.toMatchObject({ name: 'UnsupportedError' })
  })

  it('tells that the Worker was lost', async () => {
    const fake = new FakeResident(done(new Float64Array(), new Uint8Array()))
    await expect(tune(fake.resident, [], {})).rejects.toMatchObject({
      name: 'WorkerError',
      message: expect.stringMatching(/call tune again/) as string,
    })
  })
})
