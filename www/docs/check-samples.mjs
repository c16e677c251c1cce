/**
 * Checks the TypeScript in the repository's Markdown against the types of the built package, as if each sample were a file of its own.
 * What a sample takes from its surroundings, such as a video element, is declared in samples/context.d.ts.
 */

import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { exit } from 'node:process'

import ts from 'typescript'

import documents from './typedoc.config.mjs'

const ROOT = join(import.meta.dirname, '../..')
/** Where the samples are, as far as TypeScript knows: what they import by a relative path lies here. */
const HERE = join(import.meta.dirname, 'samples')

const samples = new Map()
for (const document of [documents.readme, ...documents.projectDocuments]) {
  const text = readFileSync(document, 'utf8')
  for (const match of text.matchAll(/^```ts\n(.*?)^```$/gms)) {
    const before = text.slice(0, match.index).split('\n').length
    const file = join(HERE, `${relative(ROOT, document).replaceAll('/', '-')}-${before}.ts`)
    // As many lines above as in the document, so that messages name its lines.
    samples.set(file, { document, text: `${'\n'.repeat(before)}${match[1]}\nexport {}\n` })
  }
}

const { config } = ts.readConfigFile(join(HERE, 'tsconfig.json'), ts.sys.readFile)
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, HERE)
const host = ts.createCompilerHost(options)
const { fileExists, readFile, getSourceFile } = host
host.fileExists = (name) => samples.has(name) || fileExists(name)
host.readFile = (name) => samples.get(name)?.text ?? readFile(name)
host.getSourceFile = (name, version) =>
  samples.has(name) ? ts.createSourceFile(name, samples.get(name).text, version) : getSourceFile(name, version)
const program = ts.createProgram([join(HERE, 'context.d.ts'), ...samples.keys()], options, host)

const wrong = ts.getPreEmitDiagnostics(program)
for (const { file, start = 0, messageText } of wrong) {
  const where = samples.get(file?.fileName)?.document ?? file?.fileName ?? HERE
  const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1
  console.error(`${relative(ROOT, where)}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}
console.log(`${samples.size} samples, ${wrong.length} errors`)
exit(wrong.length > 0 ? 1 : 0)
