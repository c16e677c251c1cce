/**
 * Inputs that are no tensors: pictures and sounds. Loaded with the first of them, so that pages which give tensors never download it.
 */

import type { WireInput } from '../engine/protocol.js'
import { InputError } from '../errors.js'
import { type Note, resolveFeeds, toWire } from '../feeds.js'
import { type AnyTensor, Tensor } from '../tensor.js'
import type { Feed, Feeds, Port } from '../types.js'
import { captureAudio, isAudio } from './audio.js'
import { captureImages, isImage } from './images.js'
import type { AudioFeed, ImageFeed, LocalFeed, LocalFeeds } from './types.js'

/**
 * Resolves feeds with pictures and sounds among them, and hands the inputs to `use`. What may change is copied before this returns, unless it is `owned`
 * by this call. Tensors travel in `spares`, as they do without pictures.
 */
export async function withMedia<T>(
  ports: readonly Port[],
  feeds: LocalFeeds,
  note: Note,
  use: (inputs: Promise<WireInput[]>) => Promise<T>,
  owned = false,
  spares: Uint8Array[] = [],
): Promise<T> {
  const capturing: (WireInput | Promise<WireInput>)[] = []
  const inputs = async (): Promise<WireInput[]> => {
    const take = (port: Port, feed: LocalFeed): boolean => {
      const captured = capture(port, feed, owned)
      if (captured !== undefined) capturing.push(captured)
      return captured !== undefined
    }
    const tensors = resolveFeeds(ports, named(ports, feeds) as Feeds, note, take as (port: Port, feed: Feed) => boolean)
    const media = [...capturing]
    const ready = async (tensor: AnyTensor | undefined): Promise<WireInput> =>
      tensor === undefined ? (media.shift() as WireInput | Promise<WireInput>) : toWire(tensor, spares)
    return Promise.all(tensors.map(ready))
  }
  const captured = inputs()
  // It may fail long before its turn comes.
  captured.catch(() => {})
  try {
    return await use(captured)
  } catch (error) {
    throw explained(error)
  } finally {
    for (const input of capturing) void Promise.resolve(input).then(close, () => {})
  }
}

/** A bare picture or sound with options, for the one input, is told from a record of inputs by its member. */
function named(ports: readonly Port[], feeds: LocalFeeds): LocalFeeds {
  const [port] = ports
  if (port === undefined || ports.length > 1 || typeof feeds !== 'object' || feeds === null) return feeds
  const options = isImageFeed(feeds) || isAudioFeed(feeds)
  const record = port.name in feeds && Object.keys(feeds).length === 1
  return isImage(feeds) || (options && !record) ? { [port.name]: feeds } : feeds
}

function isImageFeed(feed: object): feed is ImageFeed {
  const { image } = feed as Partial<ImageFeed>
  return isImage(image) || (Array.isArray(image) && image.some(isImage))
}

function isAudioFeed(feed: object): feed is AudioFeed {
  return isAudio((feed as Partial<AudioFeed>).audio)
}

/** `undefined` for what may be a tensor. */
function capture(port: Port, feed: LocalFeed, owned: boolean): WireInput | Promise<WireInput> | undefined {
  if (typeof feed !== 'object' || feed === null || feed instanceof Tensor) return undefined
  if (isAudioFeed(feed)) return captureAudio(port, feed)
  if (isAudio(feed)) {
    throw new InputError(
      `Input '${port.name}' is sound without a rate; give { audio, sampleRate } with the samples a second that the model wants.`,
    )
  }
  if (isImageFeed(feed)) return captureImages(port, feed, owned)
  if (isImage(feed) || (Array.isArray(feed) && feed.some(isImage)))
    return captureImages(port, { image: feed as ImageFeed['image'] }, owned)
  return undefined
}

/** What the browser says when pixels must not leave the page. */
function explained(error: unknown): unknown {
  if (!(error instanceof DOMException) || error.name !== 'DataCloneError') return error
  return new InputError(
    'A picture of another origin must not be read; serve it with CORS and set crossorigin on its element, also on what was drawn on a canvas.',
    { cause: error },
  )
}

/** Gives back what the run did not take; what went to a Worker is no longer here, and what was closed there stays so. */
function close(input: WireInput): void {
  if ('images' in input) for (const image of input.images) if ('close' in image) image.close()
}
