/**
 * What follows a model: probabilities, the best classes, boxes without doubles, masks. Each function is small, and bundlers leave out those that are
 * not used.
 *
 * @example
 * const { logits } = await model.run(video)
 * const [best] = topK(softmax(logits), 3, { labels })
 */

export type { Area, Fit, Placed, Size } from '../fit.js'
export { type Box, type BoxFormat, type Detection, nms, type NmsOptions } from './boxes.js'
export { fitOf, type FitOptions, toPicture } from './pictures.js'
export { classMask, type ClassMask } from './masks.js'
export { above, type Ranked, type RankOptions, topK } from './rank.js'
export { rows, type Values } from './values.js'
export { sigmoid, softmax } from './activations.js'
