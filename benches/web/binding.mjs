/**
 * What a set of shapes costs that a model has not met: the first run with it beside the fastest of the runs that follow, in V8.
 *
 *     node benches/web/binding.mjs model.plan
 *
 * For models whose inputs are integers of shape [batch, sequence], as text encoders have.
 */

import { readFile } from 'node:fs/promises'

const [plan] = process.argv.slice(2)
if (plan === undefined) {
  console.error('usage: node benches/web/binding.mjs model.plan')
  process.exit(2)
}
const { Model, Tensor } = await import('../../pkg/dist/index.js')
const model = await Model.load(new Uint8Array(await readFile(plan)), { worker: false })

/** @param {number} length */
async function run(length) {
  const ids = () => new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length])
  await model.run(Object.fromEntries(model.inputs.map(({ name }) => [name, ids()])))
  return /** @type {number} */ (model.lastTiming?.compute)
}

// Until V8 has optimised the kernels, and the code that binds.
for (let length = 120; length > 100; length -= 1) for (let i = 0; i < 3; i += 1) await run(length)
/** @type {number[]} */
const costs = []
for (let length = 99; length > 19; length -= 2) {
  const first = await run(length)
  const later = []
  for (let i = 0; i < 4; i += 1) later.push(await run(length))
  costs.push(first - Math.min(...later))
}
costs.sort((a, b) => a - b)
const at = (/** @type {number} */ part) => (costs[Math.floor(part * (costs.length - 1))] ?? NaN).toFixed(2)
console.log(`a new set of shapes costs ${at(0.5)} ms (median of ${costs.length}; 10 %: ${at(0.1)}, 90 %: ${at(0.9)})`)
model.dispose()
