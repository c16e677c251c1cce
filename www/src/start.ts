/** Starts the model. A script of its own, which the built page runs before the browser lays the page out. */

import type { EarlyStart } from 'nearside'
import { loadEdge } from './edge'

/** Address of the compiled model, set by the build. */
declare const PLAN_URL: string

/** What the built page's head has started (`build/page.ts`). */
const { early } = globalThis as { early?: EarlyStart }

/** The model of this page. */
export const edge = loadEdge(PLAN_URL, early)
