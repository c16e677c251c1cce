import { describe, expect, test } from 'vitest'
import { AS_IT_IS } from './network'
import { type Facts, type Line, verdict } from './verdict'

const NONE = { p50: undefined, p95: undefined, p99: undefined }

/** What is known before anything is drawn. */
const START: Facts = {
  edge: {
    calls: 0,
    percentiles: NONE,
    compute: undefined,
    sent: 0,
    firstAnswer: undefined,
    load: undefined,
    downloaded: undefined,
    offlineReady: false,
  },
  cloud: {
    calls: 0,
    percentiles: NONE,
    compute: undefined,
    sent: 0,
    connect: undefined,
    failure: undefined,
    network: undefined,
    answered: 0,
    model: 'digits.int8',
    pricePerHour: 0.1,
  },
  conditions: AS_IT_IS,
  compared: { drawings: 0, alike: 0, difference: 0 },
}

const MEASURED: Facts = {
  edge: {
    ...START.edge,
    calls: 120,
    percentiles: { p50: 0.5, p95: 0.9, p99: 2 },
    compute: 0.2,
    firstAnswer: 140,
    load: 90,
    downloaded: 250_000,
  },
  cloud: {
    ...START.cloud,
    calls: 110,
    percentiles: { p50: 81, p95: 95, p99: 300 },
    compute: 0.1,
    sent: 363_000,
    answered: 110,
    connect: 12,
    network: 80.5,
  },
  conditions: { ...AS_IT_IS, rtt: 80 },
  compared: { drawings: 100, alike: 100, difference: 0 },
}

function line(facts: Facts, id: Line['id']): Line {
  const found = verdict(facts).find((l) => l.id === id)
  if (found === undefined) throw new Error(`no line ${id}`)
  return found
}

describe('verdict', () => {
  test('claims nothing about speed before it is measured', () => {
    for (const id of ['typical', 'worst', 'crossover', 'cost', 'compute', 'start', 'answer'] as const)
      expect(line(START, id).better).toBe('open')
    expect(line(START, 'typical').edge).toBe('0 of 5 calls')
    expect(line(START, 'privacy').better).toBe('edge')
  })

  test('says how much faster, and that the network is why', () => {
    expect(line(MEASURED, 'typical')).toMatchObject({
      edge: '0.50 ms',
      cloud: '81.0 ms',
      better: 'edge',
      why: "This device is 160 times faster: 80.5 ms of the cloud's 81.0 ms go to the network, simulated delays included.",
    })
  })

  test('says at which distance both would be even', () => {
    const of = (p50: number) => line({ ...MEASURED, edge: { ...MEASURED.edge, percentiles: { ...NONE, p50 } } }, 'crossover')
    expect(of(20)).toMatchObject({
      edge: '20.0 ms',
      cloud: '0.50 ms + the way',
      better: 'edge',
      why: 'The cloud wins while its way takes less than 19.5 ms; now it takes 80.5 ms.',
    })
    expect(of(162)).toMatchObject({ better: 'cloud', why: expect.stringMatching(/less than 162 ms; now/) as unknown })
    expect(of(0.4)).toMatchObject({ better: 'edge', why: 'None: this device would win beside the server, too.' })
  })

  test('says what the time of the server costs at a price', () => {
    const at = (pricePerHour: number | undefined, compute = 0.1) =>
      line({ ...MEASURED, cloud: { ...MEASURED.cloud, compute, pricePerHour } }, 'cost')
    // 0.1 ms × 1,000 is a tenth of a second: 1/36,000 of an hour.
    expect(at(0.1)).toMatchObject({
      edge: '$0',
      cloud: '$0.0000028',
      better: 'edge',
      why: 'At $0.10 an hour, never idle, traffic not counted; $1 buys 360 million.',
    })
    expect(at(36, 100)).toMatchObject({ cloud: '$1.00', why: expect.stringContaining('At $36.00 an hour') as unknown })
    expect(at(0)).toMatchObject({ cloud: '$0', better: 'even' })
    expect(at(undefined)).toMatchObject({
      cloud: 'no price',
      better: 'open',
      why: expect.stringContaining('0 or more') as unknown,
    })
  })

  test('gives the cloud its due', () => {
    const slow = { ...MEASURED, edge: { ...MEASURED.edge, percentiles: { p50: 162, p95: 200, p99: 900 } } }
    expect(line(slow, 'typical').why).toMatch(/^The cloud is 2\.0 times faster, although/)
    expect(line(slow, 'worst').better).toBe('cloud')
    expect(line(MEASURED, 'compute')).toMatchObject({
      better: 'cloud',
      why: expect.stringContaining('2.0 times faster') as unknown,
    })
    expect(line(MEASURED, 'start')).toMatchObject({ better: 'cloud', why: expect.stringContaining('250 KB') as unknown })
  })

  test('lets whoever is ready sooner win the start', () => {
    const far = { ...MEASURED, cloud: { ...MEASURED.cloud, connect: 310 } }
    expect(line(far, 'start')).toMatchObject({ better: 'edge', why: expect.stringContaining('answered in 90.0 ms') as unknown })
    const again = { ...MEASURED, edge: { ...MEASURED.edge, downloaded: 0 } }
    expect(line(again, 'start').why).toContain('runtime and model from the last visit')
  })

  test('says what left the device', () => {
    expect(line(MEASURED, 'privacy')).toMatchObject({ edge: '0 bytes', cloud: '363 KB', better: 'edge' })
    expect(line(MEASURED, 'privacy').why).toContain('the cloud got 110 drawings, at 3.3 KB each')
  })

  test('calls what is within a tenth even', () => {
    const same = { ...MEASURED, edge: { ...MEASURED.edge, percentiles: { p50: 78, p95: 95, p99: 290 } } }
    expect(line(same, 'typical').better).toBe('even')
    expect(line(same, 'worst').better).toBe('even')
  })

  test('uses the highest percentile that both sides have', () => {
    expect(line(MEASURED, 'worst').aspect).toContain('p99')
    const few = { ...MEASURED, cloud: { ...MEASURED.cloud, calls: 40, percentiles: { p50: 81, p95: 95, p99: undefined } } }
    expect(line(few, 'worst').aspect).toContain('p95')
    expect(line(few, 'worst').cloud).toBe('95.0 ms')
  })

  test('without the cloud this device is the one that answers', () => {
    const failure = 'The cloud cannot be reached: the network is down, or the server has stopped.'
    const alone = { ...MEASURED, cloud: { ...START.cloud, failure } }
    expect(line(alone, 'typical')).toMatchObject({ better: 'edge', why: `Only this device answers. ${failure}` })
    expect(line(alone, 'offline').why).toBe(
      'It is so now: the cloud cannot be reached: the network is down, or the server has stopped.',
    )
    expect(line(alone, 'start')).toMatchObject({ cloud: 'no connection', better: 'edge' })
  })

  test('says how alike the answers are', () => {
    expect(line(MEASURED, 'answer').why).toBe(
      '100 drawings compared: the same digit every time, and bit for bit the same scores.',
    )
    const float = {
      ...MEASURED,
      cloud: { ...MEASURED.cloud, model: 'digits' },
      compared: { drawings: 9, alike: 8, difference: 0.1234 },
    }
    expect(line(float, 'answer').why).toBe(
      '9 drawings compared: the same digit 8 times, scores at most 0.12 apart, as 8 bits and 32 are.',
    )
  })
})
