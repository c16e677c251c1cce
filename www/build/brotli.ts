/** Puts a compressed copy beside each file that is worth it: the server sends it to browsers that know Brotli. */

import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import type { Plugin } from 'vite'

/** @param made an earlier build: what has the same name in its `assets`, digest included, is compressed there already */
export function brotli(folder: string, made?: string): Plugin {
  return {
    name: 'brotli',
    apply: 'build',
    enforce: 'post',
    closeBundle: () => {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(html|m?js|css|svg|wasm|plan)$/.test(name)) continue
        const file = join(folder, name)
        const known = join(made ?? folder, `${name}.br`)
        if (made !== undefined && name.startsWith('assets') && existsSync(known)) {
          copyFileSync(known, `${file}.br`)
          continue
        }
        const bytes = readFileSync(file)
        // The compiler is 6 MB and never asked for here: quality 11 would take longer than the rest of the build.
        const quality = bytes.length > 2e6 ? 5 : 11
        const packed = brotliCompressSync(bytes, {
          params: { [constants.BROTLI_PARAM_QUALITY]: quality, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
        })
        if (packed.length < bytes.length * 0.95) writeFileSync(`${file}.br`, packed)
      }
    },
  }
}
