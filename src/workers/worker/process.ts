import { surviveLostOutput } from '../../runtime/log.ts'
import { WORKER_VARIABLE, type WorkerConfig } from './config.ts'
import { Hub } from './hub.ts'
import { leaveAfterUncaughtError, leaveOnSigterm, leaveSignalsToParent } from './leaving.ts'

// The entry of a worker process. It ends when the dispatcher says so, or is gone.
// If the dispatcher is gone before the worker has connected, the worker ends and prints nothing.

const config: WorkerConfig = JSON.parse(process.env[WORKER_VARIABLE] ?? '')
delete process.env[WORKER_VARIABLE]

surviveLostOutput()
leaveSignalsToParent()

const hub = new Hub(config)
// Whoever starts it may go while it loads the app.
const loaded = await Promise.race([hub.start(), hub.ended.then(() => true)])
if (!loaded) process.exit(1)
const leave = (reason: string) => hub.leave(reason)
leaveOnSigterm(leave)
leaveAfterUncaughtError(hub.logger, leave)
await hub.ended
process.exit(0)
