import { isAbsolute, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { invalid } from '../../option-check.ts'
import type { AppSource } from '../worker/config.ts'

/** Where this package's own modules are. */
const PACKAGE = fileURLToPath(new URL('../../', import.meta.url))

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

/** Finds an app on this node. */
export function appSourceOf({ from, path, data }: NodeApp): AppSource {
  const module = pathToFileURL(resolve(from === 'package' ? PACKAGE : process.cwd(), path)).href
  return { module, data }
}

function within(directory: string, path: string): string | undefined {
  const way = relative(directory, path)
  return way.startsWith('..') || isAbsolute(way) ? undefined : join(way)
}
