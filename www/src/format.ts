/** Numbers as a reader wants them, with two or three significant digits and a unit, and errors as sentences. */

/** `0.31 ms`, `84 ms`, `1.2 s`. */
export function formatMs(ms: number): string {
  if (ms >= 999.5) return `${significant(ms / 1000)} s`
  return `${significant(ms)} ms`
}

/** `0 bytes`, `784 bytes`, `70.9 KB`. Thousands, as browsers count them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`
  const [value, unit] = bytes < 999_950 ? [bytes / 1e3, 'KB'] : [bytes / 1e6, 'MB']
  return `${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`
}

/** `99.8 %`; never `100 %` for less than that. */
export function formatShare(share: number): string {
  if (share > 0.9995 && share < 1) return '> 99.9 %'
  if (share > 0 && share < 0.0005) return '< 0.1 %'
  return `${(share * 100).toFixed(1)} %`
}

/** `1`, `1 drawing`-style counts: `1 call`, `12 calls`. */
export function formatCount(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`
}

/** How many times: `1.3`, `12`, `240`. */
export function formatRatio(ratio: number): string {
  return ratio < 9.95 ? ratio.toFixed(1) : String(Number(ratio.toPrecision(2)))
}

/** `$0.10`, `$0.0000028`: two digits that count, however small. */
export function formatDollars(dollars: number): string {
  const options = dollars < 0.095 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 }
  return `$${dollars.toLocaleString('en', options)}`
}

/** `840`, `36 million`. */
export function formatMany(n: number): string {
  return n.toLocaleString('en', { notation: 'compact', compactDisplay: 'long', maximumSignificantDigits: 2 })
}

/** What an error tells: those of the package and of these pages are sentences. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function significant(value: number): string {
  if (value >= 99.5) return value.toFixed(0)
  if (value >= 9.95) return value.toFixed(1)
  return value.toFixed(2)
}
