// The process of `startSoakServer`: its memory is that of the server and the app alone.

import { type EndpointOptions, type Mongrel2Statistics, serveMongrel2 } from '../../src/index.ts'
import { SoakApp } from './app.ts'

/** What the server says about itself. */
export interface Measures {
  /** Bytes of resident memory, after a garbage collection. */
  readonly rss: number
  readonly running: number
  readonly statistics: Mongrel2Statistics
  /** The lines it has logged, the numbers in them left out, and how often. */
  readonly log: Record<string, number>
}

/** Milliseconds; shorter than the default, so that a short run has many and the end does not wait for one. */
const KEEP_ALIVE_INTERVAL = 2000

const endpoints: EndpointOptions[] = JSON.parse(process.argv[2] ?? '')
const log: Record<string, number> = {}
const count = (line: string) => {
  const form = line.replace(/\d+/g, 'N').replace(/ipc:\/\/[^ :]+/g, 'ipc')
  log[form] = (log[form] ?? 0) + 1
}
const app = new SoakApp()
const server = serveMongrel2(app, {
  zeromq: endpoints,
  keepAliveInterval: KEEP_ALIVE_INTERVAL,
  logger: { warn: count, error: count },
})
process.on('message', () => {
  globalThis.gc?.()
  const measures: Measures = {
    rss: process.memoryUsage.rss(),
    running: app.running,
    statistics: server.stats(),
    log,
  }
  process.send?.(measures)
})
process.on('disconnect', () => process.exit()) // also when the soak is killed
await server.ready
process.send?.('ready')
