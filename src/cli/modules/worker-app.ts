import { resolve } from 'node:path'
import type { Mongrel2Options } from '../../exchange/options.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeLoadError } from '../../runtime/log.ts'
import { pathBelow } from '../../runtime/path-below.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { CODE_KEYS } from '../options/command-options.ts'
import type { CommandSettings } from '../options/settings.ts'
import { readConfigFile } from '../options/sources.ts'
import { CommandError } from '../shared/exit-code.ts'
import { loadHandler } from './load-handler.ts'

/** What a worker has to know beside its options. Paths are relative to its working directory, which on a node is another. */
export type WorkerAppData = Pick<CommandSettings, 'app' | 'exportName' | 'config'> & {
  /** On a node, the directory that the files have to be below: a main node does not choose others. */
  readonly within?: string
}

/** The module that every worker of the command loads: the app, and the functions of the configuration file. */
export default async function load(data: unknown): Promise<LoadedApp> {
  const { app, exportName, config, within } = data as WorkerAppData
  if (within !== undefined) for (const path of [app, config]) checkWithin(within, path)
  try {
    return { ...(await loadHandler(resolve(app), exportName)), options: await functionsOf(config) }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const cause = error.cause === undefined ? '' : `:\n${describeLoadError(error.cause)}`
    throw new Mongrel2Error('load_failed', `${error.message}${cause}`)
  }
}

function checkWithin(directory: string, path: string | undefined): void {
  if (path === undefined || pathBelow(directory, resolve(path)) !== undefined) return
  throw new Mongrel2Error(
    'load_failed',
    `the main node names ${path}, which is not below this node's working directory, ${directory}`,
  )
}

async function functionsOf(config: string | undefined): Promise<Partial<Mongrel2Options>> {
  if (config === undefined) return {}
  const file = await readConfigFile(config)
  return Object.fromEntries(CODE_KEYS.map((key) => [key, file?.values[key]]))
}
