/**
 * Sound for models: one channel at the rate that a model wants, as a whole or as a stream.
 *
 * @example
 * const samples = toMono(await context.decodeAudioData(file), 16_000)
 */

import { InputError } from '../errors.js'
import type { AudioSource } from '../media/types.js'
import { channelsOf } from '../media/audio-source.js'
import { resample } from './resampler.js'

export type { AudioSource } from '../media/types.js'
export { Resampler } from './resampler.js'

/**
 * The mean of a sound's channels at another rate, as many samples as its time. A feed `{ audio, sampleRate }` does the same in the Worker.
 *
 * @throws InputError for what is no sound, channels of different lengths or none, and for rates as {@link Resampler} does
 */
export function toMono(audio: AudioSource, sampleRate: number): Float32Array {
  const { channels, getChannelData } = Object(audio) as { channels?: unknown; getChannelData?: unknown }
  if ((channels ?? getChannelData) === undefined)
    throw new InputError('The sound has no channels; give an AudioBuffer, or { channels, sampleRate }.')
  return resample(channelsOf(audio, 'the sound'), audio.sampleRate, sampleRate)
}
