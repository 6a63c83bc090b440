import { describeError } from '../../log.ts'
import { WORKER_VARIABLE, type WorkerConfig } from './config.ts'
import { Hub } from './hub.ts'

// The entry of a worker process. It ends when the dispatcher says so, or is gone.

const config: WorkerConfig = JSON.parse(process.env[WORKER_VARIABLE] ?? '')
delete process.env[WORKER_VARIABLE]

// A terminal and a service manager signal all processes; it is for the dispatcher to say what follows.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})

const hub = new Hub(config)
// Whoever starts it may go while it loads the app.
const loaded = await Promise.race([hub.start(), hub.ended.then(() => true)])
if (!loaded) process.exit(1)
process.on('SIGTERM', () => hub.leave('it got SIGTERM'))
process.on('uncaughtException', (error) => {
  hub.logger.error?.(`mongrel2-fetch: a worker leaves after an error that nobody caught: ${describeError(error)}`)
  hub.leave('of an error that nobody caught')
})
await hub.ended
process.exit(0)
