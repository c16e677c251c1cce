/** Sounds on their way to a model: copied in the page, mixed and resampled in the thread that runs it. */

import { checkRate, lengthAt } from '../audio/resampler.js'
import type { WireAudio } from '../engine/protocol.js'
import { InputError } from '../errors.js'
import { inferDims } from '../feeds.js'
import type { Port } from '../types.js'
import { channelsOf } from './audio-source.js'
import { classOf } from './images.js'
import type { AudioFeed, AudioSource } from './types.js'

/** Whether a value is a sound. */
export function isAudio(value: unknown): value is AudioSource {
  if (classOf(value) === 'AudioBuffer') return true
  const { channels, sampleRate } = Object(value) as { channels?: unknown; sampleRate?: unknown }
  return Array.isArray(channels) && typeof sampleRate === 'number'
}

/** A sound for an input. */
export function captureAudio(port: Port, { audio, sampleRate }: AudioFeed): WireAudio {
  const what = `input '${port.name}'`
  if (port.type !== 'float32') throw new InputError(`Sound becomes float32; ${what} takes ${port.type}: give a tensor.`)
  const given = channelsOf(audio, what)
  const [from, to] = [checkRate(audio.sampleRate, what), checkRate(sampleRate, what)]
  const length = lengthAt(given[0]?.length ?? 0, from, to)
  const dims = Uint32Array.from(inferDims(port, length, new Map()))
  const channels = given.map((channel) => channel.slice())
  return { dims, channels, from, to, transfer: channels.map((channel) => channel.buffer) }
}
