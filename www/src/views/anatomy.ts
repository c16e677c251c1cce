/** Where the time of a typical call goes: both sides as bars on one linear scale, with their parts named. */

import { byId, element, setText } from '../dom'
import type { Call, PartName } from '../edge'
import { formatMs } from '../format'
import type { SideName } from './answers'

const NAMES: { readonly [P in PartName]: string } = {
  compute: 'computing',
  worker: 'to the Worker and back',
  queue: 'queue',
  coding: 'decode and encode',
  simulated: 'simulated delay',
  network: 'network and browser',
}

const ORDER: { readonly [S in SideName]: readonly PartName[] } = {
  edge: ['worker', 'compute'],
  cloud: ['network', 'simulated', 'queue', 'coding', 'compute'],
}

/** Parts that are left out of the words when they did not happen. */
const OPTIONAL: readonly PartName[] = ['simulated']

interface SideNodes {
  readonly total: HTMLElement
  readonly bars: Map<PartName, HTMLElement>
  readonly words: Map<PartName, HTMLElement>
}

export class AnatomyView {
  readonly #root = byId('anatomy', HTMLElement)
  readonly #sides: { readonly [S in SideName]: SideNodes }

  constructor() {
    this.#sides = { edge: this.#side('edge', 'This device'), cloud: this.#side('cloud', 'The cloud') }
  }

  update(edge: Call | undefined, cloud: Call | undefined): void {
    const longest = Math.max(edge?.total ?? 0, cloud?.total ?? 0)
    this.#show('edge', edge, longest)
    this.#show('cloud', cloud, longest)
  }

  #side(name: SideName, title: string): SideNodes {
    const total = element('span', '', 'no call yet')
    const track = element('div', 'track')
    const list = element('ul')
    const [bars, words] = [new Map<PartName, HTMLElement>(), new Map<PartName, HTMLElement>()]
    for (const part of ORDER[name]) {
      const [bar, word] = [element('div'), element('li', '', NAMES[part])]
      bar.dataset['part'] = word.dataset['part'] = part
      word.hidden = OPTIONAL.includes(part)
      bars.set(part, bar)
      words.set(part, word)
      track.append(bar)
      list.append(word)
    }
    const box = element('div', `parts ${name}`, element('div', 'label', title, total), track, list)
    box.dataset['testid'] = `${name}-anatomy`
    this.#root.append(box)
    return { total, bars, words }
  }

  #show(name: SideName, call: Call | undefined, longest: number): void {
    const { total, bars, words } = this.#sides[name]
    setText(total, call === undefined ? 'no call yet' : formatMs(call.total))
    let before = 0
    for (const [part, bar] of bars) {
      const ms = call?.parts.find((p) => p.name === part)?.ms ?? 0
      bar.style.setProperty('--from', (longest > 0 ? before / longest : 0).toFixed(4))
      bar.style.setProperty('--share', (longest > 0 ? ms / longest : 0).toFixed(4))
      before += ms
      const word = words.get(part)
      if (word === undefined) continue
      setText(word, call === undefined ? NAMES[part] : `${NAMES[part]} ${formatMs(ms)}`)
      word.hidden = OPTIONAL.includes(part) && ms === 0
    }
  }
}
