import { expect, it } from 'vitest'

import { measurePeaks } from './peaks'

it('measures what this machine does', () => {
  const { float, dot16, dot8 } = measurePeaks()
  for (const rate of [float, dot16, dot8 ?? 1]) {
    expect(rate).toBeGreaterThan(0.05)
    expect(rate).toBeLessThan(10_000)
  }
})
