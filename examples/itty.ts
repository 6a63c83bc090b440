// An itty-router app behind Mongrel2, which answers with JSON.
// Start: npm start -- itty. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/itty.ts
// Look at: http://127.0.0.1:6767/hello/you, or: curl -d '[1, 2, 3.5]' http://127.0.0.1:6767/sum

import { AutoRouter, error, type IRequest } from 'itty-router'
import { type Mongrel2Env, serveMongrel2 } from 'mongrel2-fetch'

const router = AutoRouter()

router
  // What is not a Response becomes JSON.
  .get('/', (_request: IRequest, env: Mongrel2Env) => ({ hello: env.mongrel2.remoteAddress }))
  .get('/hello/:name', ({ params }: IRequest) => ({ hello: params.name }))
  .post('/sum', async (request: IRequest) => {
    const numbers: unknown = await request.json()
    if (!Array.isArray(numbers)) return error(400, 'A list of numbers was expected.')
    return { sum: numbers.reduce((sum: number, number) => sum + Number(number), 0) }
  })

// The router is an object with a fetch method: all it takes.
const server = serveMongrel2(router, {
  zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  // The directory of Mongrel2, where it puts large bodies.
  chroot: process.env.CHROOT ?? '.',
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())
