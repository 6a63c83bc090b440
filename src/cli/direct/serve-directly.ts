import { checkWorkersOptions, type WorkersOptions } from '../../cluster/options.ts'
import type { WorkersServer } from '../../cluster/serve-with-workers.ts'
import type { Mongrel2Options } from '../../exchange/options.ts'
import type { Level } from '../../runtime/log.ts'
import { moduleBeside } from '../../runtime/module-beside.ts'
import { localHost, sharedStartOf } from '../../workers/dispatcher/worker-child.ts'
import { WorkerPool } from '../../workers/dispatcher/worker-pool.ts'
import type { WorkerAppData } from '../modules/worker-app.ts'
import type { CommandSettings } from '../options/settings.ts'

/** The configuration of a process that pulls from Mongrel2 itself. */
export interface DirectConfig {
  readonly data: WorkerAppData
  readonly options: Mongrel2Options
  /** The levels that the parent logs. */
  readonly logLevels: readonly Level[]
}

/** Processes that each pull from Mongrel2 themselves, without a dispatcher. */
interface DirectServer extends Pick<WorkersServer, 'ready' | 'reload'> {
  stats(): { workers: { pid: number }[] }
  /** Ends all of them, after at most `timeout` milliseconds for open requests. */
  close(options: { timeout: number }): Promise<void>
}

/** Serves an app by processes that each pull from Mongrel2 themselves. */
export function serveDirectly(
  { app, exportName, config, options, logger }: CommandSettings,
  workersOptions: Omit<WorkersOptions, 'app' | 'options'>,
): DirectServer {
  const settings = checkWorkersOptions({ ...workersOptions, app: { module: '' }, options })
  const { options: shared, logLevels } = sharedStartOf(options, settings.workers, 1, logger)
  const child: DirectConfig = { data: { app, exportName, config }, options: { ...shared, shared: true }, logLevels }
  const entry = moduleBeside(import.meta.url, './child')
  // They send no signs of life.
  const pool = new WorkerPool({ ...settings, workerTimeout: Number.POSITIVE_INFINITY }, logger, {
    news: (worker, { news }) => {
      if (news === 'serves') pool.onReady(worker)
    },
    retire: (worker) => worker.stop(settings.replaceTimeout),
  })
  const host = localHost({ entry, config: child, execArgv: settings.execArgv })
  return {
    ready: pool.addHost(host, settings.workers),
    stats: () => ({ workers: pool.workers.map(({ pid }) => ({ pid })) }),
    reload: () => pool.reload(),
    async close({ timeout }) {
      pool.close()
      for (const worker of pool.workers) worker.stop(timeout)
      await pool.ended()
    },
  }
}
