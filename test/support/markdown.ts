// What the tests of the documentation read in a page of Markdown: blocks of code, comments, headings, links.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import GithubSlugger from 'github-slugger'
import { lexer, type Token, type Tokens } from 'marked'

/** A page, by its path in the repository. */
export interface Page {
  readonly file: string
  /** Fenced blocks of code, in order. */
  readonly blocks: readonly Block[]
  /** Comments that stand above something that is no block of code. */
  readonly strayComments: readonly Comment[]
  readonly links: readonly Link[]
  /** The anchors of its headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>
  /** What stands as code in headings and in first cells of tables that begin with code. */
  readonly quotations: readonly Quotation[]
}

export interface Comment {
  readonly text: string
  readonly line: number
}

export interface Quotation {
  readonly text: string
  readonly line: number
}

export interface Block {
  readonly language: string
  readonly code: string
  /** Where its fence begins. */
  readonly line: number
  /** The HTML comments directly above the fence. */
  readonly comments: readonly Comment[]
}

export interface Link {
  readonly target: string
  readonly line: number
}

/** The pages that users read: the README and the manual. */
export function manual(): Page[] {
  return ['README.md', ...markdownIn('docs')].map(readPage)
}

/** Every Markdown file of the repository. */
export function allPages(): Page[] {
  return markdownIn('.').map(readPage)
}

function markdownIn(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true }).toSorted((a, b) => a.name.localeCompare(b.name))
  return entries.flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return /^(?:node_modules|dist|\..*)$/.test(entry.name) ? [] : markdownIn(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}

export function readPage(file: string): Page {
  return parsePage(file, readFileSync(file, 'utf8'))
}

export function parsePage(file: string, text: string): Page {
  const blocks: Block[] = []
  const strayComments: Comment[] = []
  const links: Link[] = []
  const anchors = new Set<string>()
  const quotations: Quotation[] = []
  const slugger = new GithubSlugger()

  const visit = (tokens: readonly Token[], start: number): void => {
    let line = start
    let comments: Comment[] = []
    for (const token of tokens) {
      const at = line
      line += newlines(token.raw)
      if (token.type === 'space') continue
      if (token.type === 'html') {
        const found = commentsOf(token as Tokens.HTML, at)
        comments.push(...found)
        links.push(...htmlLinks(token.raw, at))
        for (const [, id = ''] of token.raw.matchAll(/\s(?:id|name)="([^"]+)"/g)) anchors.add(id)
        if (found.length > 0) continue
      }
      if (token.type === 'code' && (token as Tokens.Code).codeBlockStyle !== 'indented') {
        const { lang = '', text: code } = token as Tokens.Code
        blocks.push({ language: lang.split(/\s/)[0] ?? '', code: `${code}\n`, line: at, comments })
        comments = []
        continue
      }
      strayComments.push(...comments)
      comments = []
      if (token.type === 'heading') {
        anchors.add(slugger.slug(plainText((token as Tokens.Heading).tokens)))
        quotations.push(...quotationsIn((token as Tokens.Heading).tokens, at))
      }
      if (token.type === 'link') links.push({ target: (token as Tokens.Link).href, line: at })
      if (token.type === 'image') links.push({ target: (token as Tokens.Image).href, line: at })
      if (token.type === 'table') {
        const { header, rows } = token as Tokens.Table
        for (const [n, row] of [header, ...rows].entries()) {
          // The line of dashes stands below the header.
          const rowLine = n === 0 ? at : at + 1 + n
          quotations.push(...quotationsIn(row[0]?.tokens ?? [], rowLine))
          for (const cell of row) visit(cell.tokens, rowLine)
        }
      }
      if (token.type === 'list') {
        let itemLine = at
        for (const item of (token as Tokens.List).items) {
          visit(item.tokens, itemLine)
          itemLine += newlines(item.raw)
        }
      } else if ('tokens' in token && token.tokens !== undefined) {
        visit(token.tokens, at)
      }
    }
    strayComments.push(...comments)
  }

  visit(lexer(text), 1)
  return { file, blocks, strayComments, links, anchors, quotations }
}

function newlines(text: string): number {
  return text.split('\n').length - 1
}

function commentsOf({ raw }: Tokens.HTML, line: number): Comment[] {
  return [...raw.matchAll(/<!--(.*?)-->/gs)].map(({ 1: text = '', index }) => {
    return { text: text.trim(), line: line + newlines(raw.slice(0, index)) }
  })
}

function htmlLinks(raw: string, line: number): Link[] {
  return [...raw.matchAll(/\s(?:href|src|srcset)="([^"]+)"/g)].map(({ 1: target = '', index }) => {
    return { target, line: line + newlines(raw.slice(0, index)) }
  })
}

function quotationsIn(tokens: readonly Token[], line: number): Quotation[] {
  if (tokens[0]?.type !== 'codespan') return []
  return tokens.flatMap((token) => (token.type === 'codespan' ? { text: (token as Tokens.Codespan).text, line } : []))
}

/** What a reader sees of a heading, from which its anchor is made. */
function plainText(tokens: readonly Token[]): string {
  return tokens
    .map((token) => {
      if (token.type === 'html' || token.type === 'image') return ''
      if ('tokens' in token && token.tokens !== undefined) return plainText(token.tokens)
      return 'text' in token ? String(token.text) : ''
    })
    .join('')
}
