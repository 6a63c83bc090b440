import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { invalid } from '../runtime/errors.ts'
import { pathBelow } from '../runtime/path-below.ts'
import { lazy } from '../runtime/process/lazy.ts'
import { ownDirectory } from '../runtime/process/own-modules.ts'
import type { AppSource } from '../workers/worker/worker-config.ts'

/** The directory of this package's modules, and the only one that a main node may name: that of the command. */
const ownModules = lazy(() => fileURLToPath(new URL('src/', ownDirectory())))
const COMMAND_APP = /^cli[\\/]modules[\\/]worker-app\.[jt]s$/

/** Where a node finds an app. */
export interface NodeApp {
  /** The base of the path: the node's working directory, or this package as installed there. */
  readonly from: 'directory' | 'package'
  readonly path: string
  readonly data?: unknown
}

/** Makes an app's path relative, for nodes; throws `invalid_option` if it is not below the working directory. */
export function nodeAppOf({ module, data }: AppSource): NodeApp {
  const path = fileURLToPath(module)
  const own = pathBelow(ownModules(), path)
  if (own !== undefined) return { from: 'package', path: own, data }
  const below = pathBelow(process.cwd(), path)
  if (below !== undefined) return { from: 'directory', path: below, data }
  throw invalid('app.module', 'a module below the working directory, since nodes find it below theirs', module)
}

/** Finds an app on this node; throws `invalid_option` outside of the working directory, where no main node may choose. */
export function appSourceOf({ from, path, data }: NodeApp): AppSource {
  const directory = process.cwd()
  if (from === 'package') {
    if (!COMMAND_APP.test(path)) throw invalid('app', 'the module of the command, or one of the app', path)
    return { module: pathToFileURL(join(ownModules(), path)).href, data: { ...Object(data), within: directory } }
  }
  const whole = resolve(directory, path)
  if (pathBelow(directory, whole) === undefined) throw invalid('app', 'a module below the working directory', path)
  return { module: pathToFileURL(whole).href, data }
}
