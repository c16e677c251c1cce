/** The digit that this page draws by itself. */

import { Rasterizer } from '../src/drawing'
import { EXAMPLES } from '../src/examples'
import { prepare } from '../src/ink'

const DIGIT = 3

/** As the models take it. */
export function drawnDigit(): ReturnType<typeof prepare> {
  return prepare(new Rasterizer().raster({ strokes: EXAMPLES[DIGIT] ?? [] }))
}
