/**
 * Names: a document is called what its first heading says, an entry of the package what its import says. Links of the header lead to the
 * same place from every page.
 */

import { join, relative, sep } from 'node:path'

import { Converter, PageEvent, ReflectionKind } from 'typedoc'

import { ENTRIES } from './typedoc.config.mjs'

const ROOT = join(import.meta.dirname, '../..')
/** Headings that say nothing without their file. */
const TITLES = { 'pkg/README.md': 'Package reference', 'models/digits.md': 'The digits model' }

/** @param {import('typedoc').Application} app */
export function load(app) {
  const pathOf = (context, reflection) => {
    const file = context.project.files.getReflectionPath(reflection) ?? ''
    return relative(ROOT, file).split(sep).join('/')
  }
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const [text] = document.content
    const heading = text?.kind === 'text' ? /^#\s+(.+)\n/.exec(text.text.trimStart()) : null
    if (heading !== null) document.name = heading[1]
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    // The start page prints the site's name above the README.
    const [start] = context.project.readme ?? []
    if (start?.kind === 'text') start.text = start.text.replace(/^\s*#\s.*\n/, '')
    for (const module of context.project.getReflectionsByKind(ReflectionKind.Module)) {
      const path = pathOf(context, module)
      for (const [name, source] of ENTRIES) if (path === source) module.name = name
    }
    for (const document of context.project.documents ?? []) {
      document.name = TITLES[pathOf(context, document)] ?? document.name
    }
  })
  app.renderer.on(PageEvent.END, (page) => {
    page.contents = page.contents?.replaceAll('href="site:', `href="${'../'.repeat(page.url.split('/').length - 1)}`)
  })
}
