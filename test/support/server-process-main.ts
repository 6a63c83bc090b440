// The process of `ServerProcess`.

import { serveMongrel2 } from './serve.ts'

const [module = '', options = ''] = process.argv.slice(2)
process.on('disconnect', () => process.exit()) // also when the test run is killed

const { default: handler } = await import(module)
const server = serveMongrel2(handler, JSON.parse(options))
await server.ready
process.on('message', ({ collect }: { collect: boolean }) => {
  if (collect) globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const peak = process.resourceUsage().maxRSS * 1024
  process.send?.({ stats: server.stats(), rss, peak, heap: heapUsed + external })
})
process.send?.('ready')
