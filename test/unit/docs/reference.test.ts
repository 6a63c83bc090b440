import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { docstrings, LIBRARY } from '../../../docs/options-page.ts'
import { referencePages } from '../../../docs/reference.ts'
import { openProject } from '../../../docs/sources.ts'

const project = openProject()

it.each([...referencePages(project)])('%s is what `npm run docs` writes', (file, text) => {
  expect(readFileSync(file, 'utf8'), 'run `npm run docs`').toBe(text)
})

describe('The docstrings', () => {
  it.each(Object.entries(LIBRARY))(
    'of %s name each option and the default that it has',
    (_name, { options, file, type }) => {
      const texts = docstrings(project, file, type)
      expect([...texts.keys()].toSorted()).toEqual(Object.keys(options).toSorted())
      for (const [key, { fallback }] of Object.entries(options)) {
        const said =
          /Default: `?(.*?)`?[.,;]?$/s.exec(texts.get(key) ?? '')?.[1]?.replace(/(?<=\d),(?=\d{3})/g, '') ?? ''
        if (/^(?:\d[^,]*|true|false)$/.test(fallback))
          expect(`${key}: ${said.slice(0, fallback.length)}`).toBe(`${key}: ${fallback}`)
      }
    },
  )
})
