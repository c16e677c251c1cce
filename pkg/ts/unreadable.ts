/** What is said of files of this machine that cannot be read. Never part of a page. */

import { InputError } from './errors.js'

/** An error that says why a file cannot be read, and what it is for, if `what` says so. */
export function cannotRead(path: string, cause: unknown, what = ''): InputError {
  const code = (cause as { code?: unknown } | undefined)?.code
  const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'access is denied' : String(cause)
  return new InputError(`The file ${path}${what === '' ? '' : `, ${what},`} cannot be read: ${why}.`, { cause })
}

/** The error for a folder, or whatever else is no file. */
export function notAFile(path: string): InputError {
  return new InputError(`The path ${path} is not a file; give the path of an ONNX model or of a plan.`)
}
