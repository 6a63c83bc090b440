import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { docstrings, LIBRARY, withTables } from '../../../docs/option-tables.ts'

it('The tables of options in the README follow from their descriptions; `npm run docs` writes them anew', () => {
  const readme = readFileSync('README.md', 'utf8')
  expect(readme).toBe(withTables(readme))
  const tables = [...readme.matchAll(/^<!-- table: (.*) -->$/gm)].map(([, name]) => name)
  expect(tables.toSorted()).toEqual([...Object.keys(LIBRARY), 'command', 'exit codes'].toSorted())
})

describe('The docstrings', () => {
  it.each(Object.entries(LIBRARY))(
    'of %s name each option and the default that it has',
    (_name, [options, file, type]) => {
      const texts = docstrings(file, type)
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
