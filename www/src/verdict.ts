/** Which side is better at what, and why, in words: from what was measured, nothing else. */

import { formatBytes, formatCount, formatDollars, formatMany, formatMs, formatRatio } from './format'
import { type Conditions, isSimulated } from './network'
import { type Percentiles, PERCENTILES } from './stats'

export interface SideFacts {
  /** Measured calls. */
  readonly calls: number
  readonly percentiles: Percentiles
  /** The typical call's computing, in milliseconds. */
  readonly compute: number | undefined
  /** Bytes in the bodies of requests. */
  readonly sent: number
}

export interface Facts {
  readonly edge: SideFacts & {
    /** Milliseconds from navigation to the first answer. */
    readonly firstAnswer: number | undefined
    /** Milliseconds from the start of the model's load to the first answer. */
    readonly load: number | undefined
    /** Bytes of runtime and model that were downloaded; 0 when the browser had them. */
    readonly downloaded: number | undefined
    /** Whether the page will open without a network. */
    readonly offlineReady: boolean
  }
  readonly cloud: SideFacts & {
    /** Milliseconds to connect, after the page had loaded. */
    readonly connect: number | undefined
    /** Why the cloud cannot be asked now. */
    readonly failure: string | undefined
    /** The typical call's network, real and simulated, in milliseconds. */
    readonly network: number | undefined
    /** Answered calls since the page was opened, under whatever conditions: those that `sent` is of. */
    readonly answered: number
    readonly model: string
    /** Dollars that an hour of the server costs, as the visitor assumes; `undefined` if that is no price. */
    readonly pricePerHour: number | undefined
  }
  readonly conditions: Conditions
  /** Drawings that both sides have answered, how many alike, and the largest difference of a score. */
  readonly compared: { readonly drawings: number; readonly alike: number; readonly difference: number }
}

export type Better = 'edge' | 'cloud' | 'even' | 'open'

/** One line of the table. */
export interface Line {
  readonly id: 'typical' | 'worst' | 'crossover' | 'cost' | 'compute' | 'start' | 'privacy' | 'offline' | 'answer'
  readonly aspect: string
  readonly edge: string
  readonly cloud: string
  readonly better: Better
  readonly why: string
}

/** Less than this apart is not a difference. */
const EVEN = 1.1

const WAITING = 'measuring'

export function verdict(facts: Facts): Line[] {
  return [typical, worst, crossover, cost, compute, start, privacy, offline, answer].map((line) => line(facts))
}

function faster(edge: number, cloud: number): { better: Better; ratio: string } {
  const ratio = Math.max(edge, cloud) / Math.max(Math.min(edge, cloud), 1e-3)
  return { better: ratio < EVEN ? 'even' : edge < cloud ? 'edge' : 'cloud', ratio: formatRatio(ratio) }
}

function needed(side: SideFacts, needs: number): string {
  return side.calls >= needs ? '' : `${side.calls} of ${needs} calls`
}

function typical({ edge, cloud, conditions }: Facts): Line {
  const [e, c] = [edge.percentiles.p50, cloud.percentiles.p50]
  const line = { id: 'typical', aspect: 'A typical answer (p50)', edge: shown(e, edge, 5), cloud: shown(c, cloud, 5) } as const
  if (cloud.failure !== undefined && c === undefined)
    return { ...line, better: 'edge', why: `Only this device answers. ${cloud.failure}` }
  if (e === undefined || c === undefined) return { ...line, better: 'open', why: 'Draw: each movement asks both.' }
  const { better, ratio } = faster(e, c)
  const network = cloud.network ?? 0
  const asked = isSimulated(conditions) ? ', simulated delays included' : ''
  const because = `${formatMs(network)} of the cloud's ${formatMs(c)} go to the network${asked}`
  switch (better) {
    case 'even':
      return { ...line, better, why: 'Both take about the same.' }
    case 'edge':
      return { ...line, better, why: `This device is ${ratio} times faster: ${because}.` }
    default:
      return { ...line, better, why: `The cloud is ${ratio} times faster, although ${because}.` }
  }
}

/** The slowest calls, at the highest percentile for which both have enough. */
function worst({ edge, cloud }: Facts): Line {
  const rank = [PERCENTILES[2], PERCENTILES[1]].find(
    ({ name }) => edge.percentiles[name] !== undefined && cloud.percentiles[name] !== undefined,
  )
  const { name, needs } = rank ?? PERCENTILES[1]
  const [e, c] = [edge.percentiles[name], cloud.percentiles[name]]
  const line = {
    id: 'worst',
    aspect: `A slow answer (${name})`,
    edge: shown(e, edge, needs),
    cloud: shown(c, cloud, needs),
  } as const
  if (e === undefined || c === undefined) {
    return { ...line, better: 'open', why: `Needs ${needs} calls of each side; draw on.` }
  }
  const { better, ratio } = faster(e, c)
  const why = {
    edge: `The cloud's slow answers take ${ratio} times as long: every delay on the way adds to them.`,
    cloud: `This device's slow answers take ${ratio} times as long, perhaps because it also draws this page.`,
    even: 'Both take about the same.',
    open: '',
  }[better]
  return { ...line, better, why }
}

/** How long the way to the cloud may take before this device answers sooner. */
function crossover({ edge, cloud }: Facts): Line {
  const [e, c, network] = [edge.percentiles.p50, cloud.percentiles.p50, cloud.network]
  const line = { id: 'crossover', aspect: 'Where both are even' } as const
  if (e === undefined || c === undefined || network === undefined) {
    const open = { edge: shown(e, edge, 5), cloud: shown(c, cloud, 5), better: 'open' } as const
    return { ...line, ...open, why: 'The cloud loses with its distance; this device has none.' }
  }
  const server = Math.max(0, c - network)
  const { better } = faster(e, c)
  const why =
    e <= server
      ? 'None: this device would win beside the server, too.'
      : `The cloud wins while its way takes less than ${formatMs(e - server)}; now it takes ${formatMs(network)}.`
  return { ...line, edge: formatMs(e), cloud: `${formatMs(server)} + the way`, better, why }
}

/** What the server's own time for a thousand answers costs; this device's time costs whoever offers the page nothing. */
function cost({ cloud: { compute, pricePerHour } }: Facts): Line {
  const line = { id: 'cost', aspect: 'Cost of 1,000 answers', edge: '$0', cloud: WAITING } as const
  if (pricePerHour === undefined) {
    return { ...line, cloud: 'no price', better: 'open', why: "Give the server's price below: dollars per hour, 0 or more." }
  }
  if (compute === undefined) return { ...line, better: 'open', why: 'The server tells its time with each answer.' }
  const dollars = (pricePerHour * compute) / 3600
  const cloud = formatDollars(dollars)
  if (dollars === 0) return { ...line, cloud, better: 'even', why: 'At this price neither costs anything.' }
  const why = `At ${formatDollars(pricePerHour)} an hour, never idle, traffic not counted; $1 buys ${formatMany(1000 / dollars)}.`
  return { ...line, cloud, better: 'edge', why }
}

function compute({ edge, cloud }: Facts): Line {
  const [e, c] = [edge.compute, cloud.compute]
  const line = { id: 'compute', aspect: 'Computing alone', edge: shown(e, edge, 5), cloud: shown(c, cloud, 5) } as const
  if (e === undefined || c === undefined) return { ...line, better: 'open', why: 'The rest of a call is transport.' }
  const { better, ratio } = faster(e, c)
  const why = {
    edge: `This device computes ${ratio} times faster than the server.`,
    cloud: `The server computes ${ratio} times faster; for a model this small that is ${formatMs(e - c)}, for a large one it may decide.`,
    even: 'Both take about the same.',
    open: '',
  }[better]
  return { ...line, better, why }
}

function start({ edge, cloud }: Facts): Line {
  const line = {
    id: 'start',
    aspect: 'Ready for the first answer',
    edge: edge.firstAnswer === undefined ? WAITING : `${formatMs(edge.firstAnswer)} after navigation`,
    cloud:
      cloud.connect === undefined
        ? cloud.failure === undefined
          ? WAITING
          : 'no connection'
        : `${formatMs(cloud.connect)} to connect`,
  } as const
  if (edge.load === undefined) return { ...line, better: 'open', why: 'The model is loading.' }
  if (cloud.connect === undefined) {
    return { ...line, better: cloud.failure === undefined ? 'open' : 'edge', why: cloud.failure ?? 'The cloud is connecting.' }
  }
  if (edge.load < cloud.connect) {
    return {
      ...line,
      better: 'edge',
      why: `This device had loaded and answered in ${formatMs(edge.load)}; the cloud took longer to connect.`,
    }
  }
  const files =
    edge.downloaded === 0
      ? 'runtime and model from the last visit'
      : `${formatBytes(edge.downloaded ?? 0)} of runtime and model, once`
  return {
    ...line,
    better: 'cloud',
    why: `The cloud has nothing to load; this device loads ${files}, in ${formatMs(edge.load)}.`,
  }
}

function privacy({ edge, cloud }: Facts): Line {
  return {
    id: 'privacy',
    aspect: 'Sent over the network',
    edge: formatBytes(edge.sent),
    cloud: formatBytes(cloud.sent),
    better: 'edge',
    why:
      cloud.sent === 0
        ? 'What you draw stays on this device; the cloud gets each drawing as 784 numbers.'
        : `What you draw stays on this device; the cloud got ${formatCount(cloud.answered, 'drawing')}, at ${formatBytes(Math.round(cloud.sent / Math.max(1, cloud.answered)))} each.`,
  }
}

function offline({ edge, cloud }: Facts): Line {
  const failed = cloud.failure !== undefined
  return {
    id: 'offline',
    aspect: 'Without a network',
    edge: edge.offlineReady ? 'goes on, even after a reload' : 'goes on',
    cloud: failed ? 'does not answer now' : 'would not answer',
    better: 'edge',
    why: failed ? `It is so now: ${lowerFirst(cloud.failure)}` : 'Choose "Offline" above, or switch the network off, to see it.',
  }
}

function answer({ edge, cloud, compared }: Facts): Line {
  const { drawings, alike, difference } = compared
  const line = {
    id: 'answer',
    aspect: 'The answer',
    edge: edge.calls === 0 ? WAITING : 'digits.int8',
    cloud: cloud.calls === 0 ? WAITING : cloud.model,
  } as const
  if (drawings === 0) return { ...line, better: 'open', why: 'Nothing was compared yet.' }
  const same = alike === drawings ? 'the same digit every time' : `the same digit ${alike} times`
  const scores =
    difference === 0
      ? 'and bit for bit the same scores'
      : `scores at most ${Number(difference.toPrecision(2))} apart${cloud.model === 'digits' ? ', as 8 bits and 32 are' : ''}`
  return { ...line, better: 'even', why: `${formatCount(drawings, 'drawing')} compared: ${same}, ${scores}.` }
}

function shown(ms: number | undefined, side: SideFacts, needs: number): string {
  return ms === undefined ? needed(side, needs) || WAITING : formatMs(ms)
}

function lowerFirst(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1)
}
