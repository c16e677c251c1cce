/** What is measured, as the page's address says it: whoever opens the address repeats the experiment. */

/** What runs beside Nearside: nothing, onnxruntime-web, Nearside in another way or with other numbers of threads, the model in other formats, or another model. */
export const BESIDE = ['nothing', 'onnxruntime-web', 'simd', 'single', 'threads', 'formats', 'model'] as const
export type Beside = (typeof BESIDE)[number]

export const VARIANTS = ['auto', 'simd', 'relaxed'] as const

export interface Experiment {
  /** A name from the repository (`digits.int8`, `digits`), an address, or `file` for one that the visitor gave. */
  readonly model: string
  /** Load the repository's model compiled ahead, or as ONNX, which the page compiles. */
  readonly form: 'plan' | 'onnx'
  readonly beside: Beside
  /** The model of `beside: 'model'`. */
  readonly other: string
  readonly variant: (typeof VARIANTS)[number]
  /** 0 lets each engine choose. */
  readonly threads: number
  readonly worker: boolean
  /** Measurements of each side in a round. */
  readonly n: number
  readonly rounds: number
  /** Sizes of open dimensions, by name. */
  readonly dims: Readonly<Record<string, number>>
  /** Seed of random inputs. */
  readonly seed: number
}

export const DEFAULTS: Experiment = {
  model: 'digits.int8',
  form: 'plan',
  beside: 'nothing',
  other: 'digits',
  variant: 'auto',
  threads: 0,
  worker: true,
  n: 20,
  rounds: 6,
  dims: {},
  seed: 1,
}

/** Reads the query of an address; what is missing or makes no sense is as in {@link DEFAULTS}. */
export function readExperiment(query: string): Experiment {
  const asked = new URLSearchParams(query)
  const among = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T =>
    allowed.find((value) => value === asked.get(name)) ?? otherwise
  const count = (name: string, least: number, most: number, otherwise: number): number => {
    const value = Number(asked.get(name) ?? NaN)
    return Number.isInteger(value) && value >= least && value <= most ? value : otherwise
  }
  return {
    model: asked.get('model') ?? DEFAULTS.model,
    form: among('form', ['plan', 'onnx'], DEFAULTS.form),
    beside: among('beside', BESIDE, DEFAULTS.beside),
    other: asked.get('other') ?? DEFAULTS.other,
    variant: among('variant', VARIANTS, DEFAULTS.variant),
    threads: count('threads', 0, 64, DEFAULTS.threads),
    worker: asked.get('worker') !== '0',
    n: count('n', 1, 1000, DEFAULTS.n),
    rounds: count('rounds', 1, 100, DEFAULTS.rounds),
    dims: readDims(asked.get('dims') ?? ''),
    seed: count('seed', 0, 2 ** 31, DEFAULTS.seed),
  }
}

/** The query that gives the experiment; only what differs from {@link DEFAULTS} is in it. */
export function writeExperiment(experiment: Experiment): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(experiment) as [keyof Experiment, unknown][]) {
    if (name === 'dims') {
      if (Object.keys(experiment.dims).length > 0) query.set(name, writeDims(experiment.dims))
    } else if (value !== DEFAULTS[name] && (name !== 'other' || experiment.beside === 'model')) {
      query.set(name, typeof value === 'boolean' ? String(Number(value)) : String(value))
    }
  }
  const text = query.toString()
  return text === '' ? '' : `?${text}`
}

/** `batch:1, sequence:128` as sizes by name. */
export function readDims(text: string): Record<string, number> {
  const sizes: Record<string, number> = {}
  for (const pair of text.split(',')) {
    const [, name, size] = /^\s*(.+?)\s*:\s*(\d+)\s*$/.exec(pair) ?? []
    if (name !== undefined) sizes[name] = Number(size)
  }
  return sizes
}

export function writeDims(dims: Readonly<Record<string, number>>): string {
  return Object.entries(dims)
    .map(([name, size]) => `${name}:${size}`)
    .join(',')
}
