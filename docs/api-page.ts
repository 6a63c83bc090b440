// Makes docs/reference/api.md from the exported names of the package, their types and their docstrings.

import {
  type ClassDeclaration,
  type ExportedDeclarations,
  type FunctionDeclaration,
  type InterfaceDeclaration,
  type JSDoc,
  Node,
  type Project,
  type SourceFile,
  type Symbol as TsSymbol,
} from 'ts-morph'
import { docOf, entries, propertiesOf, textOf, unwrapped } from './sources.ts'

/** What tests the blocks of the page. */
const SHOWN = '<!-- shown by: test/unit/docs/reference.test.ts -->'
/** What is not a member for users. */
const HIDDEN = /^(?:__@|#|prototype$)/

interface Entry {
  readonly name: string
  /** What its first comment says, if it exports nothing. */
  readonly about: string
  readonly names: readonly [name: string, declarations: readonly ExportedDeclarations[]][]
}

/** Makes the page. */
export function apiPage(project: Project): string {
  const all = entries().map(([name, file]): Entry => {
    const source = project.getSourceFileOrThrow(file)
    const declared = source.getExportedDeclarations()
    const about = declared.size > 0 ? '' : firstComment(source)
    return {
      name,
      about,
      names: [...declared].sort(([a, [one]], [b, [other]]) => rank(one) - rank(other) || compare(a, b)),
    }
  })
  const exported = new Set(all.flatMap(({ names }) => names.flatMap(([, declarations]) => declarations)))
  const anchors = new Map<string, number>()
  // Headings in the order of the page: GitHub numbers those that are written alike.
  const anchorOf = (heading: string): string => {
    const slug = heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-')
    const count = anchors.get(slug) ?? 0
    anchors.set(slug, count + 1)
    return count === 0 ? slug : `${slug}-${count}`
  }
  anchorOf('API')
  const parts = all.map(({ name, about, names }) => {
    const anchor = anchorOf(name)
    const links = names.map(([exportedName]) => `[${exportedName}](#${anchorOf(exportedName)})`)
    const sections = names.map(([exportedName, declarations]) => section(exportedName, declarations, exported))
    const after = links.length === 0 ? '' : `: ${links.join(', ')}`
    const text = [`## ${name}`, ...(about === '' ? [] : [about]), ...sections].join('\n\n')
    return { list: `- [\`${name}\`](#${anchor})${after}`, text }
  })
  return `# API

Every name that the package exports, by the module to import it from. This page is generated from the docstrings in the source: \`npm run docs\`. The options are in [options](options.md), one table a function.

${parts.map(({ list }) => list).join('\n')}

${parts.map(({ text }) => text).join('\n\n')}
`
}

function firstComment(source: SourceFile): string {
  const ranges = source.getStatements()[0]?.getLeadingCommentRanges() ?? []
  return unwrapped(ranges.map((range) => range.getText().replace(/^\/\/ ?/, '')).join('\n'))
}

/** Functions and classes come before types. */
function rank(declaration: ExportedDeclarations | undefined): number {
  return Node.isInterfaceDeclaration(declaration) || Node.isTypeAliasDeclaration(declaration) ? 1 : 0
}

function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en')
}

function section(name: string, declarations: readonly ExportedDeclarations[], exported: ReadonlySet<Node>): string {
  const [declaration] = declarations
  if (declaration === undefined) throw new Error(`there is no declaration of ${name}`)
  const doc = docOf(
    Node.isVariableDeclaration(declaration) ? [declaration.getVariableStatementOrThrow()] : declarations,
  )
  if (textOf(doc) === '') throw new Error(`expected a docstring of ${name}`)
  const parts = [`### ${name}`, textOf(doc), signature(declarations), ...tagParts(doc)]
  if (Node.isInterfaceDeclaration(declaration)) parts.push(members(interfaceMembers(declaration, exported)))
  if (Node.isClassDeclaration(declaration)) parts.push(members(classMembers(declaration)))
  return [...parts, ...examples(doc)].filter((part) => part !== '').join('\n\n')
}

function signature(declarations: readonly ExportedDeclarations[]): string {
  const lines = declarations.flatMap((declaration) => {
    if (Node.isFunctionDeclaration(declaration)) return functionHeads(declaration)
    if (Node.isInterfaceDeclaration(declaration)) return headOf(declaration, 'interface', declaration.getExtends())
    if (Node.isClassDeclaration(declaration)) {
      const parent = declaration.getExtends()
      return headOf(declaration, 'class', parent === undefined ? [] : [parent])
    }
    if (Node.isVariableDeclaration(declaration)) {
      return `const ${declaration.getName()}: ${
        declaration.getTypeNode()?.getText() ??
        declaration
          .getType()
          .getText(declaration)
          .replace(/import\("[^"]*"\)\./g, '')
      }`
    }
    return dedented(declaration.getText()).replace(/^export /, '')
  })
  return block('typescript', lines.join('\n'))
}

function functionHeads(declaration: FunctionDeclaration): string[] {
  const overloads = declaration.getOverloads()
  return (overloads.length > 0 ? overloads : [declaration]).map((one) => headWithoutBody(one))
}

function headWithoutBody(node: FunctionDeclaration): string {
  const body = node.getBody()
  const end = body === undefined ? node.getEnd() : body.getStart()
  const text = node.getSourceFile().getFullText().slice(node.getStart(), end)
  return dedented(text)
    .trim()
    .replace(/^export /, '')
    .replace(/^async /, '')
}

function headOf(node: InterfaceDeclaration | ClassDeclaration, kind: string, parents: readonly Node[]): string {
  const parameters = node.getTypeParameters().map((parameter) => parameter.getText())
  const generic = parameters.length === 0 ? '' : `<${parameters.join(', ')}>`
  const heritage = parents.length === 0 ? '' : ` extends ${parents.map((parent) => parent.getText()).join(', ')}`
  return `${kind} ${node.getName()}${generic}${heritage}`
}

interface Member {
  readonly text: string
  readonly doc: JSDoc | undefined
}

/** The members that an interface has itself or from types that are not exported. */
function interfaceMembers(declaration: InterfaceDeclaration, exported: ReadonlySet<Node>): Member[] {
  const own = propertiesOf(declaration.getType()).filter((property) => {
    const parent = property.getDeclarations()[0]?.getParent()
    return (
      parent === declaration ||
      !(isForeign(parent) || (parent !== undefined && exported.has(parent as ExportedDeclarations)))
    )
  })
  return own.map((property) => ({ text: memberText(property), doc: docOf(property.getDeclarations()) }))
}

function isForeign(node: Node | undefined): boolean {
  return node === undefined || node.getSourceFile().isInNodeModules() || node.getSourceFile().isDeclarationFile()
}

function memberText(property: TsSymbol): string {
  const declarations = property
    .getDeclarations()
    .filter((one) => !Node.isMethodDeclaration(one) || one.getBody() === undefined)
  const [declaration] = declarations.length > 0 ? declarations : property.getDeclarations()
  if (declaration === undefined) return property.getName()
  return dedented(declaration.getText()).replace(/;$/, '')
}

/** Constructors, properties and methods that users may touch. */
function classMembers(declaration: ClassDeclaration): Member[] {
  const constructors = declaration
    .getConstructors()
    .filter((one) => !isInternal(docOf([one])))
    .map((one) => ({ text: callText(one, 'constructor'), doc: docOf([one]) }))
  const others = declaration.getMembers().flatMap((member): Member[] => {
    if (Node.isConstructorDeclaration(member) || Node.isClassStaticBlockDeclaration(member)) return []
    if (HIDDEN.test(member.getName()) || member.getName().startsWith('[')) return []
    if ('getScope' in member && member.getScope() !== 'public') return []
    const prefix = 'isStatic' in member && member.isStatic() ? 'static ' : ''
    if (Node.isMethodDeclaration(member)) {
      const overloads = member.getOverloads()
      const doc = docOf(overloads.length > 0 ? overloads : [member])
      const heads = overloads.length > 0 ? overloads : [member]
      return heads.map((head, n) => ({
        text: prefix + callText(head, member.getName()),
        doc: n === 0 ? doc : undefined,
      }))
    }
    if (Node.isSetAccessorDeclaration(member)) return []
    if (Node.isGetAccessorDeclaration(member)) {
      return [
        {
          text: `${prefix}readonly ${member.getName()}: ${member.getReturnTypeNodeOrThrow().getText()}`,
          doc: docOf([member]),
        },
      ]
    }
    if (!Node.isPropertyDeclaration(member)) return []
    const text = `${member.isReadonly() ? 'readonly ' : ''}${member.getName()}: ${member.getTypeNode()?.getText() ?? member.getType().getText()}`
    return [{ text: prefix + text, doc: docOf([member]) }]
  })
  return [...constructors, ...others]
}

/** Whether a member is public only for the package itself. */
function isInternal(doc: JSDoc | undefined): boolean {
  return doc?.getTags().some((tag) => tag.getTagName() === 'internal') ?? false
}

interface Callable {
  getParameters(): { getText(): string }[]
  getTypeParameters(): { getText(): string }[]
  getReturnTypeNode?(): { getText(): string } | undefined
}

function callText(callable: Callable, name: string): string {
  const generics = callable.getTypeParameters().map((one) => one.getText())
  const generic = generics.length === 0 ? '' : `<${generics.join(', ')}>`
  const result = callable.getReturnTypeNode?.()
  const parameters = callable.getParameters().map((one) => one.getText())
  return `${name}${generic}(${parameters.join(', ')})${result === undefined ? '' : `: ${result.getText()}`}`
}

function members(all: readonly Member[]): string {
  return all
    .map(({ text, doc }) => {
      const code = text.replaceAll(/\/\*\*.*?\*\/\s*/gs, '').replaceAll(/\s+/g, ' ')
      const said = [textOf(doc), ...tagParts(doc)].filter((part) => part !== '').join('\n\n')
      return `- \`${code}\`${said === '' ? '' : `\n\n${said.replace(/^(?=.)/gm, '  ')}`}`
    })
    .join('\n')
}

/** Parameters, errors and sources, as the tags of a docstring have them. */
function tagParts(doc: JSDoc | undefined): string[] {
  const tags = doc?.getTags() ?? []
  const texts = (name: string) =>
    tags
      .filter((tag) => tag.getTagName() === name)
      .map((tag) =>
        unwrapped(
          tag
            .getText()
            .replace(/^@\w+ ?/, '')
            .replace(/\s*\n[ \t]*\*[ \t]?/g, '\n'),
        ),
      )
  const parameters = texts('param').map((text) => text.replace(/^([\w.]+)\s*/, '`$1`: '))
  const found = [
    ...(parameters.length === 0 ? [] : [parameters.map((text) => `- ${text}`).join('\n')]),
    ...texts('returns').map((text) => `Returns: ${text}`),
    ...texts('throws').map(
      (text) => `Throws: ${text.replace(/^\{(\w+)\} ?/, '$1 ').replace(/\bMongrel2Error\b(?!`)/, '`Mongrel2Error`')}`,
    ),
    ...texts('see').map((text) => `See: ${text}`),
  ]
  return found.map((text) => text.trim())
}

function examples(doc: JSDoc | undefined): string[] {
  return (doc?.getTags() ?? [])
    .filter((tag) => tag.getTagName() === 'example')
    .flatMap((tag) => {
      const text = tag.getText().replace(/\n[ \t]*\* ?/g, '\n')
      const [, language = 'ts', code = ''] = /```(\w+)\n(.*?)\n```/s.exec(text) ?? []
      return code === '' ? [] : [block(language, code)]
    })
}

function block(language: string, code: string): string {
  return `${SHOWN}\n\`\`\`${language}\n${code}\n\`\`\``
}

/** Takes away the indentation that the lines after the first have in common. */
function dedented(text: string): string {
  const indents = [...text.matchAll(/\n([ \t]*)(?=\S)/g)].map(([, indent = '']) => indent.length)
  const common = indents.length === 0 ? 0 : Math.min(...indents)
  return text.replaceAll(new RegExp(`\n[ \t]{${common}}`, 'g'), '\n')
}
