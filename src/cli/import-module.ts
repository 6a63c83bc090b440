import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { CommandError } from './exit-code.ts'

const TYPESCRIPT = /\.[cm]?ts$/
/** Never for Node alone: leaving out the types is not enough. */
const JSX = /\.[jt]sx$/

/**
 * Imports a module of JavaScript or TypeScript: by Node where it can, by tsx where it cannot.
 *
 * @param path An absolute path.
 * @throws CommandError `load` when tsx is needed and not installed; otherwise what the module throws.
 */
export async function importModule(path: string): Promise<Readonly<Record<string, unknown>>> {
  const stripsTypes = 'typescript' in process.features && process.features.typescript !== false
  if (JSX.test(path) || (TYPESCRIPT.test(path) && !stripsTypes)) await registerTsx(path)
  const url = pathToFileURL(path).href
  try {
    return await import(url)
  } catch (error) {
    if (!needsTsx(path, error)) throw error
    await registerTsx(path)
    // Node remembers a module that failed by its URL.
    return await import(`${url}?tsx`)
  }
}

/** For TypeScript that is more than types; also where `./part` or `./part.js` means `part.ts`, if there is a tsx to find it. */
function needsTsx(path: string, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ERR_MODULE_NOT_FOUND') return TYPESCRIPT.test(path) && !registered && findTsx(path) !== undefined
  return code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX'
}

let registered = false

async function registerTsx(path: string): Promise<void> {
  if (registered) return
  const tsx = findTsx(path)
  if (tsx === undefined) {
    throw new CommandError(
      'load',
      `${path} needs tsx, since Node ${process.versions.node} cannot run this TypeScript by itself: npm install tsx`,
    )
  }
  registered = true
  if (isMainThread) return void (await import(pathToFileURL(tsx).href))
  // There the module above does nothing: a thread has to ask for it.
  const require = createRequire(tsx)
  for (const api of ['tsx/cjs/api', 'tsx/esm/api']) {
    // Of its two kinds the module: the other looks for its hooks in the wrong place.
    const url = pathToFileURL(require.resolve(api).replace(/\.cjs$/, '.mjs')).href
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
      // Not from there.
    }
  }
  return undefined
}
