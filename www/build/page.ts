/** What the built page says to browsers in its head: what to fetch and start at once, and that nothing else may be. */

import { createHash } from 'node:crypto'
import type { Plugin } from 'vite'

/** Validates where relaxed SIMD exists: `() -> v128` that adds a relaxed dot product (WebAssembly core specification, section 5.4). */
const PROBE = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0],
  ...[65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11],
]

/**
 * Compiles the runtime that this browser will pick, starts its Worker and fetches the model, while the scripts still arrive:
 * "The soonest first answer" in the package's README.
 */
export function pageHead(planUrl: string): Plugin {
  return {
    name: 'page-head',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler: (html, { bundle }) => {
        const find = (pattern: RegExp): string => {
          const found = Object.keys(bundle ?? {}).find((name) => pattern.test(name))
          if (found === undefined)
            throw new Error(`The build made no file like ${String(pattern)}: build the package before the page.`)
          return found
        }
        const [simd, relaxed] = [find(/core\.simd-[\w-]+\.wasm$/), find(/core\.relaxed-[\w-]+\.wasm$/)]
        const start = find(/start-[\w-]+\.js$/)
        const worker = find(/worker-[\w-]+\.js$/)
        const early =
          `const variant=WebAssembly.validate(new Uint8Array(${JSON.stringify(PROBE)}))?'relaxed':'simd',` +
          `module=WebAssembly.compileStreaming(fetch({relaxed:'./${relaxed}',simd:'./${simd}'}[variant])),` +
          `worker=new Worker('./${worker}',{type:'module',name:'nearside'});` +
          `globalThis.early={variant,module,worker};module.catch(()=>{});worker.onerror=()=>{early.worker=undefined}`
        const hash = createHash('sha256').update(early).digest('base64')
        const policy = `default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'sha256-${hash}'; base-uri 'none'; form-action 'self'`
        const head = [
          `<meta http-equiv="Content-Security-Policy" content="${policy}" />`,
          `<script>${early}</script>`,
          `<link rel="preload" as="fetch" crossorigin href="./${planUrl}" />`,
          // Laying the page out takes longer than this script, and would keep it waiting.
          `<script type="module" async blocking="render" fetchpriority="high" crossorigin src="./${start}"></script>`,
        ]
        // After what says how to read the page, and before the style sheet, which would hold the script back.
        const [place] = /<meta name="viewport"[^>]*>/.exec(html) ?? []
        if (place === undefined) throw new Error('index.html has no viewport, after which its head goes on.')
        return html.replace(place, () => [place, ...head].join('\n    '))
      },
    },
  }
}
