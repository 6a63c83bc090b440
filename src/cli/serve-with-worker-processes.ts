import { relative } from 'node:path'
import { serveWithWorkers, type WorkersServer } from '../cluster/serve-with-workers.ts'
import type { WorkersOptions } from '../cluster/workers-options.ts'
import { moduleBeside } from '../module-beside.ts'
import type { CommandSettings } from './settings.ts'
import type { WorkerAppData } from './worker-app.ts'

/** Serves an app by worker processes, which load it themselves. */
export function serveWithWorkerProcesses(
  { app, exportName, config, options }: CommandSettings,
  workers: Omit<WorkersOptions, 'app' | 'options'>,
): WorkersServer {
  const here = (path: string) => relative(process.cwd(), path)
  const data: WorkerAppData = { app: here(app), exportName, config: config === undefined ? undefined : here(config) }
  return serveWithWorkers({
    ...workers,
    app: { module: moduleBeside(import.meta.url, './worker-app').href, data },
    options,
  })
}
