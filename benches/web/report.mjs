/** From single measurements to one row per engine and model, and from rows to a table. */

/**
 * @typedef {{ engine: string, model: string, variant: string, case: string, threads: number }} Key
 * @typedef {Key & { classifier: boolean, measurement: import('./page.js').Measurement }} Result
 *
 * `again` is the next visit, where there was one; `rounds_ms` holds the lowest and the highest median of a page; `from_float` is the largest relative difference to the float32 model's outputs,
 * `same_top` whether a classifier's answer is the float32 model's.
 * @typedef {{ load_ms: number, first_ms: number }} Again
 * @typedef {{ load_ms: number, first_ms: number, again: Again | null, median_ms: number, rounds_ms: [number, number], min_ms: number, peak_wasm_bytes: number }} Times
 * @typedef {{ max_error: number | null, from_float: number | null, same_top: boolean | null }} Errors
 * @typedef {Key & Times & Errors} Row
 */

/** @param {number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}

/** @param {number} value */
const round = (value) => Number(value.toPrecision(4))

/**
 * Medians over the rounds for what happens once per page, over all runs for the rest.
 * @param {Result[]} results
 * @returns {Row[]}
 */
export function rows(results) {
  /** @type {Map<string, Result[]>} */
  const groups = new Map()
  for (const result of results) {
    const key = [result.engine, result.threads, result.model, result.variant, result.case].join()
    groups.set(key, [...(groups.get(key) ?? []), result])
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (first === undefined) return []
    const measurements = group.map(({ measurement }) => measurement)
    const samples = measurements.flatMap((one) => one.samples)
    const medians = measurements.map((one) => median(one.samples))
    const errors = measurements.flatMap((one) => (one.max_error === null ? [] : [one.max_error]))
    const floats = measurements.flatMap((one) => (one.from_float === null ? [] : [one.from_float]))
    const { measurement: _, classifier, ...key } = first
    return [
      {
        ...key,
        load_ms: round(median(measurements.map((one) => one.load_ms))),
        first_ms: round(median(measurements.map((one) => one.first_ms))),
        again: again(measurements),
        median_ms: round(median(samples)),
        rounds_ms: [round(Math.min(...medians)), round(Math.max(...medians))],
        min_ms: round(Math.min(...samples)),
        peak_wasm_bytes: Math.max(...measurements.map((one) => one.peak_wasm_bytes)),
        max_error: errors.length === 0 ? null : round(Math.max(...errors)),
        from_float: floats.length === 0 ? null : round(Math.max(...floats.map(({ relative }) => relative))),
        same_top: classifier && floats.length > 0 ? floats.every(({ sameTop }) => sameTop) : null,
      },
    ]
  })
}

/**
 * @param {import('./page.js').Measurement[]} measurements
 * @returns {Again | null}
 */
function again(measurements) {
  const visits = measurements.flatMap((one) => one.again ?? [])
  if (visits.length === 0) return null
  const [load_ms, first_ms] = [median(visits.map((one) => one.load_ms)), median(visits.map((one) => one.first_ms))]
  return { load_ms: round(load_ms), first_ms: round(first_ms) }
}

/** @param {number} value */
const milliseconds = (value) => value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0)

/**
 * A Markdown table; each ratio is how many times longer that engine takes than the first one with as many threads as its first row has,
 * by the median.
 * @param {Row[]} summary
 * @param {string[]} engines
 */
export function table(summary, engines) {
  const reference = engines[0]
  const lines = [
    [
      ...[
        'model',
        'variant',
        'engine',
        'load ms',
        'first ms',
        'again: load, first',
        'median ms',
        'of rounds',
        'min ms',
        'wasm MiB',
      ],
      ...['max error', 'from float32', `× ${reference ?? ''}`],
    ],
    ['---', '---', '---', ...Array.from({ length: 10 }, () => '--:')],
  ]
  for (const row of summary) {
    const base = summary.find(
      (one) => one.engine === reference && one.model === row.model && one.variant === row.variant && one.case === row.case,
    )
    lines.push([
      row.model,
      row.variant,
      row.threads > 1 ? `${row.engine}, ${row.threads} threads` : row.engine,
      milliseconds(row.load_ms),
      milliseconds(row.first_ms),
      row.again === null ? '–' : `${milliseconds(row.again.load_ms)}, ${milliseconds(row.again.first_ms)}`,
      milliseconds(row.median_ms),
      row.rounds_ms.map(milliseconds).join('–'),
      milliseconds(row.min_ms),
      (row.peak_wasm_bytes / 2 ** 20).toFixed(1),
      row.max_error === null ? '–' : row.max_error.toExponential(1),
      row.from_float === null ? '–' : `${row.from_float.toExponential(1)}${row.same_top === false ? ', other top 1' : ''}`,
      base === undefined || base === row ? '' : (row.median_ms / base.median_ms).toFixed(2),
    ])
  }
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/**
 * Time by operator, then the slowest nodes, with the speed of what multiplies and the bandwidth of what does not.
 * @param {import('./engine.js').Profile} nodes
 */
export function profileTable(nodes) {
  const total = nodes.reduce((sum, { mean }) => sum + mean, 0)
  /** @type {(mean: number, macs: number, bytes: number, what: string) => string} */
  const line = (mean, macs, bytes, what) => {
    const speed = macs > 0 ? `${(macs / mean / 1e6).toFixed(1)} GMAC/s` : `${(bytes / mean / 1e6).toFixed(1)} GB/s`
    return `${mean.toFixed(3).padStart(9)} ms ${((100 * mean) / total).toFixed(1).padStart(5)} % ${speed.padStart(12)}  ${what}`
  }
  /** @type {Map<string, { count: number, mean: number, macs: number, bytes: number }>} */
  const operators = new Map()
  for (const { op, mean, macs, bytes } of nodes) {
    const sum = operators.get(op) ?? { count: 0, mean: 0, macs: 0, bytes: 0 }
    operators.set(op, { count: sum.count + 1, mean: sum.mean + mean, macs: sum.macs + macs, bytes: sum.bytes + bytes })
  }
  const byOperator = [...operators]
    .sort(([, a], [, b]) => b.mean - a.mean)
    .map(([op, { count, mean, macs, bytes }]) => line(mean, macs, bytes, `${op}×${count}`))
  const slowest = nodes
    .toSorted((a, b) => b.mean - a.mean)
    .slice(0, 25)
    .map(({ name, op, dims, mean, macs, bytes }) => line(mean, macs, bytes, `${op} '${name}' ${dims.join('×')}`))
  return [...byOperator, '', ...slowest].join('\n')
}
