/** What runs a model, of which operators it is made, and its plan to take along. */

import type { Explanation } from 'nearside'

import { byId, element, setText } from '../src/dom'
import { formatBytes } from '../src/format'

/** What the result tells of the first side's model. */
export interface Support {
  readonly executor: Explanation['executor']
  /** Operators of the compiled graph, the most frequent first. */
  readonly operators: readonly { readonly op: string; readonly nodes: number }[]
  /** ONNX nodes of which those were made; 0 where the plan does not say. */
  readonly onnxNodes: number
  readonly fallback: readonly string[]
  readonly notes: readonly string[]
  /** Bytes of the plan; 0 if there is none. */
  readonly planBytes: number
}

export function supportOf({ executor, nodes, fallbackOperators, notes, plan }: Explanation): Support {
  const counts = new Map<string, number>()
  for (const { op } of nodes) counts.set(op, (counts.get(op) ?? 0) + 1)
  return {
    executor,
    operators: Array.from(counts, ([op, count]) => ({ op, nodes: count })).sort((a, b) => b.nodes - a.nodes),
    onnxNodes: new Set(nodes.flatMap(({ fused }) => fused.map(({ name }) => name))).size,
    fallback: fallbackOperators,
    notes,
    planBytes: plan?.size ?? 0,
  }
}

export function describeSupport({ executor, operators, onnxNodes, fallback, planBytes }: Support): string {
  if (executor === 'compiler') {
    const why = fallback.length === 0 ? '' : ` for these operators: ${fallback.join(', ')}`
    return `The compiler's module runs this model${why}. It has no plan, and pages that show it download the compiler.`
  }
  const nodes = operators.reduce((sum, { nodes }) => sum + nodes, 0)
  const made = onnxNodes === 0 ? '' : `, made of ${onnxNodes} of the ONNX model`
  return `The runtime runs all of it: ${nodes} nodes${made}. Its plan has ${formatBytes(planBytes)}.`
}

/** Shows it, and offers the plan. */
export function showSupport(support: Support | undefined, plan: Blob | undefined, title: string): void {
  setText(
    byId('support-note', HTMLElement),
    support === undefined
      ? 'This engine does not tell.'
      : `${title}. ${describeSupport(support)} ${support.notes.join(' ')}`.trim(),
  )
  byId('support', HTMLElement).replaceChildren(
    ...(support?.operators ?? []).map(({ op, nodes }) => element('li', '', nodes === 1 ? op : `${op} × ${nodes}`)),
    ...(support?.fallback ?? []).map((op) => element('li', 'fallback', `${op}: fallback`)),
  )
  const save = byId('save-plan', HTMLButtonElement)
  save.disabled = plan === undefined
  save.onclick = () => {
    if (plan !== undefined) download(plan, `${title.replace(/\.(onnx|plan|ort)$/, '').replace(/[^\w.-]+/g, '-')}.plan`)
  }
}

/** Saves a file on the visitor's device. */
export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file)
  Object.assign(document.createElement('a'), { href: url, download: name }).click()
  setTimeout(() => {
    URL.revokeObjectURL(url)
  }, 10_000)
}
