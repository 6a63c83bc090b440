// Serves an app in a process of its own: node --import tsx serve.ts SERVER APP [OPTIONS]. Tells its parent the app's requests, and the
// port if the server has one.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FetchHandler } from 'mongrel2-fetch'

interface App {
  fetch: FetchHandler
}

const SERVERS: Record<string, (app: App, options: string) => Promise<number | undefined>> = {
  async '@hono/node-server'(app) {
    const { createAdaptorServer } = await import('@hono/node-server')
    const server = createAdaptorServer({ fetch: app.fetch as never })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },
  async srvx(app) {
    const { serve } = await import('srvx/node')
    const server = serve({ fetch: app.fetch as never, port: 0, hostname: '127.0.0.1', silent: true })
    await server.ready()
    return Number(new URL(server.url ?? '').port)
  },
  async 'mongrel2-fetch'(app, options) {
    const { serveMongrel2 } = await import('mongrel2-fetch')
    await serveMongrel2(app, JSON.parse(options)).ready
    return undefined
  },
}

const [name = '', path = '', options = '{}'] = process.argv.slice(2)
process.on('disconnect', () => process.exit()) // also when the test run is killed
const { default: app, exchanges } = await import(pathToFileURL(resolve(path)).href)
const port = await SERVERS[name]?.(typeof app === 'function' ? { fetch: app } : app, options)
process.send?.({ port, exchanges })
