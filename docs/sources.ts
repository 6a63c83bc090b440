// The source as the reference pages read it.

import { readFileSync } from 'node:fs'
import { type JSDoc, type JSDocableNode, Node, Project, type Symbol as TsSymbol, type Type } from 'ts-morph'

/** Lines of docstrings are joined, except those of lists, tables and code. */
const CONTINUES = /(?<!\n)\n(?!\n|\s*(?:[-*|] |```))[ \t]*/g

/** The project of the package, for its types and docstrings. */
export function openProject(): Project {
  return new Project({ tsConfigFilePath: 'tsconfig.build.json' })
}

/** The modules that users import, by the names they import them by; an alias is the same module. */
export function entries(): [name: string, file: string][] {
  const { name, exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    name: string
    exports: Record<string, string | { types: string }>
  }
  const names = new Map<string, string>()
  for (const [path, targets] of Object.entries(exports)) {
    if (typeof targets === 'string') continue
    const file = targets.types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts')
    const known = names.get(file)
    names.set(file, `${known === undefined ? '' : `${known}, `}${name}${path.slice(1)}`)
  }
  return [...names].map(([file, name]) => [name, file])
}

/** A type's properties, those that it inherits too. */
export function propertiesOf(type: Type): TsSymbol[] {
  return type.getProperties().filter((property) => !/^(?:__@|#)/.test(property.getName()))
}

/** The docstring of a declaration; of several signatures the first that has one. */
export function docOf(declarations: readonly Node[]): JSDoc | undefined {
  return declarations.flatMap((one) => (Node.isJSDocable(one) ? (one as JSDocableNode).getJsDocs() : [])).at(-1)
}

/** Its text without tags, in paragraphs. */
export function textOf(doc: JSDoc | undefined): string {
  return unwrapped(doc?.getDescription() ?? '')
}

export function unwrapped(text: string): string {
  return text
    .trim()
    .replaceAll(/\{@link(?:code)? ([^}]*)\}/g, '$1')
    .replace(CONTINUES, ' ')
}
