/** Numbers that look like chance, the same in every run. */

/** A generator of numbers from 0 up to 1 (Park and Miller's). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48271) % 2147483647) / 2147483647
}
