import { serveWithWorkers } from './serve-with-workers.ts'

// A program with workers that says when it has started them and when they are ready, and handles no signal.

const [zeromq = '', chroot = '', threads = '1'] = process.argv.slice(2)
const server = serveWithWorkers({ workers: 2, threads: Number(threads), options: { zeromq, chroot } })
console.log('begun')
await server.ready
console.log('ready')
