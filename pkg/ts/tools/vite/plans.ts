/** Plans of models, kept on disk from build to build: by the digest of the model's file and of the compiler that made the plan. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { compileToPlan } from '../compiler/compile.js'
import type { Description } from '../compiler/job.js'
import { writeWhole } from '../compiler/write.js'
import type { SettledTexts } from './settled.js'

/** Digest of the compiler's binary, set by the build: any change of it makes plans anew. */
declare const NEARSIDE_COMPILER_ID: string

/** A compiled model. */
export interface CompiledModel {
  /** The plan's file, in the cache. */
  readonly path: string
  /** Its sha-256, as in HTML: `sha256-` and base64. */
  readonly integrity: string
  /** Names the content in addresses. */
  readonly digest: string
  readonly description: Description
  /** Inputs that must have a certain value, and that in words. */
  readonly demands: Demands
  /** Files other than the model of which the plan was made. */
  readonly files: readonly string[]
}

type Demands = { readonly [input: string]: string }

/** What lies beside a plan in the cache. */
interface Kept {
  /** Sha-256 of the plan, in hexadecimal. */
  readonly plan: string
  readonly description: Description
  readonly demands: Demands
  /** Sha-256 of other files of which the plan was made, by path. */
  readonly files: { readonly [path: string]: string }
}

/** Compilations that go on, so that a model which is asked for twice is compiled once. */
const pending = new Map<string, Promise<CompiledModel>>()

/** The plan of a model, from the cache or compiled now. Rejects with the package's errors. */
export async function planOf(model: string, cache: string, settled: SettledTexts): Promise<CompiledModel> {
  const base = join(cache, `${NEARSIDE_COMPILER_ID}-${(await sha256(model)).slice(0, 32)}${keyOf(settled)}`)
  const going = pending.get(base)
  if (going !== undefined) return going
  const work = fromCache(base).then((found) => found ?? compileInto(base, model, settled))
  pending.set(base, work)
  try {
    return await work
  } finally {
    pending.delete(base)
  }
}

async function fromCache(base: string): Promise<CompiledModel | undefined> {
  try {
    const record = JSON.parse(await readFile(`${base}.json`, 'utf8')) as Kept
    if ((await sha256(`${base}.plan`)) !== record.plan) return undefined
    for (const [path, digest] of Object.entries(record.files)) if ((await sha256(path)) !== digest) return undefined
    return compiled(base, record)
  } catch {
    // Missing, damaged, or of files that are gone: as good as nothing.
    return undefined
  }
}

/** Tells plans of one model apart. */
function keyOf(settled: SettledTexts): string {
  if (Object.values(settled).every((given) => given.length === 0)) return ''
  return `-${createHash('sha256').update(JSON.stringify(settled)).digest('hex').slice(0, 16)}`
}

async function compileInto(base: string, model: string, settled: SettledTexts): Promise<CompiledModel> {
  const { plan, description, demands, files } = await compileToPlan({ model, ...settled })
  const hash = createHash('sha256')
  for (const piece of plan) hash.update(piece)
  const digests: { [path: string]: string } = {}
  for (const path of files) digests[path] = await sha256(path)
  const record: Kept = {
    plan: hash.digest('hex'),
    description: { ...description, passes: [] },
    demands: Object.fromEntries(demands.map(({ input, text }) => [input, text])),
    files: digests,
  }
  // The record comes last: without it, a plan counts for nothing.
  await rm(`${base}.json`, { force: true })
  await writeWhole(`${base}.plan`, plan)
  await writeWhole(`${base}.json`, [Buffer.from(JSON.stringify(record))])
  return compiled(base, record)
}

function compiled(base: string, { plan, description, demands, files }: Kept): CompiledModel {
  const integrity = `sha256-${Buffer.from(plan, 'hex').toString('base64')}`
  return { path: `${base}.plan`, integrity, digest: plan.slice(0, 16), description, demands, files: Object.keys(files) }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer)
  return hash.digest('hex')
}
