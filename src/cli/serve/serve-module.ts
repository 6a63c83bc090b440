import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { type Mongrel2Server, serveMongrel2 } from '../../serve.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { CommandSettings } from '../options/settings.ts'

/**
 * Loads an app and serves it in this process, without workers.
 *
 * @throws CommandError `load` when the app gives no handler.
 */
export async function serveModule({ app, exportName, options }: CommandSettings): Promise<Mongrel2Server> {
  // Before the app is loaded, since it may keep the classes it finds; the process is ours, so they stay.
  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  const { handler } = await loadHandler(app, exportName)
  return serveMongrel2(handler, options)
}
