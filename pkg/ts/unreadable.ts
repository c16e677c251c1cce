/** What is said of files of this machine that cannot be read. Never part of a page. */

import { InputError } from './errors.js'

/** An error that says why a file cannot be read, and what it is for, if `what` says so. */
export function cannotRead(path: string, cause: unknown, what = ''): InputError {
  return new InputError(`The file ${path}${what === '' ? '' : `, ${what},`} cannot be read: ${why(cause)}.`, { cause })
}

function why(cause: unknown): string {
  const code = (cause as { code?: unknown } | undefined)?.code
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return 'there is no such file; check the path, which starts at the working directory unless it is absolute'
  return code === 'EACCES' || code === 'EPERM' ? 'access is denied; check its permissions' : String(cause)
}

/** The error for a folder, or whatever else is no file. */
export function notAFile(path: string): InputError {
  return new InputError(`The path ${path} is not a file; give the path of an ONNX model or of a plan.`)
}
