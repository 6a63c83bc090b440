import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { CLIENTS, loadWorkers } from '../support/load-workers.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const DURATION = 30_000

let mongrel2: Mongrel2
let server: WorkersServer
let logger: CollectingLogger

beforeEach(async () => {
  logger = new CollectingLogger()
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await server.close()
  await mongrel2.stop()
})

function start(workers: number): void {
  server = serveWithWorkers({
    workers,
    options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger },
  })
}

it('ends every request of 64 clients while a worker is killed every 200 ms', async () => {
  start(4)
  await server.ready
  const done = new AbortController()
  const killing = (async () => {
    let killed = 0
    while (!done.signal.aborted) {
      await sleep(200)
      const ready = server.stats().workers.filter(({ state }) => state === 'ready')
      const victim = ready[Math.floor(Math.random() * ready.length)]
      // One is left, so that there is something to be in the middle of.
      if (victim === undefined || ready.length < 2) continue
      process.kill(victim.pid, 'SIGKILL')
      killed++
    }
    return killed
  })()
  const outcomes = await loadWorkers(mongrel2.port, DURATION)
  done.abort()
  const killed = await killing
  console.log({ killed, ...outcomes })
  expect({ wrong: outcomes.wrong, hangs: outcomes.hangs }).toEqual({ wrong: 0, hangs: 0 })
  expect(killed).toBeGreaterThan(4)
  expect(outcomes.answered).toBeGreaterThan(CLIENTS)
  await expect.poll(() => server.stats().connections, { timeout: 10_000 }).toBe(0)
}, 120_000)

it('answers every request of 64 clients while the workers are reloaded every 2 s', async () => {
  start(2)
  await server.ready
  const done = new AbortController()
  const reloading = (async () => {
    let reloads = 0
    while (!done.signal.aborted) {
      await server.reload()
      reloads++
      await sleep(2000)
    }
    return reloads
  })()
  const outcomes = await loadWorkers(mongrel2.port, DURATION)
  done.abort()
  const reloads = await reloading
  console.log({ reloads, ...outcomes })
  expect(outcomes).toEqual({ answered: outcomes.answered, refused: 0, closed: 0, wrong: 0, hangs: 0 })
  expect(reloads).toBeGreaterThan(1)
  expect(logger.errors).toEqual([])
  await expect.poll(() => server.stats().connections, { timeout: 10_000 }).toBe(0)
}, 180_000)
