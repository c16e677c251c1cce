/** What a model tells of itself: what runs, of which ONNX nodes it was made, and what each part takes. */

import type { DataType } from './tensor.js'

/** What one node of a model took, as `profile` tells it. */
export interface NodeProfile {
  /** The node's name in the model. */
  readonly name: string
  /** The operator of the compiled graph, e.g. `Conv`. */
  readonly op: string
  /** Shape of its first output. */
  readonly dims: readonly number[]
  /** Multiply-accumulates of a convolution or matrix product; 0 for others. */
  readonly macs: number
  /** Bytes of all operands and results: the least that must pass through memory. */
  readonly bytes: number
  /** Mean time of a run, in milliseconds. Browsers' clocks are too coarse for single runs of small nodes, but their mean is right. */
  readonly mean: number
  /** Shortest time, in milliseconds. */
  readonly min: number
  /** The ONNX nodes that became part of it, in the model's order. */
  readonly fused: readonly OnnxNode[]
}

/** A node of the ONNX model that a plan was made from. */
export interface OnnxNode {
  /** Its operator, e.g. `QuantizeLinear`. */
  readonly op: string
  /** Its name; nodes without one were given one. */
  readonly name: string
}

/** A node of the graph that runs. */
export interface GraphNode {
  /** Its name in the model. */
  readonly name: string
  /** The operator of the compiled graph, e.g. `Conv`. */
  readonly op: string
  /** Element type of its first output: `uint8` where it computes on integers. */
  readonly type: DataType
  /** Shape of its first output: numbers, and expressions over the names of open dimensions. */
  readonly dims: readonly (number | string)[]
  /** The ONNX nodes that became part of it, in the model's order. */
  readonly fused: readonly OnnxNode[]
}

/** What runs where, and why, as `explain` tells it. */
export interface Explanation {
  /** What runs the model: the runtime; or the compiler, where the model has no plan, as `notes` say. */
  readonly executor: 'runtime' | 'compiler'
  /** Operators that need the fallback executor; empty when the runtime runs the whole model. */
  readonly fallbackOperators: readonly string[]
  /** What one should know about the model, as sentences. */
  readonly notes: readonly string[]
  /** Name and version of the compiler that made the plan; empty without a plan. */
  readonly producer: string
  /** Sha-256 of the ONNX file from which the plan was made, in hexadecimal; empty if unknown. */
  readonly sourceSha256: string
  /** Whether the ways to compute it were chosen by `tune`, now or at an earlier visit. */
  readonly tuned: boolean
  /** The graph, in the order in which it runs; empty without a plan. */
  readonly nodes: readonly GraphNode[]
}

/** A way to compute a node, as `tune` tells it. */
export interface Way {
  /** Shortest time, in milliseconds. */
  readonly ms: number
  /**
   * How a convolution goes about its windows: a product on rows that are copied (or on the input as it lies), on windows of copied lines, or
   * by Winograd's method, which takes fewer products. Matrix products have rows.
   */
  readonly method: 'rows' | 'windows' | 'winograd'
  /** The inner loops: as usual, tiles of fewer rows, a part of the depth at a time, products of 16 bits. */
  readonly inner: 'usual' | 'low' | 'shallow' | 'wide'
  /** Sizes of the kernel's blocks. */
  readonly blocks: readonly [number, number]
}

/** What became of a node, as `tune` tells it. */
export interface TunedNode {
  /** The node's name in the model. */
  readonly name: string
  /** The operator of the compiled graph, e.g. `Conv`. */
  readonly op: string
  /** The way that the model had. */
  readonly before: Way
  /** The fastest way; the same if no other was faster by more than noise. */
  readonly after: Way
}

/** What came of tuning. */
export interface TuneReport {
  /** Whether the whole model became faster by more than noise. If not, all stays as it was. */
  readonly kept: boolean
  /** Whether the device keeps it for later visits. */
  readonly stored: boolean
  /** Shortest time of a run in milliseconds, as the model was; `undefined` if no node had a faster way, so that nothing was compared. */
  readonly before: number | undefined
  /** Shortest time of a run in milliseconds, by the fastest ways. */
  readonly after: number | undefined
  /** The nodes that were measured, in the order in which they run. Of those with the same shapes, one was measured for all. */
  readonly nodes: readonly TunedNode[]
}
