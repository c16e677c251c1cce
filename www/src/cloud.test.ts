import { InputError, NetworkError } from 'nearside'
import { expect, test } from 'vitest'
import { explain, partsOf } from './cloud'
import { AS_IT_IS } from './network'

const timing = { total: 100, bytesSent: 3000, bytesReceived: 200 }
const at = (reason: NetworkError['reason'], more: { status?: number; retryAfter?: number } = {}): NetworkError =>
  new NetworkError('It failed.', { url: 'http://a/v2', reason, ...more })
const experiment = { conditions: AS_IT_IS }

test('the parts of a call add up to what the page measured', () => {
  const server = { decode: 0.1, queue: 2, compute: 7, encode: 0.2, simulated: 80 }
  const parts = partsOf({ ...timing, server })
  expect(parts.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(100)
  expect(Object.fromEntries(parts.map(({ name, ms }) => [name, ms]))).toMatchObject({ compute: 7, queue: 2, simulated: 80 })
  expect(parts.find(({ name }) => name === 'network')?.ms).toBeCloseTo(10.7)
})

test('a server that reports nothing, or more than there was time for, leaves all or nothing to the network', () => {
  expect(partsOf(timing).find(({ name }) => name === 'network')?.ms).toBe(100)
  expect(partsOf({ ...timing, server: { compute: 101 } }).find(({ name }) => name === 'network')?.ms).toBe(0)
})

test('each failure is a sentence that says what to expect', () => {
  expect(explain(at('unreachable'), experiment)).toBe(
    'The cloud cannot be reached: the network is down, or the server has stopped.',
  )
  expect(explain(at('unreachable'), { conditions: { ...AS_IT_IS, offline: true } })).toContain('the simulated network is offline')
  expect(explain(at('timeout'), experiment)).toBe('The cloud did not answer within 8 seconds.')
  expect(explain(at('status', { status: 503, retryAfter: 2 }), experiment)).toBe(
    'The cloud is busy and asks to be tried again in 2 s.',
  )
  expect(explain(at('status', { status: 500 }), experiment)).toContain('answered with an error')
  expect(explain(at('html'), experiment)).toContain('There is no inference server')
  expect(explain(new InputError('The shape is wrong.'), experiment)).toBe('The cloud refused: The shape is wrong.')
})
