import { app } from './app.mjs'
import { announce } from './child.mjs'

const server = Bun.serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
announce(server.port)
