/** Right answers beside speed: the digit models' test samples, with what ONNX Runtime gives natively for them. */

import samplesUrl from '../../models/digits.samples.json?url'

import type { Runner } from './engines'
import type { Values } from './inputs'

export interface Reference {
  readonly samples: number
  /** Digits that were recognised. */
  readonly right: number
  /** The largest difference of a logit from the reference, which is written with five digits. */
  readonly largest: number
}

interface Samples {
  readonly samples: readonly {
    readonly label: number
    /** Base64 of the ink, 0 to 255. */
    readonly pixels: string
    readonly float: readonly number[]
    readonly int8: readonly number[]
  }[]
}

/** The samples, each as the models' inputs. */
export async function digitSamples(signal: AbortSignal): Promise<(Samples['samples'][number] & { readonly inputs: Values })[]> {
  const answer = await fetch(samplesUrl, { signal })
  const { samples } = (await answer.json()) as Samples
  return samples.map((sample) => {
    const data = Float32Array.from(atob(sample.pixels), (byte) => byte.charCodeAt(0) / 255)
    return { ...sample, inputs: { image: { type: 'float32', dims: [1, 1, 28, 28], data } } }
  })
}

/** Runs a digit model on all samples. */
export async function checkSamples(runner: Runner, kind: 'float' | 'int8', signal: AbortSignal): Promise<Reference> {
  const samples = await digitSamples(signal)
  let [right, largest] = [0, 0]
  for (const sample of samples) {
    signal.throwIfAborted()
    const { outputs } = await runner.run(sample.inputs)
    const logits = Array.from(outputs['logits']?.data ?? [], Number)
    if (logits.indexOf(Math.max(...logits)) === sample.label) right += 1
    sample[kind].forEach((expected, i) => (largest = Math.max(largest, Math.abs(expected - (logits[i] ?? NaN)))))
  }
  return { samples: samples.length, right, largest }
}
