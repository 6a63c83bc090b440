import { relative } from 'node:path'
import type { WorkersOptions } from '../../cluster/options.ts'
import { serveWithWorkers, type WorkersServer } from '../../cluster/serve-with-workers.ts'
import { moduleBeside } from '../../runtime/module-beside.ts'
import type { WorkerAppData } from '../modules/worker-app.ts'
import type { CommandSettings } from '../options/settings.ts'

/** Serves an app by worker processes, which load it themselves. */
export function serveWithWorkerProcesses(
  { app, exportName, config, options }: CommandSettings,
  workers: Omit<WorkersOptions, 'app' | 'options'>,
): WorkersServer {
  const here = (path: string) => relative(process.cwd(), path)
  const data: WorkerAppData = { app: here(app), exportName, config: config === undefined ? undefined : here(config) }
  return serveWithWorkers({
    ...workers,
    app: { module: moduleBeside(import.meta.url, '../modules/worker-app').href, data },
    options,
  })
}
