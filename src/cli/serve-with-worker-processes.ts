import { relative } from 'node:path'
import { serveWithWorkers, type WorkersServer } from '../cluster/serve-with-workers.ts'
import type { WorkersOptions } from '../cluster/workers-options.ts'
import type { CommandSettings } from './settings.ts'
import type { WorkerAppData } from './worker-app.ts'

/** This file's own ending: sources run as they are, too. */
const EXTENSION = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** Serves an app by worker processes, which load it themselves. */
export function serveWithWorkerProcesses(
  { app, exportName, config, options }: CommandSettings,
  workers: Omit<WorkersOptions, 'app' | 'options'>,
): WorkersServer {
  const here = (path: string) => relative(process.cwd(), path)
  const data: WorkerAppData = { app: here(app), exportName, config: config === undefined ? undefined : here(config) }
  return serveWithWorkers({
    ...workers,
    app: { module: new URL(`./worker-app${EXTENSION}`, import.meta.url).href, data },
    options,
  })
}
