import { app } from './app.mjs'
import { announce } from './child.mjs'

const server = Deno.serve({ port: 0, hostname: '127.0.0.1', onListen() {} }, app.fetch)
announce(server.addr.port)
