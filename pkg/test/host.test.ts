import { describe, expect, it } from 'vitest'
import { Host } from '../ts/engine/host.js'
import { ChannelLost } from '../ts/engine/protocol.js'
import type { Raw } from '../ts/engine/raw.js'
import { fromWire } from '../ts/engine/wire-error.js'
import { InputError, InternalError, LimitError, ModelFormatError, PlanError, UnsupportedError } from '../ts/errors.js'

const module = {} as WebAssembly.Module

/** A host over a binary whose digests do as told. */
async function hostThat(push: () => void): Promise<{ host: Host; panic: (text: string) => void }> {
  let panic: (text: string) => void = () => {}
  class RawDigest {
    push = push
  }
  const raw = { start: (report: (text: string) => void) => ((panic = report), 'fake'), RawDigest }
  const host = new Host(() => Promise.resolve(raw as unknown as Raw))
  await host.handle('start', { role: 'core', module, threads: 1 })
  return { host, panic: (text) => panic(text) }
}

async function failureOf(host: Host): Promise<Error> {
  try {
    await host.handle('sha256', { file: new Uint8Array(0) })
  } catch (error) {
    // As it would cross to another thread.
    return fromWire(structuredClone(host.describe(error)))
  }
  throw new Error('nothing was thrown')
}

function rustError(kind: string, message: string): Error {
  const error = new Error(message)
  error.name = kind
  return error
}

describe('errors that cross the border', () => {
  it.each([
    ['InvalidModel', ModelFormatError],
    ['InvalidPlan', PlanError],
    ['Unsupported', UnsupportedError],
    ['InvalidInput', InputError],
    ['Limit', LimitError],
    ['Internal', InternalError],
  ])('%s is its class, as a sentence', async (kind, Class) => {
    const { host } = await hostThat(() => {
      throw rustError(kind, "input 'x' is missing")
    })
    const error = await failureOf(host)
    expect(error).toBeInstanceOf(Class)
    expect(error.message).toBe("Input 'x' is missing.")
  })

  it('a trap loses the instance and says what panicked', async () => {
    const { host, panic } = await hostThat(() => {
      panic('panicked at src/kernels/conv.rs:1: boom')
      throw new WebAssembly.RuntimeError('unreachable')
    })
    const error = await failureOf(host)
    expect(error).toBeInstanceOf(ChannelLost)
    expect((error as ChannelLost).error).toBeInstanceOf(InternalError)
    expect(error.message).toContain('panicked at src/kernels/conv.rs:1: boom')
  })

  it('so does a trap that said nothing, or an exhausted stack', async () => {
    for (const thrown of [
      new WebAssembly.RuntimeError('memory access out of bounds'),
      new RangeError('Maximum call stack size exceeded'),
    ]) {
      const { host } = await hostThat(() => {
        throw thrown
      })
      const error = await failureOf(host)
      expect(error).toBeInstanceOf(ChannelLost)
      expect(error.message).toContain(thrown.message)
    }
  })

  it('a binary that does not start is named', async () => {
    const host = new Host(() => Promise.reject(new WebAssembly.LinkError('import missing')))
    const error = await host
      .handle('start', { role: 'core', module, threads: 1 })
      .catch((e: unknown) => fromWire(host.describe(e)))
    expect(error).toBeInstanceOf(ChannelLost)
    expect((error as Error).message).toMatch(/could not be started \(.*import missing\); check that the .wasm file/)
  })
})
