import { readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { sep } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ownDirectory, ownModule } from '../../runtime/process/own-modules.ts'
import { runtimeName } from '../../runtime/process/versions.ts'
import { enableCompileCache } from '../shared/compile-cache.ts'
import { CommandError } from '../shared/exit-code.ts'
import { caughtServe } from './caught-servers.ts'
import { languageOf, type ModuleKindHooks, moduleKind, moduleKindHooks } from './module-kind.ts'

/** Node 20 has no such hooks. */
type NewerModule = typeof Module & { readonly registerHooks?: (hooks: ModuleKindHooks) => void }

const { extensions } = createRequire(import.meta.url)
const nativeRequire = extensions['.js']
/** The directory of this package's modules. */
const OURS = fileURLToPath(ownDirectory())

/**
 * Imports a module of JavaScript or TypeScript, an ES module or CommonJS, in a project of any `type`. Node loads JavaScript; TypeScript and
 * JSX are loaded by tsx if it is installed, otherwise by Node.
 *
 * @param path An absolute path.
 * @param caught Whether the caller catches errors; otherwise Node itself shows the place of a syntax error.
 * @returns The exports. The properties of a CommonJS module's `module.exports` are exports, and `default` is all of it unless it has one.
 * @throws CommandError `load` when tsx is needed and not installed; otherwise what the module throws.
 */
export async function importModule(path: string, caught = true): Promise<Readonly<Record<string, unknown>>> {
  enableCompileCache()
  const url = pathToFileURL(path).href
  // Deno and Bun run everything by themselves.
  if (!runtimeName().startsWith('Node')) return exportsOf(path, await import(url))
  await prepareFor(path)
  try {
    return exportsOf(path, await import(url))
  } catch (error) {
    if (caught) await addPlace(error, path)
    throw prepared === 'JavaScript' && isForTsx(path, error) ? needsTsx(path) : error
  }
}

function isForTsx(path: string, error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') return /"\.(?:[cm]?tsx?|jsx)"/.test(message)
  // Node takes CommonJS in a `.ts` of a project of ES modules for an ES module.
  if (code === 'ERR_REQUIRE_CYCLE_MODULE') return languageOf(path) === 'typescript'
  return code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX'
}

function exportsOf(path: string, exports: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const isCommonJs = /\.cjs$/.test(path) || moduleKind(pathToFileURL(path).href) === 'commonjs'
  const inner = exports.default
  if (!isCommonJs || typeof inner !== 'object' || inner === null) return exports
  // A module that assigns nothing has an empty object.
  const own = Object.keys(inner).length > 0 || Object.getPrototypeOf(inner) !== Object.prototype ? inner : undefined
  return { ...exports, ...inner, default: 'default' in inner ? inner.default : own }
}

function needsTsx(path: string): CommandError {
  const reason = `${runtimeName()} cannot run this ${/x$/.test(path) ? 'JSX' : 'TypeScript'} by itself`
  return new CommandError('load', `${path} needs tsx, since ${reason}: npm install tsx`)
}

/** What this thread's loader is prepared for. */
let prepared: 'nothing' | 'JavaScript' | 'TypeScript' = 'nothing'

/** Installs the hooks that a file needs, once. */
async function prepareFor(path: string): Promise<void> {
  const language = languageOf(path)
  const tsx = language === 'javascript' ? undefined : findTsx(path)
  if (language === 'unreadable' && tsx === undefined) throw needsTsx(path)
  if (prepared === 'TypeScript' || (prepared === 'JavaScript' && tsx === undefined)) return
  prepared = tsx === undefined ? 'JavaScript' : 'TypeScript'
  importByKind(tsx !== undefined)
  if (tsx !== undefined) await registerTsx(tsx)
  requireByKind()
}

async function registerTsx(tsx: string): Promise<void> {
  const tsxRequire = createRequire(tsx)
  for (const api of ['tsx/cjs/api', 'tsx/esm/api']) {
    // The ES module: the CommonJS one looks for its hooks in the wrong place.
    const url = pathToFileURL(tsxRequire.resolve(api).replace(/\.cjs$/, '.mjs')).href
    const { register }: { register: () => unknown } = await import(url)
    register()
  }
}

/** The app's own tsx before one that is installed beside us. */
function findTsx(path: string): string | undefined {
  for (const from of [path, import.meta.url]) {
    try {
      return createRequire(from).resolve('tsx')
    } catch {
      // It is not installed there.
    }
  }
  return undefined
}

/** Lets `import` follow `moduleKind`. */
function importByKind(tsx: boolean): void {
  const { registerHooks, register } = Module as NewerModule
  if (registerHooks !== undefined) registerHooks(moduleKindHooks(tsx))
  else register(ownModule('cli/modules/module-kind'), { data: tsx })
}

/** The CommonJS module of `@hono/node-server`. */
const NODE_SERVER = /[\\/]node_modules[\\/]@hono[\\/]node-server[\\/]dist[\\/]index\.c?js$/

/** Lets `require` follow `moduleKind`, and get a `serve` of `@hono/node-server` that does not listen while the app is loaded. */
function requireByKind(): void {
  const other = extensions['.js']
  extensions['.js'] = (module, path) => {
    // tsx would compile a package's ES modules again, and `require` would give other modules than `import`.
    if (isOfPackage(path)) {
      nativeRequire(module, path)
      if (NODE_SERVER.test(path)) module.exports = { ...module.exports, serve: caughtServe(module.exports) }
    }
    // Node would refuse it in a project of ES modules. Files of unknown extensions come here too.
    else if (path.endsWith('.js') && moduleKind(pathToFileURL(path).href) === 'commonjs') {
      const { _compile } = module as NodeJS.Module & { _compile(code: string, path: string): void }
      _compile.call(module, readFileSync(path, 'utf8'), path)
    } else other(module, path)
  }
}

function isOfPackage(path: string): boolean {
  return path.includes(`${sep}node_modules${sep}`) || path.startsWith(OURS)
}

/** Time for the process that finds a syntax error, in milliseconds. */
const FIND_TIME = 10_000

/**
 * Puts the place of a syntax error before its stack, as Node does with other errors: a line such as `file:///app/part.js:2`, and that line of
 * the file. Node tells that place in an ES module only when nothing catches the error, so another process imports the module again. Nothing of
 * the module runs there, unless the part with the error is imported dynamically: then the process is ended after `FIND_TIME`.
 *
 * @param path The module that was imported; the error may be in one of its parts.
 */
async function addPlace(error: unknown, path: string): Promise<void> {
  if (!(error instanceof SyntaxError) || !/^SyntaxError.*\n +at compileSourceTextModule/.test(error.stack ?? '')) return
  const importer = ownModule('cli/modules/import-module').href
  const code = `const { importModule } = await import(process.argv[1]); await importModule(process.argv[2], false)`
  const { spawn } = process.getBuiltinModule('node:child_process')
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code, importer, path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: FIND_TIME,
    killSignal: 'SIGKILL',
  })
  child.on('error', () => {}) // the place stays unknown
  if (child.stderr === null || child.stderr === undefined) return
  const [place] = (await text(child.stderr)).split('SyntaxError:')
  if (place?.startsWith('file:')) error.stack = `${place.trimEnd()}\n${error.stack}`
}
