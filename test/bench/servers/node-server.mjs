import { once } from 'node:events'
import { createAdaptorServer } from '@hono/node-server'
import { announce, options } from './child.mjs'
import { app } from './served.mjs'

const { socket, overrideGlobalObjects } = options
const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects })
// nginx's worker is another user.
if (socket === undefined) server.listen(0, '127.0.0.1')
else server.listen({ path: socket, readableAll: true, writableAll: true })
await once(server, 'listening')
announce(server.address().port)
