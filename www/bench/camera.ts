/** The camera as an input: a preview, one frame of it, and the camera is off again. */

import { openMedia } from '../../examples/failures'
import { byId, setText } from '../src/dom'
import { sentenceOf } from '../src/format'

/** @returns the frame that was taken, if any */
export function showCamera(): () => ImageBitmap | undefined {
  const buttons = {
    open: byId('camera-open', HTMLButtonElement),
    take: byId('camera-take', HTMLButtonElement),
    forget: byId('camera-forget', HTMLButtonElement),
  }
  const preview = byId('camera-preview', HTMLVideoElement)
  const shown = byId('camera-frame', HTMLCanvasElement)
  const state = byId('camera-state', HTMLElement)
  let frame: ImageBitmap | undefined
  let stream: MediaStream | undefined

  const show = (sentence: string): void => {
    setText(state, sentence)
    buttons.open.hidden = stream !== undefined
    buttons.take.hidden = preview.hidden = stream === undefined
    buttons.forget.hidden = stream === undefined && frame === undefined
    setText(buttons.forget, stream === undefined ? 'Forget the frame' : 'Close the camera')
    shown.hidden = frame === undefined || stream !== undefined
  }
  const stop = (): void => {
    for (const track of stream?.getTracks() ?? []) track.stop()
    preview.srcObject = null
    stream = undefined
  }
  const open = async (): Promise<void> => {
    buttons.open.disabled = true
    try {
      stream = await openMedia({ video: { facingMode: 'environment' } })
      stream.getVideoTracks()[0]?.addEventListener('ended', () => {
        stop()
        show('The camera ended; open it again.')
      })
      preview.srcObject = stream
      show('Hold it still, and take the frame.')
      await preview.play()
    } finally {
      buttons.open.disabled = false
    }
  }
  const take = async (): Promise<void> => {
    const taken = await createImageBitmap(preview)
    stop()
    frame = taken
    shown.width = taken.width
    shown.height = taken.height
    shown.getContext('2d')?.drawImage(taken, 0, 0)
    show('This frame is the input of models that take a picture; the camera is off.')
  }
  const fail = (error: unknown): void => {
    stop()
    show(sentenceOf(error))
  }
  buttons.open.addEventListener('click', () => void open().catch(fail))
  buttons.take.addEventListener('click', () => void take().catch(fail))
  buttons.forget.addEventListener('click', () => {
    // With the camera open, the frame before is the input again.
    if (stream === undefined) frame = undefined
    stop()
    show('')
  })
  return () => frame
}
