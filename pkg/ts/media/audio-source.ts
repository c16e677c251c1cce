/** The samples of a sound, checked. */

import { InputError } from '../errors.js'
import type { AudioSource } from './types.js'

/** A sound's channels; they are the sound's own. */
export function channelsOf(audio: AudioSource, what: string): readonly Float32Array[] {
  const channels =
    'channels' in audio ? audio.channels : Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i))
  const length = channels[0]?.length ?? 0
  if (length === 0 || !channels.every((channel) => channel instanceof Float32Array && channel.length === length)) {
    throw new InputError(
      `The channels of ${what} have ${channels.map((c) => c.length).join(', ') || 'no'} samples; give at least one Float32Array with a sample, all of one length.`,
    )
  }
  return channels
}
