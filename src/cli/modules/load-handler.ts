import { existsSync } from 'node:fs'
import type { Mongrel2Handler } from '../../exchange/options.ts'
import { didYouMean } from '../../options/did-you-mean.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { CommandError } from '../shared/exit-code.ts'
import { type CaughtServer, catchServers } from './caught-servers.ts'
import { importModule } from './import-module.ts'

/**
 * Loads an app's handler from an absolute path: a function `(request, env, ctx) => Response`, or an object with such a `fetch`.
 * Returns it in an object: itty-router's has a method of any name, and one with a `then` would be taken for a promise.
 *
 * @throws CommandError `load` if the module does not exist, does not load (with `cause`) or exports no handler.
 */
export async function loadHandler(path: string, exportName: string): Promise<Pick<LoadedApp, 'handler'>> {
  if (!existsSync(path)) throw new CommandError('load', `there is no file ${path}`)
  const { exports, handler, servers } = await load(path, exportName)
  if (isHandler(handler)) {
    for (const { listen } of servers) listen()
    return { handler }
  }
  const [server] = servers
  if (handler === undefined && exportName === 'default') {
    if (isHandler(exports.fetch)) return { handler: exports.fetch }
    if (server !== undefined) return { handler: server.fetch }
  }
  const others = Object.keys(exports).filter((name) => name !== exportName && isHandler(exports[name]))
  const found = handler === undefined ? `has no export ${exportName}` : `exports something else as ${exportName}`
  const meant =
    didYouMean(exportName, others) || (others.length > 0 ? `; there is --export ${others.join(' or ')}` : '')
  const instead = meant === '' ? `; ${EXPORT_IT}, and let nothing listen` : meant
  throw new CommandError('load', `${path} ${found}: expected a function, or an object with a function fetch${instead}`)
}

const EXPORT_IT = 'export the handler, such as `export default app`'

interface Loaded {
  readonly exports: Readonly<Record<string, unknown>>
  /** The named export, or the value of a promise there. */
  readonly handler: unknown
  readonly servers: readonly CaughtServer[]
}

async function load(path: string, exportName: string): Promise<Loaded> {
  try {
    const [loaded, servers] = await catchServers(async () => {
      const exports = await importModule(path)
      const exported = exports[exportName]
      return { exports, handler: exported instanceof Promise ? await exported : exported }
    })
    return { ...loaded, servers }
  } catch (error) {
    if (error instanceof CommandError) throw error
    explainOtherRuntime(error)
    throw new CommandError('load', `${path} could not be loaded`, { cause: error })
  }
}

/** Adds to an error that the app calls `Deno.serve` or `Bun.serve` what to do, where Node has neither. */
function explainOtherRuntime(error: unknown): void {
  if (!(error instanceof ReferenceError)) return
  const [missing, name] = /^(Deno|Bun) is not defined/.exec(error.message) ?? []
  if (missing === undefined) return
  const { message, stack } = error
  error.message += `: ${EXPORT_IT}, in the place of ${name}.serve`
  error.stack = (stack ?? '').replace(message, error.message)
}

function isHandler(value: unknown): value is Mongrel2Handler {
  return (
    typeof value === 'function' ||
    (typeof value === 'object' && value !== null && 'fetch' in value && typeof value.fetch === 'function')
  )
}
