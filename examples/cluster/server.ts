// A cluster of two nodes on one machine: this process is the main node, and it starts a second one. Each has a worker that answers.
// Start: npm start -- cluster. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/cluster/server.ts
// Look at: curl http://127.0.0.1:6767/ names the node that answers; each new connection goes to the node with less to do. The example
// prints a command by which a third node joins, in another terminal. Stop that one with Ctrl-C: no request fails.

import { fork } from 'node:child_process'
import { serveWithWorkers } from 'mongrel2-fetch'

const CLUSTER = process.env.CLUSTER ?? 'tcp://127.0.0.1:1717'

// On several machines: listen at tcp://0.0.0.0:1717, make keys by `npx mongrel2-fetch keygen`, and give `keys` and `nodes` here.
const server = serveWithWorkers({
  app: { module: new URL('app.ts', import.meta.url).href },
  workers: 1,
  cluster: { listen: CLUSTER },
  options: {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
  },
})
const node = fork(new URL('node.ts', import.meta.url), { env: { ...process.env, CLUSTER, NODE_NAME: 'second' } })

server.ready.then(
  () =>
    console.log(
      `Attached to Mongrel2. Another node: NODE_NAME=third CLUSTER=${CLUSTER} npx tsx examples/cluster/node.ts`,
    ),
  (error) => console.error(error.message),
)
// The node leaves first, then the main node answers what is left, and ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    node.once('exit', () => void server.close())
    if (node.connected) node.disconnect()
    else void server.close()
  })
}
