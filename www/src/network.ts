/** Conditions that the server adds to the network on request, and how they stand in addresses. */

/** What is added to the real network. All zero is the network as it is. */
export interface Conditions {
  /** Added round trip, in milliseconds. */
  readonly rtt: number
  /** Standard deviation of it, in milliseconds. */
  readonly jitter: number
  /** Packets lost, in percent. */
  readonly loss: number
  /** No connection at all. */
  readonly offline: boolean
}

export const AS_IT_IS: Conditions = { rtt: 0, jitter: 0, loss: 0, offline: false }

/** The most that the controls offer. */
export const LIMITS = { rtt: 500, jitter: 100, loss: 10 } as const

/** Whether anything is simulated. */
export function isSimulated({ rtt, jitter, loss, offline }: Conditions): boolean {
  return offline || rtt > 0 || jitter > 0 || loss > 0
}

/** The path before `/v2`: empty for the network as it is. */
export function serverPath(conditions: Conditions): string {
  if (conditions.offline) return 'simulate/offline'
  const { rtt, jitter, loss } = conditions
  return isSimulated(conditions) ? `simulate/rtt=${rtt},jitter=${jitter},loss=${loss}` : ''
}

/** In words, for labels: `80 ms added round trip, 2 % loss`. */
export function describeConditions(conditions: Conditions): string {
  if (conditions.offline) return 'offline'
  if (!isSimulated(conditions)) return 'as it is'
  const parts = [
    conditions.rtt > 0 && `${conditions.rtt} ms added round trip`,
    conditions.jitter > 0 && `${conditions.jitter} ms jitter`,
    conditions.loss > 0 && `${conditions.loss} % loss`,
  ]
  return parts.filter((part) => part !== false).join(', ')
}

/** What an address can say of the experiment. */
export interface Experiment {
  readonly conditions: Conditions
  /** The model that the cloud runs. */
  readonly model: string
}

export const CLOUD_MODELS = ['digits.int8', 'digits'] as const

/** Reads an address's query; whatever it does not say, or says wrongly, is as if nothing were simulated. */
export function readQuery(query: string): Experiment {
  const params = new URLSearchParams(query)
  const number = (name: 'rtt' | 'jitter' | 'loss'): number => {
    const value = Number(params.get(name) ?? 0)
    return value >= 0 && value <= LIMITS[name] ? value : 0
  }
  const asked = params.get('model')
  return {
    conditions: { rtt: number('rtt'), jitter: number('jitter'), loss: number('loss'), offline: params.has('offline') },
    model: CLOUD_MODELS.find((name) => name === asked) ?? CLOUD_MODELS[0],
  }
}

/** The query that {@link readQuery} reads back; empty for the defaults. */
export function writeQuery({ conditions, model }: Experiment): string {
  const parts: string[] = []
  for (const name of ['rtt', 'jitter', 'loss'] as const) if (conditions[name] > 0) parts.push(`${name}=${conditions[name]}`)
  if (conditions.offline) parts.push('offline')
  if (model !== CLOUD_MODELS[0]) parts.push(`model=${model}`)
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}
