import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { BrokenResponseError, RawClient } from '../support/raw-client.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const CLIENTS = 64
const DURATION = 30_000
/** How long a request may take to end, in milliseconds. That is not how long it should: the machine may be busy. */
const HANGS = 15_000

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

type Outcome = 'answered' | 'refused' | 'closed' | 'wrong' | 'hangs'

/** What became of the requests of many clients for a while, some on kept connections, some streamed, some stored. */
async function load(duration: number): Promise<Record<Outcome, number>> {
  const outcomes: Record<Outcome, number> = { answered: 0, refused: 0, closed: 0, wrong: 0, hangs: 0 }
  const until = performance.now() + duration
  const run = async (number: number) => {
    let client = new RawClient(mongrel2.port)
    for (let count = 0; performance.now() < until; count++) {
      const outcome = await Promise.race([ask(client, number, count), sleep(HANGS, 'hangs' as const, { ref: false })])
      outcomes[outcome]++
      if (outcome === 'answered') continue
      client.destroy()
      client = new RawClient(mongrel2.port)
    }
    client.destroy()
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => run(number)))
  return outcomes
}

async function ask(client: RawClient, number: number, count: number): Promise<Outcome> {
  const name = `/${number}-${count}`
  const body = Buffer.alloc(30_000, name)
  const kind = number % 4
  if (kind === 0) client.send(`POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n`).send(body)
  else if (kind === 1) client.send('GET /stream?count=3&ms=5 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  else client.send(`GET ${name} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  try {
    const response = await client.response()
    if (response.status === 502 || response.status === 503) return 'refused'
    const text = response.body.toString()
    const right =
      kind === 0 ? response.body.equals(body) : kind === 1 ? /^(\d+) 0\n\1 1\n\1 2\n$/.test(text) : text === name
    return right && response.status === 200 ? 'answered' : 'wrong'
  } catch (error) {
    if (error instanceof BrokenResponseError) return error.body.includes('HTTP/1.1') ? 'wrong' : 'closed'
    throw error
  }
}

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
  const outcomes = await load(DURATION)
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
  const outcomes = await load(DURATION)
  done.abort()
  const reloads = await reloading
  console.log({ reloads, ...outcomes })
  expect(outcomes).toEqual({ answered: outcomes.answered, refused: 0, closed: 0, wrong: 0, hangs: 0 })
  expect(reloads).toBeGreaterThan(1)
  expect(logger.errors).toEqual([])
  await expect.poll(() => server.stats().connections, { timeout: 10_000 }).toBe(0)
}, 180_000)
