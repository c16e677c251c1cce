/** Nearside as it is meant to be used: the model was compiled ahead, the page loads the plan. */

import type { Load } from '../engine.js'
import { loadNearside } from '../nearside.js'

export const load: Load = (_url, options) => loadNearside(options.plan, options)
