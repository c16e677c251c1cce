/** One network in several formats: how a file is quantized, what it weighs on the way, and how far its answers are from the reference's. */

import { RelativeError } from '../../benches/web/relative-error'
import { formatBytes, formatMs, formatRatio, formatShare } from '../src/format'
import type { Values } from './inputs'
import { topEntries } from './measure'

/** How a model's numbers are written. */
export type Format = 'float' | 'QDQ' | 'QOperator' | 'dynamic' | 'plan'

/** Operators that tell, the most telling first: dynamic models have DequantizeLinear as well, for their weights. */
const TELLING: readonly (readonly [Format, RegExp])[] = [
  ['QOperator', /QLinear[A-Z]|QGemm|QAttention/],
  ['dynamic', /DynamicQuantize|ConvInteger|MatMulInteger/],
  ['QDQ', /DequantizeLinear/],
]

/** A graph's nodes come before its weights in what exporters write; this much of a file has them. */
const NODES_WITHIN = 16 << 20

/** The format of a model, by the names of operators in its bytes. */
export async function formatOf(file: Blob): Promise<Format> {
  const text = new TextDecoder('latin1').decode(await file.slice(0, NODES_WITHIN).arrayBuffer())
  if (text.startsWith('NEARPLAN')) return 'plan'
  return TELLING.find(([, operators]) => operators.test(text))?.[0] ?? 'float'
}

/** A file as a visitor downloads it. */
export interface Weight {
  readonly bytes: number
  /** After gzip, as servers send it. */
  readonly wire: number
}

export async function weigh(file: string | Blob, signal: AbortSignal): Promise<Weight> {
  const blob = typeof file === 'string' ? await (await fetch(file, { signal })).blob() : file
  let wire = 0
  const packed = blob.stream().pipeThrough<Uint8Array>(new CompressionStream('gzip'))
  for (const reader = packed.getReader(); ;) {
    signal.throwIfAborted()
    const { done, value } = await reader.read()
    if (done) return { bytes: blob.size, wire }
    wire += value.length
  }
}

/** How far answers are from those of the reference to the same inputs. */
export interface Agreement {
  readonly inputs: number
  /** How many have the same largest entry; `undefined` where no output has several. */
  readonly same: number | undefined
  /** The difference of all outputs as a part of them: ‖own − reference‖ / ‖reference‖; NaN where shapes differ. */
  readonly error: number
}

/** Adds answers up, one input after the other. */
export class Comparison {
  #inputs = 0
  #same: number | undefined
  readonly #error = new RelativeError()

  add(reference: Values, own: Values): void {
    this.#inputs += 1
    const [best, other] = [topEntries(reference, 1)[0], topEntries(own, 1)[0]]
    if (best !== undefined) this.#same = (this.#same ?? 0) + Number(best.index === other?.index)
    for (const [output, { data }] of Object.entries(reference)) {
      const given = own[output]?.data
      if (given?.length !== data.length) this.#error.add(0, NaN)
      for (let i = 0; i < data.length; i++) this.#error.add(Number(data[i]), Number(given?.[i]))
    }
  }

  get agreement(): Agreement {
    return { inputs: this.#inputs, same: this.#same, error: this.#error.value }
  }
}

/** One format on one engine. */
export interface FormatResult extends Weight {
  /** The model: its format, or the name of the visitor's file. */
  readonly title: string
  readonly format: Format
  readonly engine: 'Nearside' | 'onnxruntime-web'
  readonly p10: number
  readonly median: number
  readonly p90: number
  /** With the reference on Nearside; the reference itself has none. */
  readonly agreement: Agreement | undefined
}

export function describeAgreement({ inputs, same }: Agreement): string {
  return same === undefined ? '–' : `${same} of ${inputs}`
}

/** Which is the fastest, and of the reference's time on the same engine. */
export function describeFastest(formats: readonly FormatResult[]): string {
  const fastest = [...formats].sort((a, b) => a.median - b.median)[0]
  if (fastest === undefined) return ''
  const reference = formats.find(({ title, engine }) => title === formats[0]?.title && engine === fastest.engine)
  const than =
    reference === undefined || reference === fastest
      ? ''
      : `, ${formatRatio(reference.median / fastest.median)} times as fast as ${reference.title} there`
  return `${fastest.title} on ${fastest.engine} is the fastest${than}`
}

/** A line of text for each. */
export function formatLines(formats: readonly FormatResult[]): string[] {
  return formats.map(({ title, format, engine, p10, median, p90, bytes, wire, agreement }) => {
    const compared =
      agreement === undefined
        ? 'the reference'
        : `the same best entry for ${describeAgreement(agreement)}, relative error ${formatShare(agreement.error)}`
    return `${title} (${format}) on ${engine}: median ${formatMs(median)}, 10 to 90 percent ${formatMs(p10)} to ${formatMs(p90)}; ${formatBytes(bytes)}, ${formatBytes(wire)} after gzip; ${compared}`
  })
}
