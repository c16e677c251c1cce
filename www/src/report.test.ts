import { expect, test } from 'vitest'
import { AS_IT_IS } from './network'
import { reportText } from './report'
import { type Facts, verdict } from './verdict'

const NONE = { p50: undefined, p95: undefined, p99: undefined }
const facts: Facts = {
  edge: {
    calls: 9,
    percentiles: { ...NONE, p50: 0.3 },
    compute: 0.1,
    sent: 0,
    firstAnswer: 150,
    load: 90,
    downloaded: 250_000,
    offlineReady: true,
  },
  cloud: {
    ...{ calls: 8, percentiles: { ...NONE, p50: 82 }, compute: 0.1, sent: 26_000, connect: 80, failure: undefined },
    ...{ network: 81, answered: 8, model: 'digits.int8', pricePerHour: 0.1 },
  },
  conditions: { ...AS_IT_IS, rtt: 80 },
  compared: { drawings: 8, alike: 8, difference: 0 },
}
const coldStart = {
  ...{ firstAnswer: 150, load: 90, downloaded: 250_000, engine: 'It runs in a Worker.' },
  steps: [{ name: 'First run', kind: 'work', from: 149, ms: 1 } as const],
}
const browser = { agent: 'Test/1', cores: 4, isolated: true }

test('says under which conditions, what was measured, and where to repeat it', () => {
  const text = reportText({ address: 'http://a/?rtt=80', facts, lines: verdict(facts), coldStart, browser })
  expect(text).toContain('http://a/?rtt=80\n')
  expect(text).toContain('Network: simulated, 80 ms added round trip. The cloud runs digits.int8.')
  expect(text).toContain('  this device: 0.30 ms; the cloud: 82.0 ms; better: this device\n')
  expect(text).toContain('  First run: 1.00 ms, from 149 ms')
  expect(text).toContain('Browser: Test/1; 4 cores; isolated')
})

test('leaves out a first answer that did not come', () => {
  expect(reportText({ address: '', facts, lines: [], coldStart: undefined, browser })).not.toContain('First answer')
})
