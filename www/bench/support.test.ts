import { expect, it } from 'vitest'
import type { Explanation, GraphNode } from 'nearside'

import { describeSupport, supportOf } from './support'

const node = (name: string, op: string, fused: string[]): GraphNode => ({
  ...{ name, op, type: 'uint8', dims: [] },
  fused: fused.map((one) => ({ op: 'X', name: one })),
})

const explanation: Explanation = {
  ...{
    executor: 'runtime',
    fallbackOperators: [],
    notes: [],
    producer: 'nearside 1',
    sourceSha256: '',
    tuned: false,
    plan: new Blob(['abc']),
  },
  nodes: [node('a', 'Reshape', ['1']), node('b', 'Conv', ['2', '3']), node('c', 'Conv', ['3', '4'])],
}

it('counts operators, and ONNX nodes once each', () => {
  const support = supportOf(explanation)
  expect(support.operators).toEqual([
    { op: 'Conv', nodes: 2 },
    { op: 'Reshape', nodes: 1 },
  ])
  expect(describeSupport(support)).toBe('The runtime runs all of it: 3 nodes, made of 4 of the ONNX model. Its plan has 3 bytes.')
})

it('names what needs the fallback', () => {
  const support = supportOf({ ...explanation, executor: 'compiler', fallbackOperators: ['Frob'], nodes: [], plan: undefined })
  expect(describeSupport(support)).toContain('for these operators: Frob.')
})
