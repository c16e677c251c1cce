/** The test models as their `model.json` describe them: what a page runs and compares, with addresses in place of files. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { entries } from '../../benches/web/catalog.mjs'

const ROOT = join(import.meta.dirname, '../..')

/** The folder of test models, where there is one. */
export const ASSETS = [process.env['NEARSIDE_ASSETS'], join(ROOT, '../shared/assets'), join(ROOT, '../../shared/assets')].find(
  (folder) => folder !== undefined && existsSync(join(folder, 'real')),
)

/** A tensor in a file; of an output only every `stride`-th element is stored. */
export interface Stored {
  readonly name: string
  readonly dtype: string
  readonly dims: readonly number[]
  readonly url: string
  readonly stride: number
  /** How far another correct engine was from the reference. */
  readonly slack: number
  /** It holds the scores of a trained classifier. */
  readonly classifier: boolean
}

/** One set of inputs with the outputs that it must give. */
export interface Case {
  readonly id: string
  /** `chunks` go one by one along the first axis, with the model's state; `speech` is audio for a voice detector. */
  readonly kind: 'plain' | 'chunks' | 'speech'
  readonly inputs: readonly Stored[]
  readonly expected: readonly Stored[]
  readonly chunk: number
  readonly context: number
}

/** One variant of a model. */
export interface Job {
  readonly model: string
  readonly variant: string
  readonly url: string
  /** Of the largest number of the reference. */
  readonly tolerance: number
  readonly quantized: boolean
  readonly cases: readonly Case[]
}

interface File {
  dtype: string
  shape: number[]
  file: string
  sample_stride?: number
  ort_all_maxdiff?: number
  vs_f32?: { top1_same?: boolean }
  samples?: number
}

interface Card {
  trained?: boolean
  variants: Record<string, { file: string }>
  cases: {
    id: string
    stream?: boolean
    kind?: string
    chunk?: number
    context?: number
    audio?: File
    inputs?: Record<string, File>
    expect: Record<string, Record<string, File> | undefined>
  }[]
}

/** Models whose outputs are pictures or boxes: errors of the single steps add up over the whole picture. */
const LOOSE = /^(style|yolo|ultraface|ppocr)_/

/** All variants of all models. */
export function jobs(): Job[] {
  if (ASSETS === undefined) return digits()
  const assets = ASSETS
  const folders = ['arch', 'real'].flatMap((group) =>
    readdirSync(join(assets, group)).map((model) => ({ model, base: `${group}/${model}` })),
  )
  const cards = folders.filter(({ base }) => existsSync(join(assets, base, 'model.json')))
  return [
    ...digits(),
    ...cards.flatMap(({ model, base }) =>
      jobsOf(model, `/assets/${base}`, JSON.parse(readFileSync(join(assets, base, 'model.json'), 'utf8')) as Card),
    ),
  ]
}

function jobsOf(model: string, base: string, card: Card): Job[] {
  const stored = ([name, file]: [string, File]): Stored => ({
    name,
    dtype: file.dtype,
    dims: file.shape,
    url: `${base}/${file.file}`,
    stride: file.sample_stride ?? 1,
    slack: file.ort_all_maxdiff ?? 0,
    classifier: card.trained === true && file.vs_f32?.top1_same !== undefined,
  })
  return Object.entries(card.variants).map(([variant, { file }]) => {
    const quantized = variant !== 'f32' && variant !== 'orig'
    return {
      model,
      variant,
      url: `${base}/${file}`,
      quantized,
      tolerance: quantized ? 0.02 : LOOSE.test(model) ? 1e-3 : 1e-4,
      cases: card.cases.flatMap((one) => {
        const expected = one.expect[variant]
        if (expected === undefined) return []
        const audio: [string, File][] =
          one.audio === undefined ? [] : [['audio', { ...one.audio, dtype: 'i16', shape: [one.audio.samples ?? 0] }]]
        return {
          id: one.id,
          kind: one.kind !== undefined ? ('speech' as const) : one.stream === true ? ('chunks' as const) : ('plain' as const),
          inputs: [...Object.entries(one.inputs ?? {}), ...audio].map(stored),
          expected: Object.entries(expected).map(stored),
          chunk: one.chunk ?? 0,
          context: one.context ?? 0,
        }
      }),
    }
  })
}

/** The model of the repository. */
function digits(): Job[] {
  const all = entries('digits', { assets: undefined, models: join(ROOT, 'models') })
  return ['f32', 'qdq'].map((variant) => {
    const mine = all.filter((entry) => entry.variant === variant)
    return {
      model: 'digits',
      variant,
      url: mine[0]?.url ?? '',
      quantized: variant !== 'f32',
      tolerance: variant === 'f32' ? 1e-4 : 0.02,
      cases: mine.map(({ case: id, inputs, expect }) => {
        const stored = (classifier: boolean) => (one: Omit<Stored, 'classifier'>) => ({ ...one, classifier })
        return { id, kind: 'plain', inputs: inputs.map(stored(false)), expected: expect.map(stored(true)), chunk: 0, context: 0 }
      }),
    }
  })
}
