import { announce, options } from './child.mjs'

// Before the app is loaded, so that it meets no other classes.
if (options.overrideGlobalObjects) await import('mongrel2-fetch/quick-objects')
const { serveMongrel2 } = await import('mongrel2-fetch')
const { app } = await import('./served.mjs')

const server = serveMongrel2(app, options)
await server.ready
announce()
