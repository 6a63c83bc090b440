import type { Project } from 'ts-morph'
import { apiPage } from './api-page.ts'
import { optionsPage } from './options-page.ts'

/** The generated pages by their files. */
export function referencePages(project: Project): Map<string, string> {
  return new Map([
    ['docs/reference/options.md', optionsPage(project)],
    ['docs/reference/api.md', apiPage(project)],
  ])
}
