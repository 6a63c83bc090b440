import { existsSync } from 'node:fs'
import type { Mongrel2Handler } from '../../exchange/options.ts'
import { didYouMean } from '../../options/did-you-mean.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { CommandError } from '../shared/exit-code.ts'
import { importModule } from './import-module.ts'

/**
 * Loads an app's handler from an absolute path: a function `(request, env, ctx) => Response`, or an object with such a `fetch`.
 * Returns it in an object: itty-router's has a method of any name, and one with a `then` would be taken for a promise.
 *
 * @throws CommandError `load` if the module does not exist, does not load (with `cause`) or exports no handler.
 */
export async function loadHandler(path: string, exportName: string): Promise<Pick<LoadedApp, 'handler'>> {
  if (!existsSync(path)) throw new CommandError('load', `there is no file ${path}`)
  const exports = await load(path)
  const handler = exports[exportName]
  if (isHandler(handler)) return { handler }
  const others = Object.keys(exports).filter((name) => name !== exportName && isHandler(exports[name]))
  const found = handler === undefined ? `has no export ${exportName}` : `exports something else as ${exportName}`
  const meant =
    didYouMean(exportName, others) || (others.length > 0 ? `; there is --export ${others.join(' or ')}` : '')
  throw new CommandError('load', `${path} ${found}: expected a function, or an object with a function fetch${meant}`)
}

async function load(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await importModule(path)
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new CommandError('load', `${path} could not be loaded`, { cause: error })
  }
}

function isHandler(value: unknown): value is Mongrel2Handler {
  return (
    typeof value === 'function' ||
    (typeof value === 'object' && value !== null && 'fetch' in value && typeof value.fetch === 'function')
  )
}
