/**
 * What this device can do at most: multiply-accumulates per second of the instructions that the kernels are made of, in one thread, measured
 * with small modules that do nothing else.
 */

export interface Peaks {
  /** GMAC/s in 32-bit float, with fused multiply-add where the browser has it. */
  readonly float: number
  /** GMAC/s of the exact dot product of 16-bit integers, which every browser has. */
  readonly dot16: number
  /** GMAC/s of relaxed SIMD's dot product of 8-bit integers; `undefined` where the browser lacks it. */
  readonly dot8: number | undefined
  /** The float instruction that was measured. */
  readonly floatBy: 'relaxed madd' | 'mul and add'
}

// Opcodes (WebAssembly core specification, section 5.4).
const I32 = 0x7f
const V128 = 0x7b
const SIMD = 0xfd
const GET = 0x20
const SET = 0x21
const END = 0x0b
const I32_SPLAT = [SIMD, 0x11]
const I32X4_ADD = [SIMD, 0xae, 0x01]
const F32X4_ADD = [SIMD, 0xe4, 0x01]
const F32X4_MUL = [SIMD, 0xe6, 0x01]
const F32X4_RELAXED_MADD = [SIMD, 0x85, 0x02]
const DOT_I16X8 = [SIMD, 0xba, 0x01]
const RELAXED_DOT_I8X16_ADD = [SIMD, 0x93, 0x02]
const V128_XOR = [SIMD, 0x51]
/** 0.5 four times: what accumulates stays a normal number. */
const HALVES = [0x43, 0, 0, 0, 0x3f, SIMD, 0x13]

/** Independent sums: enough for the longest latency times the number of units. */
const SUMS = 12
/** Locals: 0 is the count, then the sums, then two operands. */
const A = SUMS + 1
const B = SUMS + 2

type Step = (sum: number) => number[]

const STEPS = {
  madd: (sum) => [GET, sum, GET, A, GET, B, ...F32X4_RELAXED_MADD, SET, sum],
  // Each product needs the sum before it, or it would be computed once for all.
  mulAdd: (sum) => [GET, sum, GET, A, ...F32X4_MUL, GET, B, ...F32X4_ADD, SET, sum],
  dot16: (sum) => [GET, sum, GET, sum, GET, B, ...DOT_I16X8, ...I32X4_ADD, SET, sum],
  dot8: (sum) => [GET, A, GET, B, GET, sum, ...RELAXED_DOT_I8X16_ADD, SET, sum],
} satisfies Record<string, Step>

/** How long one measurement repeats, and of how many the best counts. */
const MEASURE_MS = 25
const TRIES = 6

/** Takes about half a second, in the calling thread. */
export function measurePeaks(): Peaks {
  const relaxed = WebAssembly.validate(moduleOf(STEPS.dot8, false))
  return {
    float: relaxed ? rate(STEPS.madd, true, 4) : rate(STEPS.mulAdd, true, 4),
    dot16: rate(STEPS.dot16, false, 8),
    dot8: relaxed ? rate(STEPS.dot8, false, 16) : undefined,
    floatBy: relaxed ? 'relaxed madd' : 'mul and add',
  }
}

function rate(step: Step, float: boolean, lanes: number): number {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleOf(step, float)))
  const run = exports['run'] as (count: number) => number
  let count = 10_000
  let best = 0
  for (let i = 0; i < TRIES;) {
    const start = performance.now()
    run(count)
    const ms = performance.now() - start
    if (ms < MEASURE_MS / 2) {
      count *= ms < 1 ? 10 : Math.ceil(MEASURE_MS / ms)
      continue
    }
    best = Math.max(best, (count * SUMS * lanes) / ms / 1e6)
    i++
  }
  return best
}

/** A module with one function `run`: a loop of `count` rounds, in each one step per sum. */
function moduleOf(step: Step, float: boolean): Uint8Array<ArrayBuffer> {
  const sums = Array.from({ length: SUMS }, (_, i) => i + 1)
  const operand = float ? HALVES : [GET, 0, ...I32_SPLAT]
  const body = [
    ...[1, ...leb(SUMS + 2), V128],
    ...[A, B].flatMap((local) => [...operand, SET, local]),
    ...[0x03, 0x40], // loop
    ...sums.flatMap(step),
    ...[GET, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0], // count - 1, again unless it is 0
    END,
    ...sums.flatMap((sum, i) => (i === 0 ? [GET, sum] : [GET, sum, ...V128_XOR])),
    ...[SIMD, 0x1b, 0, END],
  ]
  const section = (id: number, content: readonly number[]): number[] => [id, ...leb(content.length), ...content]
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 1, I32, 1, I32]),
    ...section(3, [1, 0]),
    ...section(7, [1, 3, ...Array.from('run', (c) => c.charCodeAt(0)), 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ])
}

/** An unsigned number in LEB128. */
function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >> 7)]
}
