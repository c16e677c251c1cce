/** Which models there are, with their inputs and references; the benchmark and the tests in browsers read it. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What is measured when nobody chooses. */
export const DEFAULT_MODELS = [
  'mobilenet_v2_imagenet:f32',
  'mobilenet_v2_imagenet:qdq',
  'mobilenet_v2_imagenet:qop',
  'squeezenet_imagenet:f32',
  'squeezenet_imagenet:qdq',
  'squeezenet_imagenet:qop',
  'all_minilm_l6_v2:dyn:seq128',
  'mnist_cntk:f32',
  'mnist_cntk:qdq',
  'mlp_tabular:f32',
  'mlp_tabular:qdq',
  'digits:f32',
  'digits:qdq',
]

/**
 * A tensor as raw little-endian elements behind a URL; of an output, only every `stride`-th element is kept.
 * `slack` is how far another correct engine was from the reference. `nhwc`: the engine has this image with its channels last.
 * @typedef {import('./engine.js').DataType} DataType
 * @typedef {{ name: string, dtype: DataType, dims: number[], url: string, stride: number, slack: number, nhwc?: boolean }} Stored
 *
 * A model with one set of inputs. URLs start at the prefixes `/assets/` and `/models/`. `float` is what the float32 variant gives, where there is one.
 * @typedef {{ model: string, variant: string, case: string, url: string, inputs: Stored[], expect: Stored[], float: Stored[], classifier: boolean }} Entry
 *
 * The parts of `model.json` that are used here.
 * @typedef {{ dtype: DataType, shape: number[], file: string, sample_stride?: number, ort_all_maxdiff?: number }} File
 * A case without inputs of its own is a sequence of them.
 * @typedef {{ id: string, inputs?: Record<string, File>, expect: Record<string, Record<string, File>> }} Case
 * @typedef {{ trained?: boolean, latency_case?: string, variants: Record<string, { file: string }>, cases: Case[] }} Card
 */

/**
 * Reads `NAME`, `NAME:VARIANT` or `NAME:VARIANT:CASE`; the case is the one meant for measuring when none is named.
 * @param {string} text
 * @param {{ assets: string | undefined, models: string }} folders
 * @returns {Entry[]}
 */
export function find(text, folders) {
  const [name = '', variant, id] = text.split(':')
  return entries(name, folders)
    .filter(
      (entry) => (variant === undefined || entry.variant === variant) && (id === undefined ? entry.usual : entry.case === id),
    )
    .map(({ usual: _, ...entry }) => entry)
}

/**
 * All variants of a model with all their cases; `usual` marks the case meant for measuring.
 * @param {string} name
 * @param {{ assets: string | undefined, models: string }} folders
 * @returns {(Entry & { usual: boolean })[]}
 */
export function entries(name, folders) {
  if (name === 'digits') return digits(folders.models)
  const { assets } = folders
  if (assets === undefined) throw new Error(`The model '${name}' is in the folder of test models, which --assets names.`)
  const group = ['real', 'arch'].find((folder) => existsSync(join(assets, folder, name, 'model.json')))
  if (group === undefined) throw new Error(`There is no model '${name}' in ${assets}.`)
  /** @type {Card} */
  const card = JSON.parse(readFileSync(join(assets, group, name, 'model.json'), 'utf8'))
  const base = `/assets/${group}/${name}`
  const usual = card.cases.find((one) => one.id === card.latency_case) ?? card.cases[0]

  return Object.entries(card.variants).flatMap(([variant, { file }]) =>
    card.cases
      .filter((one) => one.inputs !== undefined && one.expect[variant] !== undefined)
      .map((one) => ({
        model: name,
        variant,
        case: one.id,
        url: `${base}/${file}`,
        inputs: stored(base, one.inputs ?? {}),
        expect: stored(base, one.expect[variant] ?? {}),
        float: stored(base, one.expect['f32'] ?? {}),
        classifier: card.trained === true && hasClasses(Object.values(one.expect[variant] ?? {})),
        usual: one === usual,
      })),
  )
}

/**
 * Whether it is one row of scores per item.
 * @param {File[]} outputs
 */
function hasClasses(outputs) {
  return outputs.length === 1 && outputs[0]?.shape.slice(1).filter((size) => size > 1).length === 1
}

/**
 * @param {string} base
 * @param {Record<string, File>} files
 * @returns {Stored[]}
 */
function stored(base, files) {
  return Object.entries(files).map(([name, { dtype, shape, file, sample_stride, ort_all_maxdiff }]) => ({
    name,
    dtype,
    dims: shape,
    url: `${base}/${file}`,
    stride: sample_stride ?? 1,
    slack: ort_all_maxdiff ?? 0,
  }))
}

/**
 * The demo's own model: its samples lie in one JSON file.
 * @param {string} folder
 * @returns {(Entry & { usual: boolean })[]}
 */
function digits(folder) {
  /** @type {{ samples: { label: number, pixels: string, float: number[], int8: number[] }[] }} */
  const { samples } = JSON.parse(readFileSync(join(folder, 'digits.samples.json'), 'utf8'))
  return samples.flatMap(({ label, pixels, float, int8 }, i) => {
    const image = Float32Array.from(Buffer.from(pixels, 'base64'), (byte) => byte / 255)
    const variants = /** @type {const} */ ([
      ['f32', 'digits.onnx', float],
      ['qdq', 'digits.int8.onnx', int8],
    ])
    return variants.map(([variant, file, logits]) => ({
      model: 'digits',
      variant,
      case: `sample${i}_is_${label}`,
      url: `/models/${file}`,
      inputs: [inline('image', [1, 1, 28, 28], image)],
      expect: [inline('logits', [1, 10], Float32Array.from(logits))],
      float: [inline('logits', [1, 10], Float32Array.from(float))],
      classifier: true,
      usual: i === 0,
    }))
  })
}

/**
 * @param {string} name
 * @param {number[]} dims
 * @param {Float32Array} data
 * @returns {Stored}
 */
function inline(name, dims, data) {
  const url = `data:application/octet-stream;base64,${Buffer.from(data.buffer).toString('base64')}`
  return { name, dtype: 'f32', dims, url, stride: 1, slack: 0 }
}
