/** What a page transfers: files after brotli of the highest quality. */

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants } from 'node:zlib'

/** The most that the first example of the README may transfer, in bytes after brotli. */
export const BUDGET = 300_000

const squeeze = promisify(brotliCompress)

/** @param {Buffer} bytes */
async function brotli(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  return (await squeeze(bytes, { params })).length
}

/**
 * The files of a folder behind these paths of addresses, the heaviest first.
 * @param {string} folder
 * @param {Iterable<string>} paths
 */
export async function weigh(folder, paths) {
  const files = []
  for (const path of new Set(paths)) {
    const bytes = await readFile(join(folder, path === '/' ? 'index.html' : path)).catch(() => undefined)
    // A browser asks for an icon that is not there.
    if (bytes !== undefined)
      files.push({ name: basename(path) || 'index.html', bytes: bytes.length, brotli: await brotli(bytes) })
  }
  return files.sort((a, b) => b.brotli - a.brotli)
}
