/** Opens every page of a built site and fails if one links to a page, a file or a heading that is not there. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { argv, exit } from 'node:process'

const site = resolve(argv[2] ?? '.')
/** Pages beside the site, such as the demo, may be built later. */
const hasNeighbours = existsSync(join(site, '../index.html'))
// rustdoc checks its own links, and its scripts make the anchors of lines.
const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((name) => /^(?!rust\/).*\.html$/.test(name))
/** Anchors of a page, by its file. */
const anchors = new Map()
const dead = []
let links = 0

for (const page of pages) {
  const file = join(site, page)
  for (const [, link] of readFileSync(file, 'utf8').matchAll(/<(?:a|img|link|script)\b[^>]*?\s(?:href|src)="([^"]*)"/g)) {
    const target = link.replaceAll('&amp;', '&')
    if (/^[a-z][a-z+.-]*:/i.test(target)) continue
    links += 1
    const [path = '', anchor = ''] = target.split('#')
    const where = path === '' ? file : resolve(dirname(file), decodeURIComponent(path.replace(/\?.*/, '')))
    const found = existsSync(where) && statSync(where).isDirectory() ? join(where, 'index.html') : where
    const name = relative(site, found).split(sep).join('/')
    if (name.startsWith('../') && !hasNeighbours) continue
    if (!existsSync(found)) {
      dead.push(`${page} links to ${target}, which is not there`)
    } else if (
      anchor !== '' &&
      found.endsWith('.html') &&
      ![anchor, decodeURIComponent(anchor)].some((id) => idsOf(found).has(id))
    ) {
      dead.push(`${page} links to ${target}, and ${name} has no such heading`)
    }
  }
}

function idsOf(file) {
  const known = anchors.get(file) ?? new Set(Array.from(readFileSync(file, 'utf8').matchAll(/\sid="([^"]*)"/g), ([, id]) => id))
  anchors.set(file, known)
  return known
}

for (const sentence of dead) console.error(sentence)
console.log(`${links} links on ${pages.length} pages, ${dead.length} dead`)
exit(dead.length > 0 ? 1 : 0)
