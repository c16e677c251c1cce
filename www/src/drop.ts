/** Files that are dropped anywhere on the page; while one is held over it, the body has `data-drop`. */

export function takeDropped(take: (files: FileList) => void): void {
  const mark = (over: boolean): void => {
    document.body.toggleAttribute('data-drop', over)
  }
  addEventListener('dragover', (event) => {
    if (event.dataTransfer?.types.includes('Files') !== true) return
    // Without this the browser would open the file instead of the page.
    event.preventDefault()
    mark(true)
  })
  addEventListener('dragleave', () => {
    mark(false)
  })
  addEventListener('drop', (event) => {
    mark(false)
    const files = event.dataTransfer?.files
    if (files === undefined || files.length === 0) return
    event.preventDefault()
    take(files)
  })
}
