/** What a page does by itself where nothing drives its browser: clicks, fills in, waits for texts; then it goes on to the next page, or reports. */

export type Step =
  | { readonly click: string }
  /** Values for all elements that the selector finds, in order. */
  | { readonly fill: string; readonly values: readonly string[] }
  /** Waits until an element's text matches. */
  | { readonly until: string; readonly matches: string }
  /** Waits until there are so many. */
  | { readonly until: string; readonly count: number }
  /** As in a browser that has no devices to give. */
  | { readonly without: 'mediaDevices' }

/** One page: its address, and what to do there. */
export interface Visit {
  readonly name: string
  readonly url: string
  readonly steps: readonly Step[]
}

/** What came of a visit; `failure` says which step did not succeed. */
export interface Outcome {
  readonly name: string
  readonly failure?: string
}

/** The script of a page that is one of these visits, by its number. */
export function scriptOf(visits: readonly Visit[], at: number): string {
  return `<script>(${drive.toString()})(${JSON.stringify(visits).replaceAll('<', '\\u003c')}, ${at})</script>`
}

/** Runs in the page, so it stands for itself. Outcomes go from page to page in the session's storage. */
async function drive(visits: readonly Visit[], at: number): Promise<void> {
  const PATIENCE = 20_000
  const visit = visits[at]
  if (visit === undefined) return
  const errors: string[] = []
  addEventListener('error', ({ message }) => errors.push(message))
  const outcome: { name: string; failure?: string } = { name: visit.name }
  const until = async (what: string, right: () => boolean, found: () => string): Promise<void> => {
    for (const begun = performance.now(); !right();) {
      if (performance.now() - begun > PATIENCE) throw new Error(`${what}: there is ${found()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const all = (selector: string): HTMLInputElement[] => [...document.querySelectorAll<HTMLInputElement>(selector)]
  const text = (selector: string): string => all(selector)[0]?.textContent ?? 'no such element'
  try {
    await until(
      'the page',
      () => document.readyState === 'complete',
      () => document.readyState,
    )
    for (const step of visit.steps) {
      if ('click' in step) all(step.click)[0]?.click()
      else if ('fill' in step)
        all(step.fill).forEach((field, i) => {
          field.value = step.values[i] ?? ''
          field.dispatchEvent(new Event('input', { bubbles: true }))
        })
      else if ('without' in step) Object.defineProperty(navigator, step.without, { value: undefined })
      else if ('count' in step)
        await until(
          step.until,
          () => all(step.until).length === step.count,
          () => String(all(step.until).length),
        )
      else
        await until(
          step.matches,
          () => new RegExp(step.matches).test(text(step.until)),
          () => text(step.until),
        )
    }
    if (errors.length > 0) throw new Error(errors.join(', '))
  } catch (error) {
    outcome.failure = String(error)
  }
  const outcomes = [...(JSON.parse(sessionStorage.getItem('outcomes') ?? '[]') as unknown[]), outcome]
  sessionStorage.setItem('outcomes', JSON.stringify(outcomes))
  const next = visits[at + 1]
  if (next !== undefined) location.href = next.url
  else await fetch('/report', { method: 'POST', body: JSON.stringify(outcomes) })
}
