/** Tells speech from everything else, 31 times a second: Silero VAD, which carries a state from chunk to chunk. */

import { Model, Tensor } from 'nearside'
import { Resampler } from 'nearside/audio'

import { openMedia, sentence, startBy } from '../failures'
import worklet from './chunks-worklet.js?url'

const MODEL = new URLSearchParams(location.search).get('model') ?? '../models/silero_vad.onnx'

/** What the model takes: 512 new samples at 16 kHz, after the last 64 of the chunk before. */
const RATE = 16_000
const CHUNK = 512
const CONTEXT = 64
/** Speech begins above the first probability, and ends below the second for so many chunks. */
const BEGIN = 0.5
const END = 0.35
const PATIENCE = 10

const start = document.querySelector('button') as HTMLButtonElement
const level = document.querySelector('meter') as HTMLMeterElement
const state = document.querySelector('#state') as HTMLElement

class Detector {
  readonly #model: Model
  readonly #rate = new Tensor('int64', [BigInt(RATE)], [])
  readonly #window = new Float32Array(CONTEXT + CHUNK)
  #state = new Tensor('float32', new Float32Array(2 * 128), [2, 1, 128])

  constructor(model: Model) {
    this.#model = model
  }

  /** The probability that a chunk has speech in it. Chunks must come in order, one after the other. */
  async hear(chunk: Float32Array): Promise<number> {
    this.#window.copyWithin(0, CHUNK)
    this.#window.set(chunk, CONTEXT)
    const input = new Tensor('float32', this.#window, [1, CONTEXT + CHUNK])
    const { output, stateN } = await this.#model.run({ input, state: this.#state, sr: this.#rate })
    if (stateN?.type !== 'float32') throw new Error('The model gives no stateN.')
    this.#state = stateN
    return Number(output?.data[0])
  }
}

async function listen(detector: Detector): Promise<void> {
  // Echo and noise are the model's business; what browsers do about them changes from one to the next.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }
  const stream = await openMedia({ audio: plain })
  // Not every browser takes a microphone into a context of another rate, so it has its own.
  const context = new AudioContext()
  const resampler = new Resampler(context.sampleRate, RATE)
  await context.audioWorklet.addModule(worklet)
  const chunks = new AudioWorkletNode(context, 'chunks', { numberOfOutputs: 0 })
  context.createMediaStreamSource(stream).connect(chunks)

  let quiet = PATIENCE
  let busy = Promise.resolve()
  const hear = async (chunk: Float32Array): Promise<void> => {
    const probability = await detector.hear(chunk)
    quiet = probability >= BEGIN ? 0 : quiet > 0 || probability < END ? quiet + 1 : 0
    level.value = probability
    state.textContent = quiet < PATIENCE ? 'Somebody is speaking.' : 'Nobody is speaking.'
  }
  let samples = new Float32Array(0)
  chunks.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    samples = Float32Array.of(...samples, ...resampler.push(data))
    for (; samples.length >= CHUNK; samples = samples.slice(CHUNK)) {
      const chunk = samples.slice(0, CHUNK)
      busy = busy.then(() => hear(chunk))
      busy.catch(fail)
    }
  }
}

function fail(error: unknown): void {
  state.textContent = sentence(error)
}

async function main(): Promise<void> {
  const model = await Model.load(MODEL)
  state.textContent = 'Ready.'
  startBy(start, () => listen(new Detector(model)), fail)
}

start.disabled = true
main().catch(fail)
