import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The endings that leave open which kind a module is. Node asks the project; here the text of the file decides. */
const OPEN = /\.(?:[jt]sx?|cts)$/
const TRANSFORMED = /\.(?:[jt]sx|c?ts)$/

const STRING_OR_COMMENT =
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`|(?<comment>\/\*[\s\S]*?\*\/|\/\/.*)/g
/** TypeScript's own words for `module.exports =` and `const x = require()`. */
const COMMONJS_STATEMENT = /^\s*(?:export\s*=|(?:export\s+)?import\s+\w+\s*=\s*require\b)/m
const MODULE_STATEMENT = /^\s*(?:import\s*['{*\w]|export\s*[{*]|export\s+[a-z])|;\s*export\s+default\b/m
const IMPORT_META = /\bimport\.meta\b/
const COMMONJS_VARIABLE = /(?<![.\w$])(?:require\s*\(|module\.exports\b|__dirname\b|__filename\b)/
const EXPORTS_VARIABLE = /(?<![.\w$])exports\.\w+\s*=/

/**
 * Which kind of module a file of an app is, by what is written in it.
 *
 * @param url The module's URL.
 * @returns undefined for the files of packages, and where Node can tell by the ending.
 */
export function moduleKind(url: string): 'module' | 'commonjs' | undefined {
  const [file = ''] = url.split(/[?#]/)
  if (!OPEN.test(file) || !file.startsWith('file:') || file.includes('/node_modules/')) return undefined
  const code = readFileSync(fileURLToPath(file), 'utf8').replace(STRING_OR_COMMENT, (match, comment) =>
    comment === undefined && match !== '' ? "''" : ' ',
  )
  if (COMMONJS_STATEMENT.test(code)) return 'commonjs'
  if (IMPORT_META.test(code)) return 'module'
  // TypeScript may say `import` and mean `require`. In JavaScript `import` is an ES module; bundles have all of these words.
  if (TRANSFORMED.test(file) && COMMONJS_VARIABLE.test(code)) return 'commonjs'
  if (MODULE_STATEMENT.test(code)) return 'module'
  return COMMONJS_VARIABLE.test(code) || EXPORTS_VARIABLE.test(code) ? 'commonjs' : undefined
}

/** Whether this Node (22.18, 24 or later), Deno or Bun runs TypeScript by itself. */
const RUNS_TYPESCRIPT = 'typescript' in process.features && process.features.typescript !== false

/**
 * What a module is written in, as this Node sees it.
 *
 * @param file A path or a URL.
 * @returns `unreadable` for what Node cannot run without tsx: JSX always, TypeScript on older versions.
 */
export function languageOf(file: string): 'javascript' | 'typescript' | 'unreadable' {
  if (/\.[jt]sx(?:[?#]|$)/.test(file)) return 'unreadable'
  if (!/\.[cm]?ts(?:[?#]|$)/.test(file)) return 'javascript'
  return RUNS_TYPESCRIPT ? 'typescript' : 'unreadable'
}
