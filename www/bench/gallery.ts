/** Mistakes to make on purpose: what the package says to each, and that the next run of a good model is as if nothing had been. */

import { Model, Tensor } from 'nearside'

import { drawnDigit } from './digit'

/** What a mistake finds ready. */
interface Kit {
  /** A good model, `image` [1, 1, 28, 28] to `logits`. */
  readonly model: Model
  /** Its plan's bytes, to be spoilt. */
  readonly plan: () => Uint8Array<ArrayBuffer>
  /** A drawn digit. */
  readonly image: () => Float32Array<ArrayBuffer>
}

export interface Mistake {
  readonly title: string
  readonly make: (kit: Kit) => Promise<unknown>
}

/** A model of this page that is loaded for one mistake. */
async function another({ plan }: Kit): Promise<Model> {
  return Model.load(plan(), { cache: false })
}

export const MISTAKES: readonly Mistake[] = [
  {
    title: 'A picture of the wrong size',
    make: ({ model }) => model.run({ image: new Tensor('float32', new Float32Array(9), [1, 1, 3, 3]) }),
  },
  { title: 'Too few numbers', make: ({ model }) => model.run({ image: new Float32Array(700) }) },
  { title: 'Integers for an input of floats', make: ({ model }) => model.run({ image: new BigInt64Array(784) }) },
  { title: 'A misspelt input', make: ({ model, image }) => model.run({ picture: image() }) },
  { title: 'No input at all', make: ({ model }) => model.run({}) },
  {
    title: 'An array that was given away (detached)',
    make: ({ model, image }) => {
      const pixels = image()
      structuredClone(pixels.buffer, { transfer: [pixels.buffer] })
      return model.run({ image: pixels })
    },
  },
  {
    title: 'A model that was disposed',
    make: async (kit) => {
      const model = await another(kit)
      model.dispose()
      return model.run({ image: kit.image() })
    },
  },
  {
    title: 'A run that was aborted',
    make: ({ model, image }) => {
      const stop = new AbortController()
      const running = model.run({ image: image() }, { signal: stop.signal })
      stop.abort()
      return running
    },
  },
  {
    title: 'A damaged plan',
    make: ({ plan }) => {
      const bytes = plan()
      bytes.fill(0xff, 5000, 5100)
      return Model.load(bytes, { cache: false })
    },
  },
  { title: 'Half a plan', make: ({ plan }) => Model.load(plan().subarray(0, 30_000), { cache: false }) },
  {
    title: 'A picture in place of a model',
    make: () => Model.load(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13)),
  },
  { title: 'A web page in place of a model', make: () => Model.load(new Blob(['<!doctype html><title>Welcome</title>'])) },
  { title: 'An address that answers 404', make: () => Model.load('no-such-model.onnx') },
  // Names under .invalid never exist (RFC 6761), so that nothing leaves the device.
  { title: 'A server that is not there', make: () => Model.load('https://models.invalid/digits.onnx') },
  { title: 'Other bytes than were promised (integrity)', make: ({ plan }) => Model.load(plan(), { integrity: '0'.repeat(64) }) },
  { title: 'A model over the limits', make: ({ plan }) => Model.load(plan(), { cache: false, limits: { modelBytes: 10_000 } }) },
  { title: 'An option that makes no sense', make: ({ plan }) => Model.load(plan(), { timeout: -1 }) },
  { title: 'A server without that model', make: () => Model.connect(location.origin, 'no-such-model') },
]

/** What came of a mistake. */
export interface Outcome {
  /** The class of the error. */
  readonly name: string
  /** Its sentence. */
  readonly message: string
  /** What the good model said after it, and in how many milliseconds; it is `well` if that is what it said before. */
  readonly next: { readonly digit: number; readonly ms: number; readonly well: boolean }
}

/** Makes mistakes with one good model, which is loaded for the first of them. */
export class Gallery {
  readonly #planUrl: string
  #kit: Promise<Kit & { readonly before: string }> | undefined

  constructor(planUrl: string) {
    this.#planUrl = planUrl
  }

  /** @throws if nothing went wrong, or if the good model cannot be loaded */
  async make({ title, make }: Mistake): Promise<Outcome> {
    this.#kit ??= this.#open()
    this.#kit.catch(() => (this.#kit = undefined))
    const kit = await this.#kit
    let failure: unknown
    try {
      await make(kit)
    } catch (error) {
      failure = error
    }
    if (failure === undefined) throw new Error(`${title}: nothing went wrong.`)
    const { name, message } =
      failure instanceof Error || failure instanceof DOMException ? failure : new Error('What was thrown is no error.')
    const start = performance.now()
    const logits = await scores(kit)
    const ms = performance.now() - start
    return { name, message, next: { digit: largest(logits), ms, well: logits.join() === kit.before } }
  }

  async #open(): Promise<Kit & { readonly before: string }> {
    const answer = await fetch(this.#planUrl)
    const bytes = new Uint8Array(await answer.arrayBuffer())
    const pixels = drawnDigit()
    if (pixels === undefined) throw new Error('The page could not draw a digit.')
    const kit = {
      model: await Model.load(bytes.slice(), { cache: false }),
      plan: () => bytes.slice(),
      image: () => pixels.slice(),
    }
    return { ...kit, before: (await scores(kit)).join() }
  }
}

async function scores({ model, image }: Kit): Promise<Float32Array> {
  const { logits } = await model.run({ image: image() })
  return logits?.data as Float32Array
}

function largest(scores: Float32Array): number {
  return scores.indexOf(Math.max(...scores))
}
