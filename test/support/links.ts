import { existsSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { type Page, readPage } from './markdown.ts'

/** The links of pages to files and anchors of the repository that are not there, with file and line. */
export function brokenLinks(pages: readonly Page[]): string[] {
  const known = new Map(pages.map((page) => [page.file, page]))
  return pages.flatMap((page) =>
    page.links.flatMap(({ target, line }) => {
      const problem = problemOf(target, page, known)
      return problem === undefined ? [] : [`${page.file}:${line}: ${target}: ${problem}`]
    }),
  )
}

function problemOf(target: string, page: Page, known: Map<string, Page>): string | undefined {
  if (/^(?:https?|mailto):/.test(target)) return
  const [, path = '', anchor] = /^([^#]*)(?:#(.*))?$/s.exec(target) ?? []
  const file = path === '' ? page.file : normalize(join(dirname(page.file), decodeURIComponent(path)))
  if (path.startsWith('/') || file.startsWith('..')) return 'expected a path relative to the page, in the repository'
  if (!known.has(file) && !existsSync(file)) return `there is no ${file}`
  if (anchor === undefined) return
  if (!file.endsWith('.md') || (!known.has(file) && statSync(file).isDirectory())) {
    return /^L\d+$/.test(anchor) ? undefined : 'expected an anchor of a Markdown file'
  }
  const { anchors } = known.get(file) ?? readPage(file)
  return anchors.has(anchor) ? undefined : `there is no heading #${anchor} in ${file}`
}
