import { leaveAfterUncaughtError, leaveSignalsToParent } from './parent.ts'
import { takeConfig, type WorkerConfig } from './worker-config.ts'
import { WorkerMain } from './worker-main.ts'

// The entry of a worker process. It ends when the dispatcher orders that, or is gone.

leaveSignalsToParent()

const main = new WorkerMain(takeConfig<WorkerConfig>())
// The dispatcher may end while the app loads.
const loaded = await Promise.race([main.start(), main.ended.then(() => true)])
if (!loaded) process.exit(1)
process.on('SIGTERM', () => main.leave('it got SIGTERM'))
leaveAfterUncaughtError(main.logger, (reason) => main.leave(reason))
await main.ended
process.exit(0)
