/** Where pictures come from: the clipboard, a drop anywhere on the page, or the dialog, which on phones offers the camera. */

import { takeDropped } from './drop'
import { sentenceOf } from './format'
import { inkOfPicture } from './picture'

/** The last picture wins, however long each takes to read. */
export function takePictures(
  chooser: HTMLInputElement,
  show: (picture: HTMLCanvasElement) => void,
  complain: (sentence: string) => void,
): void {
  let latest: Blob | undefined
  const take = (files: FileList | null | undefined): boolean => {
    const file = files?.[0]
    if (file === undefined) return false
    latest = file
    inkOfPicture(file).then(
      (picture) => {
        if (latest === file) show(picture)
      },
      (error: unknown) => {
        if (latest === file) complain(sentenceOf(error))
      },
    )
    return true
  }
  addEventListener('paste', (event) => {
    if (take(event.clipboardData?.files)) event.preventDefault()
  })
  takeDropped(take)
  chooser.addEventListener('change', () => {
    take(chooser.files)
    // The same file can be chosen again.
    chooser.value = ''
  })
}
