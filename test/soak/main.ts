// npm run soak [-- --minutes 5] [--markdown]
//
// Mixed traffic against real Mongrel2s, each set up in another way and restarted now and then, all served by one process. Every byte
// is checked. Ends in a table; exits with 1 unless nothing was lost, wrong, hung or left over.

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { showProgress } from '../../examples/progress.mjs'
import { runClient } from './client.ts'
import { Front, type FrontSetup } from './front.ts'
import { holds, renderTable, rowsOf } from './report.ts'
import { type SoakServer, startSoakServer } from './server.ts'
import type { Measures } from './server-process.ts'
import { Tally } from './tally.ts'

const SETUPS: readonly FrontSetup[] = (['credits', 'controlPort', 'estimate'] as const).flatMap((pacing) => [
  { pacing, uploads: 'file' },
  { pacing, uploads: 'stream' },
])
/** Clients of each Mongrel2. */
const CLIENTS = 6
/** Milliseconds between two restarts; each of the Mongrel2s lives six times as long. */
const RESTART_EVERY = 8000
/** The part of the time after which the memory is measured first. */
const WARM_UP = 0.2
const MOST_REQUESTS = 5_000_000
/** Milliseconds in which the server has to find out that all clients are gone. */
const QUIET_WITHIN = 60_000

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, markdown: { type: 'boolean', default: false } },
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error(`--minutes: expected a number over 0, got ${values.minutes}`)

const tally = new Tally()
const progress = showProgress(`Traffic for ${minutes} min`)
const fronts = await Promise.all(SETUPS.map((setup) => Front.start(setup)))
const server = await startSoakServer(fronts.map((front) => front.endpoint))
let restarts = 0
try {
  await phase(0, WARM_UP)
  const start = await quiet(server)
  await phase(WARM_UP, 1)
  const end = await quiet(server)
  const filesLeft = (await Promise.all(fronts.map((front) => front.filesLeft()))).reduce((sum, count) => sum + count, 0)
  const outcome = { tally, minutes, start, end, filesLeft }
  progress.end()
  console.log(renderTable(rowsOf(outcome), values.markdown))
  for (const note of tally.notes) console.error(note)
  if (!holds(outcome)) process.exitCode = 1
  if (!values.markdown) console.error(end.statistics, end.log)
} finally {
  progress.end()
  await server.stop()
  await Promise.all(fronts.map((front) => front.stop()))
}

/** Traffic from one part of the time to another; resolves when the last client has left. */
async function phase(from: number, to: number): Promise<void> {
  const stop = new AbortController()
  const milliseconds = minutes * 60_000 * (to - from)
  const begun = performance.now()
  const timer = setTimeout(() => stop.abort(), milliseconds)
  const look = setInterval(() => {
    if (tally.requests >= MOST_REQUESTS) stop.abort()
    const part = from + Math.min(1, (performance.now() - begun) / milliseconds) * (to - from)
    const { requests, lost, wrong, hung } = tally
    progress.at(part, `${requests} requests, ${lost} lost, ${wrong} wrong, ${hung} hung`)
  }, 1000)
  const clients = fronts.flatMap((front) => Array.from({ length: CLIENTS }, () => runClient(front, tally, stop.signal)))
  await Promise.all([...clients, restartFronts(stop.signal)])
  clearTimeout(timer)
  clearInterval(look)
}

async function restartFronts(stop: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(RESTART_EVERY, undefined, { signal: stop }).catch(() => {}) // stopped
    if (stop.aborted) return
    const round = Math.floor(restarts / fronts.length)
    const signal = (restarts + round) % 2 === 0 ? 'SIGKILL' : 'SIGTERM'
    tally.inject(signal === 'SIGKILL' ? 'Mongrel2 killed (SIGKILL)' : 'Mongrel2 terminated (SIGTERM)')
    await fronts[restarts++ % fronts.length]?.restart(signal)
  }
}

/** What the server measures when it has nothing left to do, or has not come to that in time. */
async function quiet(server: SoakServer): Promise<Measures> {
  const deadline = performance.now() + QUIET_WITHIN
  for (;;) {
    const measures = await server.measure()
    const { running, statistics } = measures
    if ((running === 0 && statistics.connections === 0) || performance.now() > deadline) return measures
    await sleep(500)
  }
}
