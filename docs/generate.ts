// npm run docs: writes the reference pages.

import { mkdirSync, writeFileSync } from 'node:fs'
import { referencePages } from './reference.ts'
import { openProject } from './sources.ts'

mkdirSync('docs/reference', { recursive: true })
for (const [file, text] of referencePages(openProject())) writeFileSync(file, text)
