import { expect, it } from 'vitest'
import { brokenLinks } from '../../support/links.ts'
import { allPages, parsePage } from '../../support/markdown.ts'

it('Every link to a file or heading of the repository leads there', () => {
  expect(brokenLinks(allPages())).toEqual([])
})

const OTHER = parsePage(
  'docs/other.md',
  '# Other page\n\n## `code` & [a link](page.md), isn\'t it?\n\n## Twice\n\n## Twice\n\n<a id="by-hand"></a>\n',
)
const problemsOf = (text: string) => brokenLinks([parsePage('docs/page.md', text), OTHER])

it.each([
  '[a](other.md)',
  '[a](other.md#other-page)',
  '[a](other.md#code--a-link-isnt-it)',
  '[a](other.md#twice) [b](other.md#twice-1)',
  '[a](other.md#by-hand)',
  '# Here\n\n[a](#here)',
  '[a](../src/index.ts) and [b](../package.json)',
  '[a](../src)',
  '[a](../src/index.ts#L1)',
  '[a](https://example.org/no#no) [b](mailto:a@example.org)',
  '[a][b]\n\n[b]: other.md#twice',
  '`[a](no.md)`',
  '```text\n[a](no.md)\n```',
])('A link is right: %s', (text) => {
  expect(problemsOf(text)).toEqual([])
})

it.each([
  ['[a](no.md)', 'docs/page.md:1: no.md: there is no docs/no.md'],
  ['# A\n\nb\n[a](other.md#no)', 'docs/page.md:4: other.md#no: there is no heading #no in docs/other.md'],
  ['[a](#no)', 'docs/page.md:1: #no: there is no heading #no in docs/page.md'],
  ['- a\n- b\n  [`c`](no.ts)', 'docs/page.md:3: no.ts: there is no docs/no.ts'],
  ['| a | b |\n| - | - |\n| c | d |\n| [e](no.md) | f |', 'docs/page.md:4: no.md: there is no docs/no.md'],
  ['![a](no.svg)', 'docs/page.md:1: no.svg: there is no docs/no.svg'],
  ['<picture>\n  <source srcset="no.svg">\n</picture>', 'docs/page.md:2: no.svg: there is no docs/no.svg'],
  ['[a][b]\n\n[b]: no.md', 'docs/page.md:1: no.md: there is no docs/no.md'],
  [
    '[a](../../other/x.md)',
    'docs/page.md:1: ../../other/x.md: expected a path relative to the page, in the repository',
  ],
  ['[a](/README.md)', 'docs/page.md:1: /README.md: expected a path relative to the page, in the repository'],
  ['[a](../package.json#name)', 'docs/page.md:1: ../package.json#name: expected an anchor of a Markdown file'],
])('A broken link is found: %s', (text, problem) => {
  expect(problemsOf(text)).toEqual([problem])
})
