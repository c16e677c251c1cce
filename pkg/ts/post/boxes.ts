/** Boxes around things. */

import { InputError } from '../index.js'
import { numbersOf, optionsOf, type Values } from './values.js'

/** The corners of a box: left, top, right, bottom. */
export type Box = readonly [left: number, top: number, right: number, bottom: number]

/** How the four numbers of a box are given: corners, corners with y first, or centre and size. */
export type BoxFormat = 'xyxy' | 'yxyx' | 'cxcywh'

/** A thing that was found. */
export interface Detection {
  readonly box: Box
  readonly score: number
  /** Position of its class among the scores of a box; 0 for models with one class. */
  readonly classIndex: number
  /** The label of its class; the position where there are no labels. */
  readonly label: string
  /** Position of the box among all. */
  readonly index: number
}

/** Options of {@link nms}. */
export interface NmsOptions {
  /** What two boxes may share: of two whose intersection over union is larger, only the one with the higher score is kept. Default 0.5. */
  readonly iouThreshold?: number | undefined
  /** Lower scores are ignored. Default 0.25. */
  readonly scoreThreshold?: number | undefined
  /** The most that are kept, of all classes together. Default 100. */
  readonly maxDetections?: number | undefined
  /** Default `'xyxy'`. */
  readonly format?: BoxFormat | undefined
  /**
   * Each class by itself, as ONNX's NonMaxSuppression does; a box may then be found for several. Otherwise a box counts for its best class alone, and
   * hides boxes of all others. Default true.
   */
  readonly perClass?: boolean | undefined
  /** Boxes are columns: all first numbers, then all second ones, and so on (4×N, scores C×N), as YOLOv8 and later give them. Default false. */
  readonly columns?: boolean | undefined
  /** Names of the classes, in order. */
  readonly labels?: readonly string[] | undefined
}

/**
 * Non-maximum suppression: of boxes that overlap, the ones with the highest scores, the highest first; of equal ones the first in order. A box or score
 * with NaN is ignored. A box without area overlaps nothing.
 *
 * @param boxes N×4 numbers (also 1×N×4, or all in one dimension)
 * @param scores N numbers, or N×C for C classes
 * @throws InputError for shapes that do not fit each other, and for options out of range
 */
export function nms(boxes: Values, scores: Values, options: NmsOptions = {}): Detection[] {
  const {
    iouThreshold = 0.5,
    scoreThreshold = 0.25,
    maxDetections = 100,
    format = 'xyxy',
    perClass = true,
    columns = false,
    labels,
  } = optionsOf(options)
  if (!(iouThreshold >= 0 && iouThreshold <= 1))
    throw new InputError(`The option iouThreshold is ${String(iouThreshold)}; give a number from 0 to 1.`)
  if (Number.isNaN(scoreThreshold)) throw new InputError('The option scoreThreshold is NaN; give a number.')
  if (!Number.isInteger(maxDetections) || maxDetections < 0)
    throw new InputError(`The option maxDetections is ${String(maxDetections)}; give a whole number.`)
  if (!Object.hasOwn(CORNERS, format))
    throw new InputError(`The option format is '${String(format)}'; use 'xyxy', 'yxyx' or 'cxcywh'.`)
  const [places, points] = [numbersOf(boxes, 'the boxes'), numbersOf(scores, 'the scores')]
  const count = places.data.length / 4
  const classes = points.data.length / count
  const [near, far] = columns ? [places.dims.at(-2), places.dims.at(-1)] : [places.dims.at(-1), places.dims.at(-2)]
  if (!Number.isInteger(count) || (places.dims.length > 1 && (near !== 4 || far !== count)))
    throw new InputError(`The boxes have the shape [${places.dims.join(', ')}]; give ${columns ? '4×N' : 'N×4'} numbers.`)
  if (count === 0) return []
  if (!Number.isInteger(classes) || classes === 0)
    throw new InputError(
      `There are ${points.data.length} scores for ${count} boxes; give one for each box, or for each box and class.`,
    )
  if (labels && labels.length !== classes)
    throw new InputError(`There are ${labels.length} labels for ${classes} classes; give one for each.`)

  const number = (list: ArrayLike<number>, i: number, c: number, width: number): number =>
    list[columns ? c * count + i : i * width + c] as number
  const found: Detection[] = []
  for (let index = 0; index < count; index++) {
    let best = -1
    for (let c = 0; c < classes; c++) {
      const score = number(points.data, index, c, classes)
      if (!(score >= scoreThreshold)) continue
      if (perClass) found.push(detection(index, c, score))
      else if (best < 0 || score > number(points.data, index, best, classes)) best = c
    }
    if (best >= 0) found.push(detection(index, best, number(points.data, index, best, classes)))
  }
  function detection(index: number, classIndex: number, score: number): Detection {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => number(places.data, index, i, 4)) as [number, number, number, number]
    return { box: CORNERS[format](a, b, c, d), score, classIndex, label: labels?.[classIndex] ?? String(classIndex), index }
  }
  const sound = found.filter(({ box }) => !box.some(Number.isNaN))
  sound.sort((a, b) => b.score - a.score || a.index - b.index || a.classIndex - b.classIndex)
  const kept: Detection[] = []
  for (const candidate of sound) {
    if (kept.length >= maxDetections) break
    const hides = (other: Detection): boolean =>
      (!perClass || other.classIndex === candidate.classIndex) && overlap(other.box, candidate.box) > iouThreshold
    if (!kept.some(hides)) kept.push(candidate)
  }
  return kept
}

const CORNERS: { readonly [K in BoxFormat]: (a: number, b: number, c: number, d: number) => Box } = {
  xyxy: (left, top, right, bottom) => [left, top, right, bottom],
  yxyx: (top, left, bottom, right) => [left, top, right, bottom],
  cxcywh: (x, y, width, height) => [x - width / 2, y - height / 2, x + width / 2, y + height / 2],
}

/** Intersection over union. */
function overlap(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0])
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1])
  if (!(width > 0 && height > 0)) return 0
  const area = (box: Box): number => (box[2] - box[0]) * (box[3] - box[1])
  return (width * height) / (area(a) + area(b) - width * height)
}
