import { isAbsolute, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { invalid } from '../runtime/errors.ts'
import type { AppSource } from '../workers/worker/config.ts'

/** Where this package's own modules are, and the one that a node may be told to load: that of the command. */
const PACKAGE = fileURLToPath(new URL('../', import.meta.url))
const COMMAND_APP = /^cli[\\/]modules[\\/]worker-app\.[jt]s$/

/** An app as a node finds it. */
export interface NodeApp {
  /** What the module's path is relative to: a node's working directory, or this package wherever it is installed there. */
  readonly from: 'directory' | 'package'
  readonly path: string
  readonly data?: unknown
}

/**
 * Says where nodes find an app.
 *
 * @throws Mongrel2Error `invalid_option` when that is not below the working directory.
 */
export function nodeAppOf({ module, data }: AppSource): NodeApp {
  const path = fileURLToPath(module)
  const own = within(PACKAGE, path)
  if (own !== undefined) return { from: 'package', path: own, data }
  const below = within(process.cwd(), path)
  if (below !== undefined) return { from: 'directory', path: below, data }
  throw invalid('app.module', 'a module below the working directory, since nodes find it below theirs', module)
}

/**
 * Finds an app on this node. What a main node says is checked here: it may not have any other file run.
 *
 * @throws Mongrel2Error `invalid_option` when the app is not below the working directory.
 */
export function appSourceOf({ from, path, data }: NodeApp): AppSource {
  const directory = process.cwd()
  if (from === 'package') {
    if (!COMMAND_APP.test(path)) throw invalid('app', 'the module of the command, or one of the app', path)
    return { module: pathToFileURL(join(PACKAGE, path)).href, data: { ...Object(data), within: directory } }
  }
  const whole = resolve(directory, path)
  if (within(directory, whole) === undefined) throw invalid('app', 'a module below the working directory', path)
  return { module: pathToFileURL(whole).href, data }
}

/** The way from a directory to a path below it; undefined for any other path. */
export function within(directory: string, path: string): string | undefined {
  const way = relative(directory, path)
  return way.startsWith('..') || isAbsolute(way) ? undefined : join(way)
}
