// A process of `serve --direct`, told what to do by the `DirectWorker` that has forked it.

import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { type Logger, surviveLostOutput } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { type Mongrel2Server, serveMongrel2 } from '../../serve.ts'
import { reasonOf } from '../../workers/worker/config.ts'
import { distantLogger } from '../../workers/worker/distant-logger.ts'
import { leaveAfterUncaughtError, leaveOnSigterm, leaveSignalsToParent } from '../../workers/worker/leaving.ts'
import load from '../modules/worker-app.ts'
import { tellParent } from '../shared/tell-parent.ts'
import type { DirectNews, DirectOrder, DirectTask } from './worker.ts'

/** How long what is open may take when the one who has forked us is gone, in milliseconds. */
const ORPHAN_TIMEOUT = 10_000

const tell = tellParent<DirectNews>
/** Resolves with the milliseconds that what is open may take. */
const stop: Deferred<number> = deferred()

process.on('message', (order: DirectOrder) => {
  if ('stop' in order) stop.resolve(order.stop)
  else void run(order)
})
process.on('disconnect', () => stop.resolve(ORPHAN_TIMEOUT))
surviveLostOutput()
leaveSignalsToParent()

async function run(task: DirectTask): Promise<void> {
  const logger = distantLogger(task.logLevels, (line) => void tell(line))
  const server = await serve(task, logger)
  if (server === undefined) process.exit(1)
  await tell({ news: 'loaded' })
  const leave = (reason: string) => void tell({ news: 'leaving', reason })
  leaveOnSigterm(leave)
  leaveAfterUncaughtError(logger, leave)
  server.ready.then(
    () => tell({ news: 'ready' }),
    () => {}, // it was closed before
  )
  await server.close({ timeout: await stop.promise })
  process.exit(0)
}

/** Undefined when the app cannot be loaded, which has been told. */
async function serve({ data, options }: DirectTask, logger: Logger): Promise<Mongrel2Server | undefined> {
  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  try {
    const app = await load(data)
    return serveMongrel2(app.handler, { ...options, logger, ...app.options })
  } catch (error) {
    await tell({ news: 'failed', reason: reasonOf(error) })
    return undefined
  }
}
