/** Nearside with raw ONNX, which the page compiles first. */

import type { Load } from '../engine.js'
import { loadNearside } from '../nearside.js'

export const load: Load = loadNearside
