/** The thread that compiles, so that whoever asks can go on: reads the model's files itself, does one job and ends. */

import { readFile } from 'node:fs/promises'
import { parentPort, workerData } from 'node:worker_threads'

import { isErrorKind, type WireError } from '../../engine/protocol.js'
import { instantiate, type Raw, type RawCompiled, type RawOnnx } from '../../engine/raw.js'
import { onnxNodes, ranges, rows } from '../../engine/rows.js'
import { InputError, NearsideError } from '../../errors.js'
import { modelKind } from '../../sniff.js'
import type { DataType } from '../../tensor.js'
import type { Port, PortKind } from '../../types.js'
import { COMPILER } from '../package-files.js'
import { eachPiece, openFile, pathOfWeights } from './files.js'
import type { Answer, Demand, Description, Drawing, DrawnGraph, DrawnPort, Job, Message, Step } from './job.js'

let panic: string | undefined

async function work(job: Job): Promise<{ answer: Answer; moved: ArrayBuffer[] }> {
  const raw = await instantiate('compiler', await WebAssembly.compile(await readFile(COMPILER)), 1)
  raw.start((text: string) => (panic = text))
  const { compiled, files } = await read(raw, job)
  const pieces: Uint8Array<ArrayBuffer>[] = []
  if (job.plan === true) {
    compiled.write_plan(
      () => {},
      (at: number, length: number) => pieces.push(new Uint8Array(raw.memory.buffer, at, length).slice()),
    )
  }
  const answer: Answer = {
    description: describe(compiled),
    demands: demands(compiled),
    plan: pieces.length > 0 ? pieces : undefined,
    text: job.text === undefined ? undefined : compiled.text(job.text.passes === true, job.text.graph === true),
    drawing: job.drawing === true ? drawing(compiled.drawing() as unknown[][] | undefined) : undefined,
    files,
  }
  return { answer, moved: pieces.map((piece) => piece.buffer) }
}

/** Reads a plan, or reads and compiles an ONNX model. */
async function read(raw: Raw, job: Job): Promise<{ compiled: RawCompiled; files: string[] }> {
  const { RawCompiled, RawOnnx } = raw
  if (RawCompiled === undefined || RawOnnx === undefined) throw new Error('the compiler lacks its bindings')
  const { file, size } = await openFile(job.model)
  try {
    const head = new Uint8Array(256)
    const { bytesRead } = await file.read(head, 0, head.length, 0)
    const kind = modelKind(head.subarray(0, bytesRead), `The file ${job.model}`)
    const reader = kind === 'plan' ? new raw.RawLoader(size) : new RawOnnx(size, new raw.RawLimits())
    await eachPiece(file, { start: 0, end: size }, (piece, at) => {
      reader.push(piece)
      tell({ reading: job.model, done: at + piece.length, total: size })
    })
    if (!('supply' in reader)) {
      const compiled = RawCompiled.of_plan(reader)
      if ((job.values ?? []).length + (job.dimensions ?? []).length > 0)
        throw new InputError(
          `The file ${job.model} is a plan: values and dimensions are settled when the ONNX model is compiled; give that model.`,
        )
      return { compiled, files: [] }
    }
    job.values?.forEach(([name, value]) => reader.value(name, value))
    job.dimensions?.forEach(([name, size]) => reader.dimension(name, size))
    const files = await supply(reader, job.weights)
    tell({ compiling: job.model })
    return { compiled: reader.compile(), files }
  } finally {
    await file.close()
  }
}

/** Gives a model what it needs of other files; tells which these are. */
async function supply(model: RawOnnx, folder: string): Promise<string[]> {
  const paths = new Map<string, string>()
  for (const { path: name, start, length } of ranges(model.finish())) {
    const path = paths.get(name) ?? (await pathOfWeights(folder, name))
    paths.set(name, path)
    const { file, size } = await openFile(path)
    try {
      await eachPiece(file, { start, end: start + length }, (piece, at) => {
        model.supply(name, at, piece)
        tell({ reading: path, done: at + piece.length, total: size })
      })
    } finally {
      await file.close()
    }
  }
  return [...paths.values()]
}

/** What the plan consists of, as `RawCompiled` gives it: operators, bytes of constants, demands. */
type Content = [operators: unknown[], weights: number, demands: unknown[]]

function demands(compiled: RawCompiled): Demand[] {
  const [, , flat] = compiled.content() as Content
  return rows<[string, string, Uint8Array<ArrayBuffer>]>(flat, 3).map(([input, text, bytes]) => ({ input, text, bytes }))
}

function describe(compiled: RawCompiled): Description {
  const [operators, weights] = compiled.content() as Content
  return {
    plan: compiled.take_fallback() === undefined,
    inputs: ports(compiled.ports(false)),
    outputs: ports(compiled.ports(true)),
    operators: Object.fromEntries(rows<[string, number]>(operators, 2)),
    weights,
    notes: compiled.notes() as string[],
    fallbackOperators: compiled.fallback_operators() as string[],
    passes: rows<[string, string[]]>(compiled.passes(), 2).map(([name, changes]) => ({ name, changes })),
  }
}

function drawing(parts: unknown[][] | undefined): Drawing | undefined {
  if (parts === undefined) return undefined
  const [before, after] = [parts.slice(0, 3), parts.slice(3)].map(drawnGraph)
  return before && after && { before, after }
}

function drawnGraph([nodes = [], inputs = [], outputs = []]: unknown[][]): DrawnGraph {
  const ports = (flat: unknown[]): DrawnPort[] =>
    rows<[string, string, string]>(flat, 3).map(([name, value, type]) => ({ name, value, type }))
  return {
    nodes: rows<[string, string, string, string, string[], string[], string[]]>(nodes, 7).map(
      ([name, op, text, type, inputs, outputs, fused]) => ({
        ...{ name, op, text, type, inputs, outputs },
        fused: onnxNodes(fused),
      }),
    ),
    inputs: ports(inputs),
    outputs: ports(outputs),
  }
}

function ports(flat: unknown[]): Port[] {
  return rows<[string, DataType, (number | string)[], PortKind]>(flat, 4).map(([name, type, dims, kind]) =>
    kind === 'tensor' ? { name, type, dims } : { name, type, dims: [], kind },
  )
}

/** Kinds of errors as `fromWire` knows them. */
function describeError(error: unknown): WireError {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) }
  if (error instanceof NearsideError) return { name, kind: name === 'InputError' ? 'InvalidInput' : 'InvalidModel', message }
  const known = isErrorKind(name)
  return { name, kind: known ? name : 'Lost', message: known ? message : (panic ?? `${name}: ${message}`) }
}

function tell(step: Step): void {
  post({ step })
}

function post(message: Message, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved)
}

work(workerData as Job).then(
  ({ answer, moved }) => post({ answer }, moved),
  (error: unknown) => post({ error: describeError(error) }),
)
