// Serves the app of the tests of async contexts by the library. MODULE is the package, OPTIONS those of serveMongrel2 as JSON.

import fetch, { options } from './app.mjs'

const { serveMongrel2 } = await import(process.env.MODULE)
const server = serveMongrel2(fetch, { ...JSON.parse(process.env.OPTIONS), ...options })
await server.ready
console.log('mongrel2-fetch serves')
