import { surviveLostOutput } from '../../log.ts'
import { WORKER_VARIABLE, type WorkerConfig } from './config.ts'
import { Hub } from './hub.ts'
import { leaveInDistress, leaveSignalsToParent } from './leaving.ts'

// The entry of a worker process. It ends when the dispatcher says so, or is gone.

const config: WorkerConfig = JSON.parse(process.env[WORKER_VARIABLE] ?? '')
delete process.env[WORKER_VARIABLE]

surviveLostOutput()
leaveSignalsToParent()

const hub = new Hub(config)
// Whoever starts it may go while it loads the app.
const loaded = await Promise.race([hub.start(), hub.ended.then(() => true)])
if (!loaded) process.exit(1)
leaveInDistress(hub.logger, (reason) => hub.leave(reason))
await hub.ended
process.exit(0)
