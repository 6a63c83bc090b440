import { serveWithWorkers } from './serve-with-workers.ts'

// A dispatcher in a process of its own: says the process ids of its workers when it is ready. It may be the main node of a cluster.

const [zeromq = '', chroot = '', workers = '2', cluster] = process.argv.slice(2)
const server = serveWithWorkers({
  workers: Number(workers),
  options: { zeromq, chroot },
  ...(cluster === undefined ? {} : { cluster: JSON.parse(cluster) }),
})
await server.ready
console.log(
  server
    .stats()
    .workers.map(({ pid }) => pid)
    .join(' '),
)
