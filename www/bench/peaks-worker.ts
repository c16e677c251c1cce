/** Measures the device's peaks where it blocks nobody. */

import { measurePeaks } from './peaks'

postMessage(measurePeaks())
