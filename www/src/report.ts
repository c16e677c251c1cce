/** The measurements as text, to be pasted into a message, with an address that repeats the experiment. */

import type { ColdStart } from './coldstart'
import { formatMs } from './format'
import { describeConditions, isSimulated } from './network'
import type { Facts, Line } from './verdict'

export interface Report {
  readonly address: string
  readonly facts: Facts
  readonly lines: readonly Line[]
  readonly coldStart: ColdStart | undefined
  readonly browser: { readonly agent: string; readonly cores: number; readonly isolated: boolean }
}

export function reportText({ address, facts, lines, coldStart, browser }: Report): string {
  const better = { edge: 'this device', cloud: 'the cloud', even: 'even', open: 'open' }
  const network = isSimulated(facts.conditions) ? `simulated, ${describeConditions(facts.conditions)}` : 'as it is'
  return [
    'Nearside: the same model on this device and in the cloud',
    address,
    '',
    `Network: ${network}. The cloud runs ${facts.cloud.model}.`,
    ...lines.flatMap(({ aspect, edge, cloud, better: side, why }) => [
      '',
      aspect,
      `  this device: ${edge}; the cloud: ${cloud}; better: ${better[side]}`,
      `  ${why}`,
    ]),
    ...(coldStart === undefined
      ? []
      : [
          '',
          `First answer on this device, ${formatMs(coldStart.firstAnswer)} after navigation`,
          ...coldStart.steps.map(({ name, from, ms }) => `  ${name}: ${formatMs(ms)}, from ${formatMs(from)}`),
          `  ${coldStart.engine}`,
        ]),
    '',
    `Browser: ${browser.agent}; ${browser.cores} cores; ${browser.isolated ? 'isolated (clock of microseconds)' : 'not isolated (coarse clock)'}`,
  ].join('\n')
}
