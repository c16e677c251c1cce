/** The `Server-Timing` header: what the server itself says a call took. */

/** Milliseconds of the two parts that matter here. */
export interface ServerTiming {
  readonly queue?: number | undefined
  readonly compute?: number | undefined
}

/** Reads every metric that has a duration, e.g. from `queue;dur=0.2, compute;desc="run";dur=3.5`. */
export function parseMetrics(header: string | null): Readonly<Record<string, number>> {
  const durations = new Map<string, number>()
  for (const metric of header?.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? []) {
    const [name = '', ...parameters] = metric.split(';').map((part) => part.trim())
    const duration = parameters.map((p) => /^dur\s*=\s*"?([\d.]+)"?$/i.exec(p)?.[1]).find((d) => d !== undefined)
    if (duration !== undefined) durations.set(name, Number(duration))
  }
  return Object.fromEntries(durations)
}

/** Reads the metrics `queue` and `compute`. */
export function parseServerTiming(header: string | null): ServerTiming {
  const metrics = parseMetrics(header)
  return { queue: metrics['queue'], compute: metrics['compute'] }
}
