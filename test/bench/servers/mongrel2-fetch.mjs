import { serveMongrel2 } from 'mongrel2-fetch'
import { app } from './app.mjs'
import { announce, options } from './child.mjs'

const server = serveMongrel2(app, options)
await server.ready
announce()
