/** What the model cache holds, as kept beside its entries: sizes and times for the budget, and which address had which content. */

/** A kept plan; or, under its address, the beginning of a file. */
export interface Entry {
  /** Bytes. */
  readonly size: number
  /** When it was used last, in milliseconds since 1970. */
  readonly used: number
  readonly begun?: Begun
}

/** A file that has not arrived to its end. */
export interface Begun {
  /** The strong tag of this version of the file. */
  readonly version: string
  /** Bytes of the whole file. */
  readonly total: number
  /** The sha-256 of each piece that is there, in order. */
  readonly sums: readonly string[]
}

/** What an address gave when it was asked last. */
export interface Known {
  /** Key of the plan. */
  readonly key: string
  /** What the server called that version of the file; empty if it said nothing that tells versions apart. */
  readonly version: string
}

export interface Index {
  readonly entries: Map<string, Entry>
  readonly addresses: Map<string, Known>
}

/** Reads an index. What cannot be read holds nothing: whatever is not in the index is deleted with the next change. */
export function parseIndex(text: string | undefined): Index {
  try {
    const { entries, addresses } = JSON.parse(text ?? '{}') as { entries?: [string, Entry][]; addresses?: [string, Known][] }
    return { entries: new Map(entries), addresses: new Map(addresses) }
  } catch {
    return { entries: new Map(), addresses: new Map() }
  }
}

export function formatIndex({ entries, addresses }: Index): string {
  return JSON.stringify({ entries: [...entries], addresses: [...addresses] })
}

/** The names under which the cache has what the index holds. */
export function namesOf({ entries }: Index): Set<string> {
  return new Set([...entries].flatMap(([key, { begun }]) => begun?.sums.map(pieceName) ?? key))
}

/** The name of a piece of a file. */
export function pieceName(sum: string): string {
  return `piece/${sum}`
}

/** Bytes of all entries. */
export function totalBytes({ entries }: Index): number {
  return [...entries.values()].reduce((sum, { size }) => sum + size, 0)
}

/** Takes entries out, the longest unused first, until at most `maxBytes` remain, and the addresses that led to them. */
export function evict(index: Index, maxBytes: number): void {
  let total = totalBytes(index)
  const oldest = [...index.entries].sort(([, a], [, b]) => a.used - b.used)
  for (const [key, { size }] of oldest) {
    if (total <= maxBytes) break
    total -= size
    index.entries.delete(key)
  }
  for (const [address, { key }] of index.addresses) if (!index.entries.has(key)) index.addresses.delete(address)
}

/** What tells one version of a file from another: its tag, or its date and size; empty if the server tells neither. */
export function versionOf(response: Response): string {
  const { headers } = response
  const tag = headers.get('etag')
  if (tag !== null) return tag
  const [modified, length] = [headers.get('last-modified'), headers.get('content-length')]
  return modified === null || length === null ? '' : `${modified} ${length}`
}
