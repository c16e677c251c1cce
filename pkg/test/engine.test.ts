import { beforeEach, describe, expect, it } from 'vitest'
import { Engine, type Resident } from '../ts/engine/engine.js'
import { type Channel, ChannelLost, type MessageName, type RequestOf, type ResponseOf } from '../ts/engine/protocol.js'
import { DisposedError, InputError, InternalError } from '../ts/errors.js'

type Answer = (name: MessageName, request: unknown) => unknown

/** A channel that records its messages and answers from a table, or waits to be told. */
class FakeChannel implements Channel {
  readonly seen: MessageName[] = []
  closed = false
  answer: Answer
  #nextId = 1

  constructor(answer: Answer) {
    this.answer = answer
  }

  async call<K extends MessageName>(name: K, request: RequestOf<K>): Promise<ResponseOf<K>> {
    this.seen.push(name)
    const given = await this.answer(name, request)
    if (given !== undefined) return given as ResponseOf<K>
    const defaults: { [name: string]: unknown } = {
      start: { integerPath: 'fake' },
      load: { id: this.#nextId++, inputs: [], outputs: [], notes: [], ms: 1, threads: 1 },
      run: { outputs: [], ms: 1, threads: 1 },
      drop: null,
      memory: { wasm: 1, weights: 1, activations: 1 },
    }
    return defaults[name] as ResponseOf<K>
  }

  close(): void {
    this.closed = true
  }
}

const plan = (): Uint8Array<ArrayBuffer> => Uint8Array.of(1, 2, 3)
const bytesOf = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer())
const lost = (): never => {
  throw new ChannelLost(new InternalError('trapped'))
}

let channels: FakeChannel[]
let answer: Answer
let engine: Engine

beforeEach(() => {
  channels = []
  answer = () => undefined
  engine = new Engine({
    role: 'core',
    binaries: [() => Promise.resolve({ module: {}, threads: 1 })],
    open: () => {
      const channel = new FakeChannel((name, request) => answer(name, request))
      channels.push(channel)
      return channel
    },
  })
  engine.retain()
})

/** Makes `run` wait until it is told to go on. */
function holdRuns(): { release: () => void; count: () => number } {
  const waiting: (() => void)[] = []
  let seen = 0
  answer = (name) => {
    if (name !== 'run') return undefined
    seen += 1
    return new Promise((resolve) => waiting.push(() => resolve(undefined)))
  }
  return { release: () => waiting.shift()?.(), count: () => seen }
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0))

describe('Engine', () => {
  it('knows after a run which threads came', async () => {
    const model = await engine.load(plan(), true, {})
    answer = (name) => (name === 'run' ? { outputs: [], ms: 1, threads: 3 } : undefined)
    await model.run([])
    expect(model.threads).toBe(3)
  })

  it('keeps the buffers of the latest inputs for the next ones, until the model is dropped', async () => {
    const model = await engine.load(plan(), true, {})
    const spent = [new Uint8Array(4)]
    answer = (name) => (name === 'run' ? { outputs: [], spent, ms: 1, threads: 1 } : undefined)
    await model.run([])
    expect(model.spares).toBe(spent)
    model.drop()
    expect(model.spares).toEqual([])
  })

  it('starts one instance for many calls and runs them one by one, in order', async () => {
    const model = await engine.load(plan(), true, {})
    const { release, count } = holdRuns()
    const done: number[] = []
    const runs = [1, 2, 3].map((n) => model.run([]).then(() => done.push(n)))
    await turn()
    expect(count()).toBe(1)
    for (let n = 1; n <= 3; n++) {
      release()
      await turn()
    }
    await Promise.all(runs)
    expect(done).toEqual([1, 2, 3])
    expect(channels).toHaveLength(1)
    expect(channels[0]?.seen).toEqual(['start', 'load', 'run', 'run', 'run'])
  })

  it('lets models take turns, however many calls of one wait', async () => {
    const [a, b, c] = await Promise.all([1, 2, 3].map(() => engine.load(plan(), true, {})))
    if (a === undefined || b === undefined || c === undefined) expect.unreachable()
    const { release } = holdRuns()
    const done: string[] = []
    const run = (name: string, model: Resident): Promise<unknown> => model.run([]).then(() => done.push(name))
    const runs = [run('a1', a), run('a2', a), run('a3', a), run('a4', a), run('b1', b), run('b2', b), run('c1', c)]
    for (let n = 0; n < 7; n++) {
      await turn()
      release()
    }
    await Promise.all(runs)
    expect(done).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
  })

  it('drops what waits for the latest run of the same model, and nothing else', async () => {
    const [a, b] = await Promise.all([1, 2].map(() => engine.load(plan(), true, {})))
    if (a === undefined || b === undefined) expect.unreachable()
    const { release, count } = holdRuns()
    const stop = new AbortController()
    const latest = (model: Resident, signal?: AbortSignal): Promise<unknown> => model.run([], signal, undefined, true)
    const begun = latest(a)
    await turn()
    const waiting = latest(a)
    const plain = a.run([])
    const other = latest(b)
    const replaced = latest(a, stop.signal)
    const last = latest(a)
    expect(await waiting).toBeUndefined()
    expect(await replaced).toBeUndefined()
    // Its call is over.
    stop.abort(new Error('late'))
    for (let n = 0; n < 4; n++) {
      release()
      await turn()
    }
    const answers = await Promise.all([begun, plain, other, last])
    expect(answers.every((answer) => answer !== undefined)).toBe(true)
    expect(count()).toBe(4)
  })

  it('waits for inputs that are being read, in the order of the calls', async () => {
    const model = await engine.load(plan(), true, {})
    const seen: unknown[] = []
    answer = (name, request) => {
      if (name === 'run') seen.push((request as { inputs: unknown }).inputs)
      return undefined
    }
    const [first, second] = [
      { dims: Uint32Array.of(1), bytes: new Uint8Array(4) },
      { dims: Uint32Array.of(2), bytes: new Uint8Array(8) },
    ]
    const slow = model.run(new Promise((resolve) => setTimeout(() => resolve([first]), 5)))
    const lost = Promise.reject(new InputError('no picture'))
    const failing = expect(model.run(lost)).rejects.toThrow('no picture')
    lost.catch(() => {})
    const quick = model.run([second])
    await slow
    await failing
    await quick
    expect(seen).toEqual([[first], [second]])
  })

  it('takes an aborted call out of the queue, and drops the result of one that runs', async () => {
    const model = await engine.load(plan(), true, {})
    const { release, count } = holdRuns()
    const [first, second] = [new AbortController(), new AbortController()]
    const running = model.run([], first.signal)
    const waiting = model.run([], second.signal)
    const third = model.run([])
    await turn()
    second.abort(new Error('second'))
    await expect(waiting).rejects.toThrow('second')
    first.abort(new Error('first'))
    await expect(running).rejects.toThrow('first')
    release()
    await turn()
    release()
    await third
    expect(count()).toBe(2)
  })

  it('drops a model whose load was aborted while it ran', async () => {
    const controller = new AbortController()
    let go = (): void => {}
    answer = (name) => (name === 'load' ? new Promise((resolve) => (go = () => resolve(undefined))) : undefined)
    const loading = engine.load(plan(), true, {}, controller.signal)
    await turn()
    controller.abort(new Error('enough'))
    await expect(loading).rejects.toThrow('enough')
    go()
    await turn()
    expect(channels[0]?.seen).toEqual(['start', 'load', 'drop'])
  })

  it('passes ordinary errors on and keeps the instance', async () => {
    const model = await engine.load(plan(), true, {})
    answer = (name) => {
      if (name === 'run') throw new InputError('no')
      return undefined
    }
    await expect(model.run([])).rejects.toThrow(InputError)
    answer = () => undefined
    await model.run([])
    expect(channels).toHaveLength(1)
  })

  it('replaces a lost instance, brings models back from their bytes, and loses no other call', async () => {
    const a = await engine.load(plan(), false, {})
    const b = await engine.load(plan(), false, {})
    const plans: Promise<Uint8Array>[] = []
    let trapped = false
    answer = (name, request) => {
      if (name === 'load') plans.push(bytesOf((request as { plan: Blob }).plan))
      if (name !== 'run' || trapped) return undefined
      trapped = true
      return lost()
    }
    const first = a.run([])
    const second = a.run([])
    const third = b.run([])
    await expect(first).rejects.toThrow('trapped')
    await second
    await third
    expect(channels).toHaveLength(2)
    expect(channels[0]?.closed).toBe(true)
    expect(channels[1]?.seen).toEqual(['start', 'load', 'run', 'load', 'run'])
    expect(await Promise.all(plans)).toEqual([plan(), plan()])
  })

  it('tries again after an instance that could not start', async () => {
    answer = (name) => (name === 'start' ? lost() : undefined)
    await expect(engine.load(plan(), true, {})).rejects.toThrow(InternalError)
    answer = () => undefined
    const model = await engine.load(plan(), true, {})
    await model.run([])
    expect(channels.map((c) => c.closed)).toEqual([true, false])
  })

  it('takes the next binary where one cannot be had or started', async () => {
    const seen: unknown[] = []
    const module = {} as WebAssembly.Module
    const threaded = new Engine({
      role: 'core',
      binaries: [
        () => Promise.reject(new Error('404')),
        () => Promise.resolve({ module, threads: 2 }),
        () => Promise.resolve({ module, threads: 1 }),
      ],
      open: () => {
        const channel = new FakeChannel((_, request) => {
          seen.push(request)
          return (request as { threads: number }).threads > 1 ? lost() : undefined
        })
        channels.push(channel)
        return channel
      },
    })
    threaded.retain()
    expect(await threaded.start()).toBe('fake')
    expect(seen).toEqual([
      { role: 'core', module, threads: 2 },
      { role: 'core', module, threads: 1 },
    ])
    expect(channels.map((channel) => channel.closed)).toEqual([true, true, false])
  })

  it('ends the instance with the last lease, and what waits with it', async () => {
    const model = await engine.load(plan(), true, {})
    engine.retain()
    engine.release()
    expect(channels[0]?.closed).toBe(false)
    holdRuns()
    void model.run([]).catch(() => {})
    const waiting = model.run([])
    await turn()
    engine.release()
    await expect(waiting).rejects.toThrow(DisposedError)
    await turn()
    expect(channels[0]?.closed).toBe(true)
    expect(channels).toHaveLength(1)
  })

  it('opens a new instance when it is wanted again', async () => {
    await engine.load(plan(), true, {})
    engine.release()
    engine.retain()
    await engine.load(plan(), true, {})
    expect(channels).toHaveLength(2)
  })

  it('refuses a dropped model', async () => {
    const model = await engine.load(plan(), true, {})
    model.drop()
    model.drop()
    await expect(model.run([])).rejects.toThrow(DisposedError)
    expect(channels[0]?.seen.filter((name) => name === 'drop')).toHaveLength(1)
  })

  it('gives a compiled model what it needs of other files, piece by piece', async () => {
    const needed = [{ path: 'w', start: 4, length: 8 }]
    const supplied: unknown[] = []
    answer = (name, request) => {
      if (name === 'open') return { id: 7, needed }
      if (name === 'supply') supplied.push(request)
      if (name === 'compile') return { kind: 'plan', plan: plan(), notes: [], ms: 1 }
      return name === 'supply' ? null : undefined
    }
    const weights = async (
      ranges: unknown,
      take: (piece: { path: string; at: number; bytes: Uint8Array<ArrayBuffer> }) => unknown,
    ) => {
      expect(ranges).toBe(needed)
      await take({ path: 'w', at: 4, bytes: Uint8Array.of(1) })
      await take({ path: 'w', at: 5, bytes: Uint8Array.of(2) })
    }
    const result = await engine.compile(plan(), {}, weights)
    expect(result).toMatchObject({ kind: 'plan', external: true })
    expect(supplied).toMatchObject([
      { id: 7, path: 'w', at: 4 },
      { id: 7, path: 'w', at: 5 },
    ])
  })

  it('forgets a model whose weights do not come', async () => {
    answer = (name) => (name === 'open' ? { id: 7, needed: [{ path: 'w', start: 0, length: 8 }] } : undefined)
    const failing = engine.compile(plan(), {}, () => Promise.reject(new InputError('no weights')))
    await expect(failing).rejects.toThrow('no weights')
    expect(channels[0]?.seen).toEqual(['start', 'open', 'drop'])
  })
})
