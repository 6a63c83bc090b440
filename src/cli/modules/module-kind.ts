import { readFileSync } from 'node:fs'
import type { LoadFnOutput, LoadHookContext, ResolveFnOutput, ResolveHookContext } from 'node:module'
import { fileURLToPath } from 'node:url'
import { ownDirectory, ownModule } from '../../runtime/process/own-modules.ts'

/** Extensions that do not tell the kind of module: Node asks the project, here the text of the file decides. */
const OPEN = /\.(?:[jt]sx?|cts)$/
const TRANSFORMED = /\.(?:[jt]sx|c?ts)$/

const STRING_OR_COMMENT =
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`|(?<comment>\/\*[\s\S]*?\*\/|\/\/.*)/g
/** TypeScript's forms of `module.exports =` and `const x = require()`. */
const COMMONJS_STATEMENT = /^\s*(?:export\s*=|(?:export\s+)?import\s+\w+\s*=\s*require\b)/m
const MODULE_STATEMENT = /^\s*(?:import\s*['{*\w]|export\s*[{*]|export\s+[a-z])|;\s*export\s+default\b/m
const IMPORT_META = /\bimport\.meta\b/
const COMMONJS_VARIABLE = /(?<![.\w$])(?:require\s*\(|module\.exports\b|__dirname\b|__filename\b)/
const EXPORTS_VARIABLE = /(?<![.\w$])exports\.\w+\s*=/

/** The kind of an app's module, by its text; undefined for files of packages, and where the extension tells. */
export function moduleKind(url: string): 'module' | 'commonjs' | undefined {
  const [file = ''] = url.split(/[?#]/)
  if (!OPEN.test(file) || !file.startsWith('file:') || file.includes('/node_modules/')) return undefined
  const code = readFileSync(fileURLToPath(file), 'utf8').replace(STRING_OR_COMMENT, (match, comment) =>
    comment === undefined && match !== '' ? "''" : ' ',
  )
  if (COMMONJS_STATEMENT.test(code)) return 'commonjs'
  if (IMPORT_META.test(code)) return 'module'
  // TypeScript compiles `import` to `require` in CommonJS. In JavaScript `import` means an ES module, and bundles contain all of these words.
  if (TRANSFORMED.test(file) && COMMONJS_VARIABLE.test(code)) return 'commonjs'
  if (MODULE_STATEMENT.test(code)) return 'module'
  return COMMONJS_VARIABLE.test(code) || EXPORTS_VARIABLE.test(code) ? 'commonjs' : undefined
}

/** Whether this Node (22.18, 24 or later), Deno or Bun runs TypeScript by itself. */
const RUNS_TYPESCRIPT = 'typescript' in process.features && process.features.typescript !== false

/** The language of a path or URL; `unreadable` if this Node needs tsx to run it: JSX always, TypeScript on older versions. */
export function languageOf(file: string): 'javascript' | 'typescript' | 'unreadable' {
  if (/\.[jt]sx(?:[?#]|$)/.test(file)) return 'unreadable'
  if (!/\.[cm]?ts(?:[?#]|$)/.test(file)) return 'javascript'
  return RUNS_TYPESCRIPT ? 'typescript' : 'unreadable'
}

const NODE_SERVER = '@hono/node-server'
/** The directory of this package's modules. */
const OURS = ownDirectory().href

/** Whether a file of the app imports a module. */
function isOfApp({ parentURL = '', conditions }: ResolveHookContext): boolean {
  return !parentURL.startsWith(OURS) && !parentURL.includes('/node_modules/') && conditions.includes('import')
}

/** The URL of a module like `@hono/node-server`, whose `serve` lets `loadHandler` have the app instead of listening. */
function caughtNodeServer(url: string): string {
  const ours = ownModule('cli/modules/caught-servers').href
  const code = `import * as nodeServer from ${JSON.stringify(url)}
import { caughtServe } from ${JSON.stringify(ours)}
export * from ${JSON.stringify(url)}
export const serve = caughtServe(nodeServer)`
  return `data:text/javascript,${encodeURIComponent(code)}`
}

/** Hooks of Node's loader that use `moduleKind` instead of the project's `type`. */
export interface ModuleKindHooks {
  resolve<Result extends ResolveFnOutput | Promise<ResolveFnOutput>>(
    specifier: string,
    context: ResolveHookContext,
    next: (specifier: string, context: ResolveHookContext) => Result,
  ): Result | Promise<ResolveFnOutput> | ResolveFnOutput
  load<Result>(
    url: string,
    context: LoadHookContext,
    next: (url: string, context: LoadHookContext) => Result,
  ): Result | LoadFnOutput
}

/** @param tsx Whether tsx comes after them and turns TypeScript and JSX into JavaScript. */
export function moduleKindHooks(tsx: boolean): ModuleKindHooks {
  const formatOf = (url: string): LoadHookContext['format'] => {
    const kind = moduleKind(url)
    // For a file that Node cannot run, its own error names the file.
    if (kind === undefined || tsx || languageOf(url) === 'javascript') return kind
    return languageOf(url) === 'typescript' ? (`${kind}-typescript` as LoadHookContext['format']) : undefined
  }
  return {
    resolve: (specifier, context, next) => {
      const withFormat = (resolved: ResolveFnOutput): ResolveFnOutput =>
        specifier === NODE_SERVER && isOfApp(context)
          ? { url: caughtNodeServer(resolved.url), format: 'module', shortCircuit: true }
          : { ...resolved, format: formatOf(resolved.url) ?? resolved.format }
      const resolved = next(specifier, context)
      return resolved instanceof Promise ? resolved.then(withFormat) : withFormat(resolved)
    },
    load: (url, context, next) => {
      const format = formatOf(url)
      // Without a source the CommonJS loader reads the file, and `require` in it is the usual one.
      if (format?.startsWith('commonjs')) return { format: 'commonjs', shortCircuit: true }
      return next(url, { ...context, format: format ?? context.format })
    },
  }
}

let hooks = moduleKindHooks(false)

/** Called by Node 20, which imports this module in a separate thread for `resolve` and `load`. */
export function initialize(tsx: boolean): void {
  hooks = moduleKindHooks(tsx)
}

export const resolve: ModuleKindHooks['resolve'] = (...parameters) => hooks.resolve(...parameters)
export const load: ModuleKindHooks['load'] = (...parameters) => hooks.load(...parameters)
