/** What crosses the border to the thread that compiles. */

import type { WireError } from '../../engine/protocol.js'
import type { OnnxNode } from '../../explanation.js'
import type { Port } from '../../types.js'

/** What is asked for. */
export interface Job {
  /** Path of the ONNX model or plan. */
  readonly model: string
  /** Folder of the files in which an ONNX model keeps weights. */
  readonly weights: string
  /** Values of inputs for which the model is compiled, by name: elements with commas between them. */
  readonly values?: readonly (readonly [string, string])[] | undefined
  /** Sizes of open dimensions for which the model is compiled, by name. */
  readonly dimensions?: readonly (readonly [string, number])[] | undefined
  /** Give the plan's file. */
  readonly plan?: boolean | undefined
  /** Give what `inspect --html` draws. */
  readonly drawing?: boolean | undefined
  /** Give the text of `inspect`, with what each pass did or with the graph. */
  readonly text?: { readonly passes?: boolean | undefined; readonly graph?: boolean | undefined } | undefined
}

/** What is known of a compiled model. */
export interface Description {
  /** Whether it has a plan. */
  readonly plan: boolean
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** Number of the plan's nodes by operator, most frequent first. */
  readonly operators: { readonly [name: string]: number }
  /** Bytes of the plan's constants. */
  readonly weights: number
  /** What the user should know, as sentences. */
  readonly notes: readonly string[]
  /** The ONNX operators for which there is no plan. */
  readonly fallbackOperators: readonly string[]
  readonly passes: readonly { readonly name: string; readonly changes: readonly string[] }[]
}

/** A value that an input must have, because the model was compiled for it. */
export interface Demand {
  readonly input: string
  /** The value in words, `16000` or `[2, 3]`. */
  readonly text: string
  /** Its elements, little-endian. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** A model before and after the compiler, to be drawn. */
export interface Drawing {
  /** The ONNX nodes; none where a plan was given. */
  readonly before: DrawnGraph
  readonly after: DrawnGraph
}

export interface DrawnGraph {
  readonly nodes: readonly DrawnNode[]
  readonly inputs: readonly DrawnPort[]
  readonly outputs: readonly DrawnPort[]
}

export interface DrawnNode {
  readonly name: string
  readonly op: string
  /** What is to be read of it beside the operator. */
  readonly text: string
  /** Type of its first result; empty if unknown. */
  readonly type: string
  /** Names of the values that it reads. */
  readonly inputs: readonly string[]
  /** Names of the values that it makes. */
  readonly outputs: readonly string[]
  readonly fused: readonly OnnxNode[]
}

export interface DrawnPort {
  readonly name: string
  /** What nodes call its value. */
  readonly value: string
  readonly type: string
}

/** What came of a job. */
export interface Answer {
  readonly description: Description
  readonly demands: readonly Demand[]
  /** The plan's file in pieces, where it was asked for and there is one. */
  readonly plan?: readonly Uint8Array<ArrayBuffer>[] | undefined
  readonly text?: string | undefined
  /** Where it was asked for and there is a plan. */
  readonly drawing?: Drawing | undefined
  /** Files other than the model that were read. */
  readonly files: readonly string[]
}

/** What the job is busy with: bytes read of those of a file, or the compilation. */
export type Step = { readonly reading: string; readonly done: number; readonly total: number } | { readonly compiling: string }

export type Message = { readonly step: Step } | { readonly answer: Answer } | { readonly error: WireError }
