// A plain function behind Mongrel2: the shortest program.
// Start: npm start -- plain. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/plain.ts
// Look at: curl http://127.0.0.1:6767/ greets you by your address.

import { serveMongrel2 } from 'mongrel2-fetch'

const server = serveMongrel2(
  (request, env) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/') return new Response(`Hello, ${env.mongrel2.remoteAddress}!\n`)
    return new Response('Not Found\n', { status: 404 })
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
  },
)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())
