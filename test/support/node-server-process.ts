// The process of `startNodeServer`.

import { once } from 'node:events'
import { createAdaptorServer } from '@hono/node-server'

const [module = '', overrideGlobalObjects] = process.argv.slice(2)
// It rejects without anybody waiting where Node refuses a response's headers; what its client sees is still of interest.
process.on('unhandledRejection', (error) => console.error(error))
process.on('disconnect', () => process.exit()) // also when the test run is killed

const { default: handler } = await import(module)
const server = createAdaptorServer({
  fetch: handler.fetch,
  overrideGlobalObjects: overrideGlobalObjects === 'true',
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.send?.(server.address())
