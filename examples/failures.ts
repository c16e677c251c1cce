/** What can go wrong around a model, in sentences: files that are not there, a camera or microphone that is not given at once. */

/** What an error tells; the package's are sentences. */
export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Fetches a file of JSON. */
export async function fetchJson(address: string): Promise<unknown> {
  const answer = await fetch(address).catch((cause: unknown) => {
    throw new Error(`${address} could not be fetched; check the connection.`, { cause })
  })
  if (!answer.ok) throw new Error(`${address}: the server answered ${answer.status}; put the file there.`)
  const text = await answer.text()
  try {
    return JSON.parse(text)
  } catch (cause) {
    // Many servers answer with their first page where they have no file.
    const what = /^\s*</.test(text) ? 'is a web page' : 'is not JSON'
    throw new Error(`${address} ${what}; check that the file is there.`, { cause })
  }
}

/** Enables a button that starts `work`, once at a time; after a failure it can be tried again. */
export function startBy(button: HTMLButtonElement, work: () => Promise<void>, fail: (error: unknown) => void): void {
  button.disabled = false
  button.onclick = () => {
    button.disabled = true
    work().catch((error: unknown) => {
      fail(error)
      // What was refused may be allowed the next time.
      button.disabled = false
    })
  }
}

const REFUSALS: Readonly<Record<string, string>> = {
  NotAllowedError: 'was not allowed; allow it beside the address of this page, and start again',
  NotFoundError: 'was not found; connect one, and start again',
  NotReadableError: 'is in use by another program; close that, and start again',
}

/** Opens the camera or the microphone. */
export async function openMedia(constraints: MediaStreamConstraints): Promise<MediaStream> {
  const what = constraints.video === undefined ? 'microphone' : 'camera'
  // Browsers leave it out where others could listen to the connection.
  const devices = navigator.mediaDevices as MediaDevices | undefined
  if (devices === undefined) throw new Error(`This page may not use a ${what}: open it by https, or from localhost.`)
  return devices.getUserMedia(constraints).catch((cause: unknown) => {
    const why = cause instanceof DOMException ? REFUSALS[cause.name] : undefined
    throw new Error(`The ${what} ${why ?? `could not be opened (${String(cause)})`}.`, { cause })
  })
}
