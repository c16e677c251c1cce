/** What the page's headers allow, and the way to the same page with the others. */

import { byId, element } from '../src/dom'

/** The copy of this page that is served without headers: see `vite.config.ts`. */
const PLAIN = 'one-thread.html'

/** @param query of the experiment, which both pages share */
export function showIsolation(query: () => string): void {
  const plain = location.pathname.endsWith(PLAIN)
  const link = document.createElement('a')
  link.dataset['testid'] = 'other-headers'
  const aim = (): void => {
    link.href = `${plain ? './' : PLAIN}${query()}`
  }
  aim()
  for (const event of ['focus', 'pointerdown']) link.addEventListener(event, aim)
  const said = crossOriginIsolated
    ? 'This page is cross-origin isolated, so several threads may share a run.'
    : plain
      ? 'This page comes without COOP and COEP: everything works, on one thread.'
      : 'This page came without COOP and COEP, so everything runs on one thread; the guide "Threads" tells how to send them.'
  link.textContent = plain ? 'The same page with the headers' : 'The same page without the headers'
  byId('isolation', HTMLElement).replaceChildren(element('span', '', `${said} `), link)
}
