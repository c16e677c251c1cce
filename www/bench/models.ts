/** Where models come from: the repository, an address, or a file of the visitor's. */

import floatOnnx from '../../models/digits.onnx?url'
import int8Onnx from '../../models/digits.int8.onnx?url'
import qopOnnx from '../../models/digits.qop.onnx?url'
import dynOnnx from '../../models/digits.dyn.onnx?url'
import floatPlan from './plans/digits.plan?url'
import int8Plan from './plans/digits.int8.plan?url'
import qopPlan from './plans/digits.qop.plan?url'
import dynPlan from './plans/digits.dyn.plan?url'

import { type Format, formatOf } from './formats'

/** One model in the forms in which there is one. */
export interface Source {
  readonly title: string
  /** As ONNX, if it is. */
  readonly onnx: string | Blob | undefined
  /** Compiled ahead, if it is. */
  readonly plan: string | Blob | undefined
  /** It reads 28×28 grey pictures of digits. */
  readonly digits: boolean
}

/** A model in one of its formats. */
export interface Variant extends Source {
  readonly format: Format
}

const REPOSITORY: Readonly<Record<string, Source>> = {
  'digits.int8': { title: 'digits, int8', onnx: int8Onnx, plan: int8Plan, digits: true },
  digits: { title: 'digits, float32', onnx: floatOnnx, plan: floatPlan, digits: true },
}

/** The digit network in each of its formats. */
const DIGITS: readonly Variant[] = [
  { title: 'float32', format: 'float', onnx: floatOnnx, plan: floatPlan, digits: true },
  { title: 'QDQ', format: 'QDQ', onnx: int8Onnx, plan: int8Plan, digits: true },
  { title: 'QOperator', format: 'QOperator', onnx: qopOnnx, plan: qopPlan, digits: true },
  { title: 'dynamic', format: 'dynamic', onnx: dynOnnx, plan: dynPlan, digits: true },
]

/** Where the plan of the int8 model is. */
export const PLAN_URL = int8Plan

/** The first bytes of a plan. */
const PLAN_MAGIC = 'NEARPLAN'

/**
 * @param name as {@link Experiment.model} has it
 * @param file what the visitor gave, if anything
 */
export async function findModel(name: string, file: File | undefined): Promise<Source> {
  const known = REPOSITORY[name]
  if (known !== undefined) return known
  if (name === 'file') {
    if (file === undefined) throw new Error('No file was chosen yet: drop a model on the page, or choose another one.')
    const head = await file.slice(0, PLAN_MAGIC.length).text()
    return {
      title: file.name,
      ...(head === PLAN_MAGIC ? { plan: file, onnx: undefined } : { onnx: file, plan: undefined }),
      digits: false,
    }
  }
  const url = new URL(name, location.href)
  const title = url.pathname.split('/').at(-1) ?? url.href
  return {
    title,
    ...(title.endsWith('.plan') ? { plan: url.href, onnx: undefined } : { onnx: url.href, plan: undefined }),
    digits: false,
  }
}

/**
 * One network in several formats, the repository's or files that the visitor gave: first the one to which the others are compared, in floats if there
 * is one.
 * @throws a sentence that says what to give
 */
export async function findFormats(name: string, files: readonly File[]): Promise<readonly Variant[]> {
  if (Object.hasOwn(REPOSITORY, name)) return DIGITS
  if (name !== 'file')
    throw new Error('Formats are compared of files: choose or drop all of them here, or take the digits of this page.')
  if (files.length < 2)
    throw new Error('Choose or drop two or more files: the same model in several formats, e.g. float32, QDQ and QOperator.')
  const variants = await Promise.all(
    files.map(async (file) => ({ ...(await findModel('file', file)), format: await formatOf(file) })),
  )
  const reference = variants.find(({ format }) => format === 'float') ?? variants[0]
  return [...variants.filter((one) => one === reference), ...variants.filter((one) => one !== reference)]
}
