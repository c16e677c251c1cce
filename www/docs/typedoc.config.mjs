/** The documentation site: guides and other Markdown of the repository, and the API of every entry of the package. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '../..')
const { exports } = JSON.parse(readFileSync(join(root, 'pkg/package.json'), 'utf8'))

/** Sources of the package's entries, by the name under which they are imported. */
export const ENTRIES = new Map(
  Object.entries(exports)
    .filter(([, target]) => typeof target === 'object' && typeof target.types === 'string')
    .map(([name, { types }]) => [`nearside${name.slice(1)}`, types.replace('./dist/', 'pkg/ts/').replace('.d.ts', '.ts')])
    .filter(([, source]) => existsSync(join(root, source))),
)

/** In the order in which they are listed. */
const GUIDES = [
  'first-model',
  'inputs-and-outputs',
  'tools',
  'quantizing',
  'from-onnxruntime-web',
  'threads-and-headers',
  'tuning',
  'content-security-policy',
  'workers',
  'node',
  'deploying',
  'edge-or-cloud',
  'troubleshooting',
]
const DOCUMENTS = [
  ...GUIDES.map((name) => `docs/guide/${name}.md`),
  'examples/README.md',
  ...['camera-classification', 'face-boxes', 'sentence-search', 'voice-activity', 'tabular-form'].map(
    (name) => `examples/${name}/README.md`,
  ),
  'pkg/README.md',
  ...['docs/operators.md', 'docs/conformance.md', 'docs/passes.md', 'docs/plan-format.md', 'models/digits.md'],
  ...['COMPARE.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
]

/** Where the documentation of the Rust crate lies in the site, if it does. */
const rustdoc = process.env['NEARSIDE_RUSTDOC']

const at = (path) => join(root, path)

/** @type {import('typedoc').TypeDocOptions} */
export default {
  name: 'Nearside',
  readme: at('README.md'),
  entryPoints: [...ENTRIES.values()].map(at),
  projectDocuments: DOCUMENTS.map(at),
  basePath: root,
  tsconfig: at('www/docs/tsconfig.json'),
  // The step that checks types has the generated bindings; here they need not be built.
  skipErrorChecking: true,
  plugin: [join(import.meta.dirname, 'titles.mjs')],
  out: at('www/dist/docs'),
  customCss: join(import.meta.dirname, 'site.css'),
  favicon: at('www/public/favicon.svg'),
  // From the site's folder; the plugin makes them relative to each page.
  navigationLinks: {
    Demo: 'site:../index.html',
    Benchmark: 'site:../bench/index.html',
    ...(rustdoc === undefined ? {} : { 'Rust API': `site:${rustdoc}` }),
  },
  // The sources are in the repository; a checkout without a remote has no address for them.
  disableSources: true,
  includeVersion: false,
  sort: ['source-order'],
  excludePrivate: true,
  excludeInternal: true,
  highlightLanguages: [
    ...['typescript', 'javascript', 'json', 'html', 'css', 'sh', 'bash', 'python', 'rust'],
    ...['toml', 'nginx', 'apache', 'http', 'console', 'diff'],
  ],
  validation: { invalidLink: true, invalidPath: true, rewrittenLink: true, notExported: false },
  treatWarningsAsErrors: true,
  logLevel: 'Warn',
}
