/** The microphone as an input: its level, the last seconds of what it hears, and the microphone is off again. */

import { Resampler } from 'nearside/audio'

import { openMedia } from '../../examples/failures'
import worklet from '../../examples/voice-activity/chunks-worklet.js?url'
import { byId, setText } from '../src/dom'
import { formatMs, sentenceOf } from '../src/format'
import type { Sound } from './sound'

/** What is kept while the microphone is on, in seconds. */
const KEPT = 10

/** @returns the sound that was taken, if any */
export function showMicrophone(): () => Sound | undefined {
  const buttons = {
    open: byId('microphone-open', HTMLButtonElement),
    take: byId('microphone-take', HTMLButtonElement),
    forget: byId('microphone-forget', HTMLButtonElement),
  }
  const rate = byId('microphone-rate', HTMLInputElement)
  const level = byId('microphone-level', HTMLMeterElement)
  const state = byId('microphone-state', HTMLElement)
  let sound: Sound | undefined
  let recording: Recording | undefined

  const show = (sentence: string): void => {
    setText(state, sentence)
    buttons.open.hidden = recording !== undefined
    buttons.take.hidden = level.hidden = recording === undefined
    buttons.forget.hidden = recording === undefined && sound === undefined
    setText(buttons.forget, recording === undefined ? 'Forget the sound' : 'Close the microphone')
  }
  const stop = (): void => {
    recording?.stop()
    recording = undefined
  }
  const open = async (): Promise<void> => {
    buttons.open.disabled = true
    try {
      buttons.take.disabled = true
      recording = await record(rate.valueAsNumber, {
        onLevel: (loudness) => {
          level.value = loudness
          buttons.take.disabled = false
        },
        onEnd: () => {
          stop()
          show('The microphone ended; open it again.')
        },
      })
      show('Make a sound, and take it.')
    } finally {
      buttons.open.disabled = false
    }
  }
  const take = (): void => {
    const taken = recording?.sound()
    stop()
    sound = taken
    const ms = taken === undefined ? 0 : (taken.samples.length / taken.rate) * 1000
    show(`These ${formatMs(ms)} are the input of models that take a sound; the microphone is off.`)
  }
  buttons.open.addEventListener(
    'click',
    () =>
      void open().catch((error: unknown) => {
        stop()
        show(sentenceOf(error))
      }),
  )
  buttons.take.addEventListener('click', take)
  buttons.forget.addEventListener('click', () => {
    // With the microphone open, the sound before is the input again.
    if (recording === undefined) sound = undefined
    stop()
    show('')
  })
  return () => sound
}

interface Recording {
  sound(): Sound
  stop(): void
}

interface Events {
  /** Called for each chunk with its loudest sample. */
  readonly onLevel: (loudness: number) => void
  readonly onEnd: () => void
}

/** Hears the microphone, at the rate that the model wants. */
async function record(rate: number, { onLevel, onEnd }: Events): Promise<Recording> {
  // Echo and noise are the model's business; what browsers do about them changes from one to the next.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }
  const stream = await openMedia({ audio: plain })
  // Not every browser takes a microphone into a context of another rate, so it has its own.
  const context = new AudioContext()
  const stop = (): void => {
    for (const track of stream.getTracks()) track.stop()
    void context.close()
  }
  try {
    const resampler = new Resampler(context.sampleRate, rate)
    await context.audioWorklet.addModule(worklet)
    const node = new AudioWorkletNode(context, 'chunks', { numberOfOutputs: 0 })
    context.createMediaStreamSource(stream).connect(node)
    stream.getAudioTracks()[0]?.addEventListener('ended', onEnd)
    const heard: Float32Array[] = []
    node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
      heard.push(resampler.push(data))
      if (heard.length * data.length > KEPT * context.sampleRate) heard.shift()
      onLevel(data.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0))
    }
    return { sound: () => ({ samples: joined(heard), rate }), stop }
  } catch (error) {
    stop()
    throw error
  }
}

function joined(pieces: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}
