// The snippets of the documentation, and what the HTML comments directly above them say about how they are tested:
//
//   <!-- run: GET /path => the body -->                        a program, whose response has the status 200 and exactly this body
//   <!-- run: POST /path "what is sent" => 404 the body -->    with a body that is sent, and another status
//   <!-- run: websocket /path "sent" => "first" "second" -->   the messages that it receives, in their order
//   <!-- run: events /path => /pattern of the first event/ -->
//   <!-- run: prints => the output -->                         a program that needs no Mongrel2 and ends by itself
//   <!-- run: alone GET http://127.0.0.1:6767/ => the body --> a program that listens by itself
//   <!-- run: by hand -->                                      commands that start Mongrel2 with examples/mongrel2.conf
//   <!-- file: worker-app.ts -->                               a module that another snippet of the page loads
//   <!-- shown by: test/full/start.test.ts, ... -->            what a test runs
//   <!-- shown by: hand, WHY -->                               what no test can run
//
// TypeScript without an import is a part of a program: it is type-checked and needs no comment. Several `run` may stand above one program.
// Programs have the addresses tcp://127.0.0.1:9999,tcp://127.0.0.1:9998 and the chroot /srv/mongrel2, which the test replaces.

import { existsSync } from 'node:fs'
import type { Block, Comment, Page } from './markdown.ts'

/** A block of code with what a test does with it. */
export interface Snippet {
  readonly file: string
  readonly line: number
  readonly language: string
  readonly code: string
  readonly kind: 'program' | 'part' | 'module' | 'by hand' | 'elsewhere'
  /** Its name, for a module that another snippet loads. */
  readonly name?: string
  readonly runs: readonly Run[]
}

export type Run =
  | ({ readonly kind: 'request'; readonly method: string; readonly path: string; readonly sent?: string } & Answer)
  | ({ readonly kind: 'alone'; readonly method: string; readonly url: string; readonly sent?: string } & Answer)
  | { readonly kind: 'websocket'; readonly path: string; readonly sent: string[]; readonly received: string[] }
  | { readonly kind: 'events'; readonly path: string; readonly pattern: RegExp }
  | { readonly kind: 'prints'; readonly output: string }

interface Answer {
  readonly status: number
  readonly body: string
}

const DIRECTIVE = /^(run|file|shown by):\s*(.*)$/s
const QUOTED = /"(?:[^"\\]|\\.)*"/g
const BY_HAND = 'by hand'

export function isTypeScript({ language }: { language: string }): boolean {
  return language === 'ts' || language === 'tsx'
}

/** The snippets of a page, and what is wrong with the comments above them, with file and line. */
export function snippetsOf({ file, blocks, strayComments }: Page): { snippets: Snippet[]; problems: string[] } {
  const problems = strayComments
    .filter(({ text }) => DIRECTIVE.test(text))
    .map(({ text, line }) => `${file}:${line}: expected a block of code below the comment "${text}"`)
  const snippets: Snippet[] = []
  for (const block of blocks) {
    try {
      const snippet = snippetOf(file, block)
      if (snippet.name !== undefined && snippets.some(({ name }) => name === snippet.name)) {
        throw new Error(`expected a name that no other block of the page has, got ${snippet.name}`)
      }
      snippets.push(snippet)
    } catch (error) {
      problems.push(`${file}:${block.line}: ${(error as Error).message}`)
    }
  }
  return { snippets, problems }
}

function snippetOf(file: string, block: Block): Snippet {
  const { language, code, line, comments } = block
  const common = { file, line, language, code, runs: [] }
  const directives = comments.flatMap((comment) => directiveOf(comment))
  const kinds = new Set(directives.map(({ kind }) => kind))
  const fail = (expected: string) => new Error(`expected ${expected}`)
  if (kinds.size > 1 || (directives.length > 1 && !kinds.has('run'))) {
    throw fail('comments of one kind: several <!-- run: … -->, or one <!-- file: … -->, or one <!-- shown by: … -->')
  }
  const [directive] = directives
  if (directive === undefined) {
    if (!isTypeScript(block)) throw fail('a comment <!-- shown by: … --> above a block that no test runs')
    if (/^import /m.test(code)) throw fail('a comment <!-- run: … --> above a program')
    return { ...common, kind: 'part' }
  }
  if (directive.kind === 'shown by') {
    checkShownBy(directive.value, fail)
    return { ...common, kind: isTypeScript(block) && !/^import /m.test(code) ? 'part' : 'elsewhere' }
  }
  if (directive.kind === 'run' && directive.value === BY_HAND) return { ...common, kind: 'by hand' }
  if (!isTypeScript(block)) throw fail('TypeScript below a comment <!-- run: … --> or <!-- file: … -->')
  if (directive.kind === 'file') {
    if (!/^[\w.-]+\.tsx?$/.test(directive.value)) throw fail(`<!-- file: NAME.ts -->, got "${directive.value}"`)
    return { ...common, kind: 'module', name: directive.value }
  }
  return { ...common, kind: 'program', runs: directives.map(({ value }) => runOf(value, fail)) }
}

function directiveOf({ text }: Comment): { kind: string; value: string }[] {
  const [, kind, value = ''] = DIRECTIVE.exec(text) ?? []
  return kind === undefined ? [] : [{ kind, value: value.trim() }]
}

function checkShownBy(value: string, fail: (expected: string) => Error): void {
  if (/^hand\b/.test(value)) {
    if (!/^hand, \S/.test(value)) throw fail('<!-- shown by: hand, WHY -->')
    return
  }
  for (const path of value.split(',').map((part) => part.trim())) {
    if (path === '' || !existsSync(path)) throw fail(`files that exist in <!-- shown by: … -->, got "${path}"`)
  }
}

function runOf(value: string, fail: (expected: string) => Error): Run {
  const { how = '', expected = '' } = /^(?<how>.*?)\s*=>\s?(?<expected>.*)$/s.exec(value)?.groups ?? {}
  const [, first = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(how) ?? []
  switch (first) {
    case 'prints':
      return { kind: 'prints', output: expected }
    case 'alone': {
      const { method = '', at = '', sent } = requestIn(rest) ?? {}
      if (!at.startsWith('http://')) throw fail('<!-- run: alone GET http://127.0.0.1:PORT/ => BODY -->')
      return { kind: 'alone', method, url: at, ...(sent !== undefined && { sent }), ...answerIn(expected) }
    }
    case 'websocket': {
      const [path = ''] = rest.split(/\s/)
      const received = textsIn(expected)
      if (!path.startsWith('/') || received.length === 0) {
        throw fail('<!-- run: websocket /PATH "SENT" => "RECEIVED" -->')
      }
      return { kind: 'websocket', path, sent: textsIn(rest), received }
    }
    case 'events': {
      const [, pattern] = /^\/(.*)\/$/s.exec(expected) ?? []
      if (!rest.startsWith('/') || pattern === undefined) throw fail('<!-- run: events /PATH => /PATTERN/ -->')
      return { kind: 'events', path: rest, pattern: new RegExp(pattern) }
    }
  }
  const { method = '', at = '', sent } = requestIn(how) ?? {}
  if (!at.startsWith('/'))
    throw fail(`<!-- run: GET /PATH => BODY -->, or another of test/support/snippets.ts, got "${value}"`)
  return { kind: 'request', method, path: at, ...(sent !== undefined && { sent }), ...answerIn(expected) }
}

function requestIn(text: string): { method: string; at: string; sent: string | undefined } | undefined {
  const [, method, at] = /^([A-Z]+) (\S+)/.exec(text) ?? []
  return method === undefined || at === undefined ? undefined : { method, at, sent: textsIn(text)[0] }
}

function answerIn(expected: string): Answer {
  const [, status, body] = /^(\d{3})(?:\s(.*))?$/s.exec(expected) ?? []
  return status === undefined ? { status: 200, body: expected } : { status: Number(status), body: body ?? '' }
}

/** The texts in quotes, as JSON writes them. */
function textsIn(text: string): string[] {
  return (text.match(QUOTED) ?? []).map((quoted) => String(JSON.parse(quoted)))
}
