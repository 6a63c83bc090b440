import { describe, expect, it } from 'vitest'
import { parsePage } from '../../support/markdown.ts'
import { snippetsOf } from '../../support/snippets.ts'

const FENCE = '```'
const PROGRAM = `${FENCE}ts\nimport { serveMongrel2 } from 'mongrel2-fetch'\n${FENCE}\n`
const PART = `${FENCE}ts\nserveMongrel2(handler, {})\n${FENCE}\n`
const COMMANDS = `${FENCE}sh\nnpm start\n${FENCE}\n`

const read = (text: string) => snippetsOf(parsePage('page.md', text))
const runOf = (run: string) => read(`<!-- run: ${run} -->\n${PROGRAM}`).snippets[0]?.runs[0]

describe('A comment above a snippet', () => {
  it.each([
    ['GET /a => Hello', { kind: 'request', method: 'GET', path: '/a', status: 200, body: 'Hello' }],
    ['POST /a "b \\"c\\"" => 404 Not found', { method: 'POST', sent: 'b "c"', status: 404, body: 'Not found' }],
    ['GET / => 204', { status: 204, body: '' }],
    ['GET / => "quoted"', { status: 200, body: '"quoted"' }],
    ['websocket /w "a" "b" => "c"', { kind: 'websocket', path: '/w', sent: ['a', 'b'], received: ['c'] }],
    ['websocket /w => "hello"', { kind: 'websocket', sent: [], received: ['hello'] }],
    ['events /e => /^data: \\d/', { kind: 'events', path: '/e', pattern: /^data: \d/ }],
    ['prints => two\nlines', { kind: 'prints', output: 'two\nlines' }],
    [
      'alone GET http://127.0.0.1:6767/ => x',
      { kind: 'alone', method: 'GET', url: 'http://127.0.0.1:6767/', body: 'x' },
    ],
  ])('says what a program does: %s', (run, expected) => {
    expect(runOf(run)).toMatchObject(expected)
  })

  it('can stand above another, in a list, and with a blank line below', () => {
    const { snippets, problems } = read(
      `1. One\n\n   <!-- run: GET / => a -->\n   <!-- run: GET /b => b -->\n\n${PROGRAM.replace(/^/gm, '   ')}`,
    )
    expect(problems).toEqual([])
    expect(snippets).toMatchObject([{ line: 6, kind: 'program', runs: [{ path: '/' }, { path: '/b' }] }])
  })

  it('names a module, or the tests that run what it shows', () => {
    expect(read(`<!-- file: worker-app.ts -->\n${PART}`).snippets).toMatchObject([
      { kind: 'module', name: 'worker-app.ts' },
    ])
    expect(read(`<!-- shown by: test/run.mjs, package.json -->\n${COMMANDS}`)).toMatchObject({ problems: [] })
    expect(read(`<!-- shown by: hand, it needs a domain -->\n${COMMANDS}`)).toMatchObject({ problems: [] })
    expect(read(`<!-- run: by hand -->\n${COMMANDS}`).snippets).toMatchObject([{ kind: 'by hand' }])
  })

  it('is not needed above a part of a program', () => {
    expect(read(PART)).toMatchObject({ snippets: [{ kind: 'part', line: 1 }], problems: [] })
  })
})

it.each([
  ['a program without a comment', `# Title\n\n${PROGRAM}`, 'page.md:3: expected a comment <!-- run'],
  ['commands without a comment', `# Title\n\n${COMMANDS}`, 'page.md:3: expected a comment <!-- shown by'],
  ['a comment without a block', `<!-- run: GET / => a -->\n\nText\n\n${PART}`, 'page.md:1: expected a block of code'],
  ['a comment at the end', '# Title\n\n<!-- shown by: package.json -->\n', 'page.md:3: expected a block of code'],
  ['a file that does not exist', `<!-- shown by: package.json, no.ts -->\n${COMMANDS}`, 'got "no.ts"'],
  ['a hand without a reason', `<!-- shown by: hand -->\n${COMMANDS}`, 'expected <!-- shown by: hand, WHY -->'],
  ['comments of two kinds', `<!-- run: GET / => a -->\n<!-- file: a.ts -->\n${PROGRAM}`, 'comments of one kind'],
  ['a run that is none', `<!-- run: get / -->\n${PROGRAM}`, 'got "get /"'],
  ['a run of commands', `<!-- run: GET / => a -->\n${COMMANDS}`, 'expected TypeScript'],
  [
    'two modules of one name',
    `<!-- file: a.ts -->\n${PART}\n<!-- file: a.ts -->\n${PART}`,
    'page.md:7: expected a name',
  ],
])('The test of snippets finds %s', (_what, text, problem) => {
  expect(read(text).problems).toEqual([expect.stringContaining(problem)])
})
