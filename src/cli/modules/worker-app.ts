import { resolve } from 'node:path'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { pathBelow } from '../../runtime/path-below.ts'
import type { LoadedApp } from '../../workers/worker/worker-config.ts'
import { CODE_KEYS } from '../options/command-options.ts'
import type { CommandSettings } from '../options/settings.ts'
import { readConfigFile } from '../options/sources.ts'
import { CommandError } from '../shared/exit-code.ts'
import { loadHandler } from './load-handler.ts'

/** A worker's configuration beside its options. Paths are relative to its working directory, which differs on a node. */
export type WorkerAppData = Pick<CommandSettings, 'app' | 'exportName' | 'config'> & {
  /** On a node, the directory that the files have to be in: a main node must not choose others. */
  readonly within?: string
}

/** Loads the app and the functions of the configuration file, in each worker of the command. */
export default async function load(data: unknown): Promise<LoadedApp> {
  const { app, exportName, config, within } = data as WorkerAppData
  if (within !== undefined) for (const path of [app, config]) checkWithin(within, path)
  try {
    const { handler } = await loadHandler(resolve(app), exportName)
    const file = config === undefined ? undefined : await readConfigFile(config)
    return { handler, options: Object.fromEntries(file ? CODE_KEYS.map((key) => [key, file.values[key]]) : []) }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    throw new Mongrel2Error('load_failed', error.describe())
  }
}

function checkWithin(directory: string, path: string | undefined): void {
  if (path === undefined || pathBelow(directory, resolve(path)) !== undefined) return
  throw new Mongrel2Error(
    'load_failed',
    `the main node names ${path}, which is not below this node's working directory, ${directory}`,
  )
}
