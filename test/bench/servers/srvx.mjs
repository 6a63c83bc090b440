import { FastResponse, serve } from 'srvx'
import { app } from './app.mjs'
import { announce } from './child.mjs'

// Its lightweight Response, which an app has to ask for.
globalThis.Response = FastResponse
const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1', silent: true })
await server.ready()
announce(Number(new URL(server.url).port))
