/** Small helpers over the DOM: the page's markup is in index.html, scripts only fill it. */

/** The element with this id, which index.html has. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} '${id}'.`)
  return found
}

/** A new element with classes, children and attributes. */
export function element(tag: string, className = '', ...children: (Node | string)[]): HTMLElement {
  const out = document.createElement(tag)
  if (className !== '') out.className = className
  out.append(...children)
  return out
}

/** Sets a text, and touches nothing when it is there already. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

const SVG = 'http://www.w3.org/2000/svg'

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[K] {
  const out = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) out.setAttribute(name, value)
  return out
}
