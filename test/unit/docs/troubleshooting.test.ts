import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parsePage, readPage } from '../../support/markdown.ts'
import { coverage, messagesIn, sources } from '../../support/messages.ts'

const PAGE = 'docs/troubleshooting.md'

// Until the page is written.
describe.skipIf(!existsSync(PAGE))('Troubleshooting', () => {
  const { wrong, uncovered } = existsSync(PAGE) ? coverage(readPage(PAGE), sources()) : { wrong: [], uncovered: [] }

  it('quotes messages that the source has', () => {
    expect(wrong).toEqual([])
  })

  it('has an entry for each log line and each message of an error', () => {
    expect(uncovered, `${PAGE} has no entry that quotes:\n${uncovered.join('\n')}\n`).toEqual([])
  })
})

/** A source, which has `%` in the place of `$` so that a linter takes it for no template that was forgotten. */
const sourceOf = (code: string) => new Map([['a.ts', code.replaceAll('%{', '${')]])
const found = (code: string) => messagesIn(sourceOf(code)).map(({ text }) => text)

it.each([
  ['a line', "logger.warn?.('it failed')", ['it failed']],
  ['a line with gaps', 'this.#logger.error?.(`it failed: %{error} at %{place}`)', ['it failed: … at …']],
  ['a line in pieces', "log.logger.info?.(`it has ` + 'two parts')", ['it has two parts']],
  ['one of two lines', "logger.debug?.(a ? 'the one' : 'the other')", ['the one', 'the other']],
  ['a line that is throttled', 'this.#warning.say(() => `slow: %{name}`)', ['slow: …']],
  [
    'a line that a function makes',
    'logger.warn?.(line(1))\nfunction line(n: number) { return `line %{n}` }',
    ['line …'],
  ],
  [
    'a line that a function gets',
    "function say(line: string) { logger.warn?.(line) }\nsay('this'); say('that')",
    ['this', 'that'],
  ],
  [
    'a line from a function that a function gets',
    "const why = () => 'it is late'\nrefuse(1, why)\nfunction refuse(n: number, because: () => string) { x.say(() => `mongrel2-fetch %{because()}`) }",
    ['mongrel2-fetch it is late'],
  ],
  ['an error', "throw new Mongrel2Error('closed', 'it was closed')", ['it was closed']],
  ['an error with a constant', "const reason = 'it left'\nnew CommandError('load', reason)", ['it left']],
  [
    'a frame',
    "const f = (why: string) => logger.warn?.(`mongrel2-fetch: %{why}`)\nf('it is late')",
    ['mongrel2-fetch: it is late'],
  ],
])('The finder of messages finds %s', (_what, code, texts) => {
  expect(found(code)).toEqual(texts)
})

it.each(["throw new Error('internal')", "view.error('no logger')", 'logger.warn?.(line)'])(
  'It leaves out %s',
  (code) => {
    expect(found(code)).toEqual([])
  },
)

describe('The comparison with a page', () => {
  const SOURCE = sourceOf(
    'logger.warn?.(`mongrel2-fetch lost %{name}: %{reason}`)\nthrow new Mongrel2Error("closed", "it was closed")',
  )
  const compare = (text: string) => coverage(parsePage('page.md', text), SOURCE)

  it.each([
    ['# Title\n\n## `lost …: …`\n\n## `it was closed`\n'],
    ['## `mongrel2-fetch lost WORKER`, `it was`\n'],
    ['| message | |\n| - | - |\n| `lost …` | Text |\n| `it was closed` | Text, `code` |\n'],
  ])('is content with entries for all messages: %j', (text) => {
    expect(compare(text)).toEqual({ wrong: [], uncovered: [] })
  })

  it('finds a message without an entry', () => {
    expect(compare('## `lost …`\n\n`it was closed`\n').uncovered).toEqual(['a.ts:2: it was closed'])
    expect(compare('## About `it was closed`\n').uncovered).toHaveLength(2)
  })

  it('finds a quotation that the source does not have, or that says nothing', () => {
    expect(compare('# A\n\n## `lost … for ever`\n').wrong).toEqual([
      'page.md:3: the source has no message lost … for ever',
    ])
    expect(compare('## `mongrel2-fetch …`\n').wrong).toEqual(['page.md:1: expected more than …, got mongrel2-fetch …'])
  })
})
