import { serveWithWorkers } from './serve-with-workers.ts'

// A dispatcher in a process of its own: says the process ids of its workers when it is ready.

const [zeromq = '', chroot = ''] = process.argv.slice(2)
const server = serveWithWorkers({ workers: 2, options: { zeromq, chroot } })
await server.ready
console.log(
  server
    .stats()
    .workers.map(({ pid }) => pid)
    .join(' '),
)
