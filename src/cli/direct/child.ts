// The entry of a process of `serve --direct`, which pulls from Mongrel2 itself.

import { checkOptions } from '../../exchange/options.ts'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { serveSettings } from '../../serve.ts'
import { type News, parseOrder, renderJson } from '../../workers/protocol/frames.ts'
import { leaveAfterUncaughtError, leaveSignalsToParent, openPipes, parentLogger } from '../../workers/worker/parent.ts'
import { reasonOf, takeConfig } from '../../workers/worker/worker-config.ts'
import load from '../modules/worker-app.ts'
import { DirectReports } from './reports.ts'
import type { DirectConfig } from './serve-directly.ts'

/** Time to finish open requests after losing the parent, in milliseconds. */
const ORPHAN_TIMEOUT = 10_000

/** Resolves with the time to finish open requests, in milliseconds. */
const stop: Deferred<number> = deferred()
const pipe = openPipes((frame) => {
  const order = parseOrder(frame)
  if (order.order === 'stop') stop.resolve(order.timeout)
  else if (order.order === 'ping' && server !== undefined) reports.tell(server.stats())
  else if (order.order === 'connections') tell({ news: 'connections', connections: server?.connections() ?? [] })
})
void pipe.closed.then(() => stop.resolve(ORPHAN_TIMEOUT))
const tell = (news: News) => pipe.send([renderJson(news)])

leaveSignalsToParent()

const { data, options, logLevels } = takeConfig<DirectConfig>()
const logger = parentLogger(logLevels, tell)
const reports = new DirectReports(pipe)
let server: ReturnType<typeof serveSettings> | undefined
server = await serve()
if (server === undefined) {
  await pipe.end()
  process.exit(1)
}
tell({ news: 'loaded' })
const leave = (reason: string) => tell({ news: 'leaving', reason })
process.on('SIGTERM', () => leave('it got SIGTERM'))
leaveAfterUncaughtError(logger, leave)
server.ready.then(
  () => tell({ news: 'serves' }),
  () => {}, // it was closed first
)
await server.close({ timeout: await stop.promise })
await pipe.end()
process.exit(0)

/** Loads and serves the app; reports it and returns undefined if the app cannot be loaded. */
async function serve(): Promise<ReturnType<typeof serveSettings> | undefined> {
  if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
  try {
    const app = await load(data)
    const settings = checkOptions(app.handler, { ...options, logger, ...app.options })
    return serveSettings(settings, reports.sinkFor(settings))
  } catch (error) {
    tell({ news: 'failed', reason: reasonOf(error) })
    return undefined
  }
}
