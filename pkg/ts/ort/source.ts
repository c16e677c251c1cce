/** The model of a session: its address or bytes, with the weights and sizes that the options add. */

import { fetchAny, fileAddress, isNode, openFiles } from '../files.js'
import { InputError, NetworkError } from '../index.js'
import { env } from './env.js'
import { editModel, normalizePath } from './model-edit.js'
import type { ExternalDataFileType, FileType, InferenceSession } from './session-types.js'

/** What `Model.load` is given. */
export async function modelSource(
  source: string | Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<string | Uint8Array> {
  const [externalData, sizes] = [options.externalData ?? [], options.freeDimensionOverrides ?? {}]
  if (!Array.isArray(externalData))
    throw new TypeError("'externalData' must be a list of files, or of objects with a path and data.")
  if (externalData.length === 0 && Object.keys(sizes).length === 0) return source
  const [model, ...files] = await Promise.all([
    readFile(source),
    ...(externalData as readonly ExternalDataFileType[]).map(readExternal),
  ])
  if (isPlan(model)) {
    throw new InputError(
      'The session options externalData and freeDimensionOverrides change an ONNX model; a compiled plan has its weights inside and its sizes settled. Leave them out, or give the ONNX file.',
    )
  }
  return editModel(model, new Map(files), sizes)
}

async function readExternal(file: ExternalDataFileType): Promise<[string, Uint8Array]> {
  const { path, data } = typeof file === 'string' ? { path: file, data: file } : file
  if (typeof path !== 'string') throw new TypeError("An entry of 'externalData' needs a 'path', as the model names the file.")
  return [normalizePath(path), await readFile(data)]
}

async function readFile(file: FileType): Promise<Uint8Array> {
  if (file instanceof Uint8Array) return file
  if (file instanceof Blob) return new Uint8Array(await file.arrayBuffer())
  if (typeof file === 'string') return download(file)
  return new Uint8Array(file)
}

async function download(url: string): Promise<Uint8Array> {
  const failed = (text: string, status?: number, cause?: unknown): NetworkError => {
    const reason = status === undefined ? 'unreachable' : 'status'
    return new NetworkError(`'${url}' could not be fetched (${text}); check the address and the connection.`, {
      url,
      reason,
      status,
      cause,
    })
  }
  if (isNode()) await openFiles()
  let response: Response
  try {
    response = await fetchAny(fileAddress(url), env.nearside.request ?? {})
  } catch (cause) {
    if (cause instanceof InputError) throw cause
    throw failed(String(cause), undefined, cause)
  }
  if (!response.ok) throw failed(`the server answered ${response.status}`, response.status)
  return new Uint8Array(await response.arrayBuffer())
}

function isPlan(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, 8)) === 'NEARPLAN'
}
