// The embedded front in the place of Mongrel2, with the routes of examples/mongrel2.conf: for development where Mongrel2 cannot be had.
// Start: npm start, which uses it where Mongrel2 cannot be installed. By hand: npm run build, node examples/front.mjs, and an example beside it.
// Look at: http://127.0.0.1:6767/ answers as the example does; the first line of its log says what the front is.

import { createFront } from 'mongrel2-fetch/front'

const route = (path, endpoint, protocol) => {
  const [sendSpec, recvSpec] = endpoint.split(',')
  return { path, sendSpec, recvSpec, protocol }
}

const front = await createFront({
  port: Number(process.env.PORT ?? 6767),
  routes: [
    route('/', process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998', 'json'),
    route('/tnet/', process.env.ZEROMQ_TNET ?? 'tcp://127.0.0.1:9997,tcp://127.0.0.1:9996', 'tnetstring'),
  ],
})

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void front.close())
