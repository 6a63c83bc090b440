// Finds the messages for users in the source by its syntax tree: log lines, and the messages of Mongrel2Error and CommandError. And
// compares them with what a page quotes.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ts } from 'ts-morph'
import type { Page } from './markdown.ts'

/** A message as the source writes it. */
export interface Message {
  /** `…` stands for what is filled in. */
  readonly text: string
  /** What it can be with what is filled in, as far as the source tells. */
  readonly filled: readonly string[]
  /** FILE:LINE */
  readonly place: string
}

/** What stands for what is filled in. */
const HOLE = '…'
/** How many steps away from the call the text of a message may be. */
const MOST_STEPS = 8
const LOGGER = /(?:logger|console)$/i
const LEVELS = new Set(['debug', 'info', 'warn', 'error', 'log'])
const ERRORS = new Set(['Mongrel2Error', 'CommandError'])
/** The most texts that one expression is taken to have. */
const MOST_TEXTS = 32

/** The source files of the package by their paths. */
export function sources(): Map<string, string> {
  const paths = ['src', 'adapters'].flatMap((directory) =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((path) => join(directory, path)),
  )
  const typeScript = paths.filter((path) => path.endsWith('.ts')).toSorted()
  return new Map(typeScript.map((path) => [path, readFileSync(path, 'utf8')]))
}

/** The messages that users can get to see, each text once. */
export function messagesIn(files: ReadonlyMap<string, string>): Message[] {
  return messagesOf(new Tree(files))
}

function messagesOf(tree: Tree): Message[] {
  const found = new Map<string, Message>()
  for (const node of tree.nodes) {
    const argument = ts.isCallExpression(node) ? loggedBy(node) : ts.isNewExpression(node) ? thrownBy(node) : undefined
    if (argument === undefined) continue
    for (const text of tree.textsOf(argument)) {
      if (!isTelling(text)) continue
      const filled = [...(found.get(text)?.filled ?? []), ...tree.filledTextsOf(argument)]
      found.set(text, { text, filled, place: found.get(text)?.place ?? placeOf(node) })
    }
  }
  return [...found.values()]
}

/** Every text that the source writes, which includes the parts that messages are made of. */
function textsOf(tree: Tree): string[] {
  return tree.nodes.flatMap((node) => {
    const isPart = ts.isBinaryExpression(node.parent) && isText(node.parent)
    return isText(node) && !isPart ? [...tree.textsOf(node), ...tree.filledTextsOf(node)] : []
  })
}

/** What is wrong with the quotations of a page, with their lines, and which messages it does not cover. */
export function coverage(
  { file, quotations }: Page,
  files: ReadonlyMap<string, string>,
): { wrong: string[]; uncovered: string[] } {
  const tree = new Tree(files)
  const messages = messagesOf(tree).map((message) => ({ ...message, all: [message.text, ...message.filled] }))
  let texts: readonly string[] | undefined
  const patterns = quotations.map(({ text }) => patternOf(text))
  const wrong = quotations.flatMap(({ text, line }, n) => {
    if (!isTelling(literalsOf(text).join(' '))) return `${file}:${line}: expected more than …, got ${text}`
    const pattern = patterns[n] ?? /$^/
    if (messages.some(({ all }) => all.some((one) => pattern.test(one)))) return []
    // It may quote a part of a message, or what a response says.
    texts ??= textsOf(tree)
    return texts.some((one) => pattern.test(one)) ? [] : `${file}:${line}: the source has no message ${text}`
  })
  const uncovered = messages.filter(({ all }) => !patterns.some((pattern) => all.some((one) => pattern.test(one))))
  return { wrong, uncovered: uncovered.map(({ place, text }) => `${place}: ${text.replaceAll('\n', ' ')}`) }
}

/** What a quotation quotes, the whole of a message or a part of it; `…` and words in capitals stand for anything. */
function patternOf(quotation: string): RegExp {
  const parts = literalsOf(quotation).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+'))
  return new RegExp(parts.join('.*?'), 's')
}

function literalsOf(quotation: string): string[] {
  return quotation.split(/…|\.\.\.|\b[A-Z][A-Z0-9_]+\b/)
}

/** Whether a text says more than that it comes from here. */
function isTelling(text: string): boolean {
  return /[a-z]{3}/.test(text.replaceAll('mongrel2-fetch', ''))
}

/** The line that is logged. */
function loggedBy({ expression, arguments: [argument] }: ts.CallExpression): ts.Expression | undefined {
  if (!ts.isPropertyAccessExpression(expression)) return
  const { name, expression: object } = expression
  if (name.text === 'say') return argument // of a ThrottledWarning
  return LEVELS.has(name.text) && LOGGER.test(object.getText()) ? argument : undefined
}

/** The message of an error. */
function thrownBy({ expression, arguments: [, message] = [] as never }: ts.NewExpression): ts.Expression | undefined {
  return ERRORS.has(expression.getText()) ? message : undefined
}

function placeOf(node: ts.Node): string {
  const file = node.getSourceFile()
  return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`
}

function isText(node: ts.Node): node is ts.Expression {
  if (ts.isBinaryExpression(node)) {
    return node.operatorToken.kind === ts.SyntaxKind.PlusToken && (isText(node.left) || isText(node.right))
  }
  return ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)
}

/** The syntax trees of the source, and what texts an expression can be. */
class Tree {
  readonly nodes: ts.Node[] = []
  #fills = false
  /** The texts that were found, by `steps` and `#fills`. */
  readonly #known = new Map<ts.Expression, Map<string, string[]>>()
  readonly #calls = new Map<string, ts.CallExpression[]>()
  readonly #functions = new Map<string, ts.FunctionLikeDeclaration[]>()

  constructor(files: ReadonlyMap<string, string>) {
    for (const [path, text] of files) {
      const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
      ts.forEachChild(file, (child) => this.#visit(child))
    }
  }

  #visit(node: ts.Node): void {
    this.nodes.push(node)
    if (ts.isCallExpression(node)) add(this.#calls, nameOf(node.expression), node)
    if (ts.isFunctionLike(node) && 'body' in node)
      add(this.#functions, functionName(node), node as ts.FunctionLikeDeclaration)
    ts.forEachChild(node, (child) => this.#visit(child))
  }

  /** What an expression can be as a text, with `…` for what is filled in. Many expressions lead to the same one. */
  textsOf(node: ts.Expression, steps = MOST_STEPS): string[] {
    const known = this.#known.get(node) ?? new Map<string, string[]>()
    this.#known.set(node, known)
    const key = `${steps} ${this.#fills}`
    const texts = known.get(key) ?? this.#findTexts(node, steps)
    known.set(key, texts)
    return texts
  }

  #findTexts(node: ts.Expression, steps: number): string[] {
    if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return this.textsOf(node.expression, steps)
    if (ts.isStringLiteralLike(node)) return [node.text]
    if (ts.isTemplateExpression(node)) return this.#filledIn(node, steps)
    if (ts.isConditionalExpression(node))
      return [node.whenTrue, node.whenFalse].flatMap((one) => this.textsOf(one, steps))
    if (ts.isBinaryExpression(node)) {
      const [lefts, rights] = [node.left, node.right].map((side) => this.textsOf(side, steps)) as [string[], string[]]
      if (node.operatorToken.kind === ts.SyntaxKind.PlusToken)
        return lefts.flatMap((left) => rights.map((right) => left + right))
      return [...lefts, ...rights] // a ?? b
    }
    if (steps === 0) return [HOLE]
    if (ts.isArrowFunction(node) || ts.isFunctionExpression(node)) return this.#returnedBy(node, steps - 1)
    if (ts.isIdentifier(node)) return this.#namedBy(node, steps - 1)
    if (ts.isCallExpression(node)) return this.#returnedByCall(node.expression, steps - 1)
    return [HOLE]
  }

  /** The same with what is filled in, as far as the source tells. */
  filledTextsOf(node: ts.Expression): string[] {
    const open = this.textsOf(node)
    const before = this.#fills
    this.#fills = true
    const filled = this.textsOf(node)
    this.#fills = before
    return filled.length > MOST_TEXTS ? [] : filled.filter((text) => !open.includes(text))
  }

  /** What is filled in stays open, unless the text says nothing without it. */
  #filledIn({ head, templateSpans }: ts.TemplateExpression, steps: number): string[] {
    const open = head.text + templateSpans.map(({ literal }) => HOLE + literal.text).join('')
    if ((!this.#fills && isTelling(open)) || steps === 0) return [open]
    let texts = [head.text]
    for (const { expression, literal } of templateSpans) {
      const fillings = this.textsOf(expression, steps - 1)
      texts = texts.flatMap((text) => fillings.map((filling) => text + filling + literal.text))
      if (texts.length > MOST_TEXTS) return [open]
    }
    return texts
  }

  /** What a function returns that is given to this one, or declared somewhere by a name that no other has. */
  #returnedByCall(callee: ts.Expression, steps: number): string[] {
    const given = ts.isIdentifier(callee) ? this.#namedBy(callee, steps) : [HOLE]
    if (given.some((text) => text !== HOLE)) return given
    const [declared, ...others] = this.#functions.get(nameOf(callee)) ?? []
    return declared === undefined || others.length > 0 ? [HOLE] : this.#returnedBy(declared, steps)
  }

  #returnedBy({ body }: ts.FunctionLikeDeclaration, steps: number): string[] {
    if (body === undefined) return [HOLE]
    if (!ts.isBlock(body)) return this.textsOf(body, steps)
    const texts: string[] = []
    const visit = (node: ts.Node): void => {
      if (ts.isReturnStatement(node) && node.expression !== undefined)
        texts.push(...this.textsOf(node.expression, steps))
      else if (!ts.isFunctionLike(node)) ts.forEachChild(node, visit)
    }
    visit(body)
    return texts.length === 0 ? [HOLE] : texts
  }

  /** The texts of a constant, or those that a function is called with. */
  #namedBy(name: ts.Identifier, steps: number): string[] {
    for (let scope: ts.Node = name; scope !== undefined; scope = scope.parent) {
      if (ts.isFunctionLike(scope)) {
        const at = scope.parameters.findIndex((parameter) => parameter.name.getText() === name.text)
        if (at !== -1) return this.#passedTo(scope, at, steps)
      }
      if (!ts.isBlock(scope) && !ts.isSourceFile(scope)) continue
      for (const statement of scope.statements) {
        if (!ts.isVariableStatement(statement)) continue
        const declared = statement.declarationList.declarations.find((one) => one.name.getText() === name.text)
        if (declared?.initializer !== undefined) return this.textsOf(declared.initializer, steps)
      }
    }
    return [HOLE]
  }

  #passedTo(callee: ts.SignatureDeclaration, at: number, steps: number): string[] {
    const calls = this.#calls.get(functionName(callee)) ?? []
    const passed = calls.flatMap(({ arguments: args }) => args[at] ?? [])
    return passed.length === 0 ? [HOLE] : [...new Set(passed.flatMap((argument) => this.textsOf(argument, steps)))]
  }
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  if (key !== '') map.set(key, [...(map.get(key) ?? []), value])
}

/** The name of what is called. */
function nameOf(callee: ts.Expression): string {
  if (ts.isIdentifier(callee)) return callee.text
  return ts.isPropertyAccessExpression(callee) ? callee.name.text : ''
}

function functionName(node: ts.SignatureDeclaration): string {
  if (node.name !== undefined) return node.name.getText()
  return ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : ''
}
