import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import type { LinkOption, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import app from '../full/streams/app.ts'
import { lacks } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { residentBytes } from '../support/memory.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { pacedBy } from '../support/pacing-modes.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'
import { ServerProcess } from '../support/server-process.ts'
import { SlowClient } from '../support/slow-client.ts'
import { steadyDigest } from '../support/steady-body.ts'
import { still } from '../support/still.ts'

const KIB = 1024
const MIB = 1024 * KIB
const APP = new URL('../full/streams/app.ts', import.meta.url)
const CLIENTS = 8
const SIZE = 40 * MIB
const CHUNK = 64 * KIB
const STREAM = `/${SIZE}/${CHUNK}`
const WHOLE = { status: 200, bytes: SIZE, sha256: steadyDigest(SIZE, CHUNK) }
/** What Mongrel2 may grow by where its control port tells: 4 MiB for each connection, copied once or twice, of the 40 that it would take. */
const BY_CONTROL_PORT = CLIENTS * 10 * MIB

const open: (Disposable | AsyncDisposable | (() => Promise<void>))[] = []

afterEach(async () => {
  for (const each of open.splice(0).reverse()) {
    if (typeof each === 'function') await each()
    else if (Symbol.dispose in each) each[Symbol.dispose]()
    else await each[Symbol.asyncDispose]()
  }
})

async function start(options: Mongrel2TestOptions = {}): Promise<Mongrel2> {
  const mongrel2 = await startMongrel2(options)
  open.push(mongrel2)
  return mongrel2
}

async function serve(mongrel2: Mongrel2, options: Partial<Mongrel2Options> = {}): Promise<Mongrel2Server> {
  const server = serveMongrel2(app, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, ...options })
  open.push(() => server.close({ timeout: 0 }))
  await server.ready
  return server
}

async function serveByWorkers(
  mongrel2: Mongrel2,
  threads: number,
  options: Partial<Mongrel2Options> = {},
): Promise<WorkersServer> {
  const server = serveWithWorkers({
    workers: 2,
    threads,
    app: { module: new URL('../support/stream-app.ts', import.meta.url).href },
    options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, ...options },
  })
  open.push(() => server.close({ timeout: 0 }))
  await server.ready
  return server
}

function connect({ port }: Mongrel2): SlowClient {
  const client = new SlowClient(port)
  open.push(client)
  return client
}

/** Clients that have asked for a stream and do not read. */
function connectWithoutReading(mongrel2: Mongrel2, count = CLIENTS): SlowClient[] {
  return Array.from({ length: count }, () => connect(mongrel2).stop().get(STREAM))
}

/** Reads all of what the clients have asked for. */
async function expectWhole(clients: readonly SlowClient[]): Promise<void> {
  for (const client of clients) client.resume()
  for (const client of clients) expect(await client.response()).toMatchObject(WHOLE)
}

/** With FULL=1 all of it; the suite of every day has one case of each kind. */
const full = process.env.FULL === '1'
const LINKS: readonly LinkOption[] = full ? ['zmtp', 'zeromq'] : [process.env.LINK === 'zeromq' ? 'zeromq' : 'zmtp']

describe.skipIf(lacks('control port'))('Clients that do not read', () => {
  it.each<LinkOption>(LINKS)(
    'fill neither Mongrel2 nor the handler, by a control port that nobody has named, on %s',
    async (link) => {
      const mongrel2 = await start()
      const server = await ServerProcess.start(APP, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, link })
      open.push(server)
      const before = { mongrel2: residentBytes(mongrel2.pid), heap: (await server.report({ collect: true })).heap }
      const clients = connectWithoutReading(mongrel2)
      await expect.poll(async () => (await server.report()).stats.pacing).toEqual(pacedBy('controlPort', CLIENTS))
      await still(async () => (await server.report()).stats.bytesOut, 1500)
      const { heap } = await server.report({ collect: true })
      expect(residentBytes(mongrel2.pid) - before.mongrel2).toBeLessThan(BY_CONTROL_PORT)
      expect(heap - before.heap).toBeLessThan(CLIENTS * 9 * MIB)
      await expectWhole(clients)
    },
  )

  it.each(
    [
      [2, 2, 'found'],
      [2, 1, 'found'],
      [2, 1, 'named'],
    ].slice(0, full ? 3 : 1) as [number, number, string][],
  )(
    'are paced by the control port, served by %d workers with %d threads, and get all of it later, where it was %s',
    async (_, threads, how) => {
      const mongrel2 = await start()
      const { endpoint, controlPort } = mongrel2
      const zeromq = how === 'named' ? `${endpoint},${controlPort}` : endpoint
      const server = await serveByWorkers(mongrel2, threads, { zeromq })
      const before = residentBytes(mongrel2.pid)
      const clients = connectWithoutReading(mongrel2)
      await expect.poll(() => server.stats().pacing, { timeout: 10_000 }).toEqual(pacedBy('controlPort', CLIENTS))
      await still(() => residentBytes(mongrel2.pid), 1500)
      expect(residentBytes(mongrel2.pid) - before).toBeLessThan(BY_CONTROL_PORT)
      await expectWhole(clients)
    },
  )
})

describe.skipIf(lacks('control port'))('A control port that nobody has named', () => {
  it.each([
    ['first', false],
    ['second', true],
  ])('is used for a connection whose %s request is large', async (_which, second) => {
    const mongrel2 = await start()
    const server = await serve(mongrel2)
    const client = connect(mongrel2)
    if (second) {
      await client.get('/1/1').response()
      // By now nothing is remembered of it.
      await expect.poll(() => server.stats().connections).toBe(0)
    }
    client.stop().get(STREAM)
    await expect.poll(() => server.stats().pacing).toEqual(pacedBy('controlPort', 1))
    expect(await still(() => server.stats().bytesOut)).toBeLessThan(16 * MIB)
    await expectWhole([client])
  })

  it('is used again when Mongrel2 was restarted', async () => {
    const mongrel2 = await start()
    const server = await serve(mongrel2)
    const clients = [connect(mongrel2).get(STREAM)]
    await expectWhole(clients)
    await mongrel2.restart()
    await expect
      .poll(async () => (await fetch(`http://127.0.0.1:${mongrel2.port}/1/1`)).status, { timeout: 10_000 })
      .toBe(200)
    const [client] = connectWithoutReading(mongrel2, 1) as [SlowClient]
    await expect.poll(() => server.stats().pacing.controlPort).toBe(1)
    await expectWhole([client])
  })

  it('is not looked for with controlPort: false', async () => {
    const mongrel2 = await start()
    const logger = new CollectingLogger()
    const server = await serve(mongrel2, { controlPort: false, logger })
    connectWithoutReading(mongrel2, 1)
    expect(await logger.next('warn')).toMatch(
      /slows a stream down .* download\.flow_control, or name its control port in zeromq$/,
    )
    expect(server.stats().pacing).toEqual(pacedBy('estimate', 1))
  })

  it('is not used if it is that of another Mongrel2, though that has the same connections with the same streams', async () => {
    const [mongrel2, other] = await Promise.all([start(), start()])
    const logger = new CollectingLogger()
    const server = await serve(mongrel2, { chroot: other.directory, logger })
    await serve(other)
    const found = /run\/control is not used: it is that of another Mongrel2\)/
    for (let round = 1; round <= 20 && !logger.warnings.some((line) => found.test(line)); round++) {
      const before = server.stats().bytesOut
      const [client] = [mongrel2, other].map((each) => connectWithoutReading(each, 1)[0]) as [SlowClient]
      await expect.poll(() => server.stats().bytesOut - before).toBeGreaterThanOrEqual(8 * MIB - KIB)
      expect(server.stats().pacing).toEqual(pacedBy('estimate', 1))
      // Whatever the other says of its own, which has no such connection any more.
      for (const each of open.splice(-1)) if (Symbol.dispose in each) each[Symbol.dispose]()
      await still(() => residentBytes(mongrel2.pid))
      expect(client.ended).toBe(false)
      client.destroy()
      await expect.poll(() => server.stats().connections).toBe(0)
    }
    expect(logger.warnings).toContainEqual(expect.stringMatching(found))
  })

  it.each([
    ['is not there', (path: string) => renameSync(path, `${path}.away`), 'it is not there'],
    ['has nobody who listens', leaveStale, 'it gives no answer'],
  ])('that %s is not used, which the warning says', async (_what, spoil, problem) => {
    const mongrel2 = await start()
    await spoil(join(mongrel2.directory, 'run/control'))
    const logger = new CollectingLogger()
    const server = await serve(mongrel2, { logger })
    const [client] = connectWithoutReading(mongrel2, 1) as [SlowClient]
    await expect
      .poll(() => logger.warnings, { timeout: 10_000 })
      .toContainEqual(expect.stringMatching(new RegExp(`slows a stream down .*run/control is not used: ${problem}\\)`)))
    expect(server.stats().pacing).toEqual(pacedBy('estimate', 1))
    client.resume()
    await expect.poll(() => client.bytes).toBeGreaterThan(7 * MIB)
  })
})

/** Puts a socket in a place that nobody listens at. */
async function leaveStale(path: string): Promise<void> {
  const listener = createServer().listen(`${path}.stale`)
  await once(listener, 'listening')
  renameSync(`${path}.stale`, path)
  listener.close()
  await once(listener, 'close')
}

describe('Where neither credits nor the control port tell', () => {
  const options = { controlPort: false }

  it.each<LinkOption>(LINKS)(
    'clients that do not read leave 8 MiB each in Mongrel2, and no more than maxWaitingBytes together, on %s',
    async (link) => {
      const mongrel2 = await start()
      const logger = new CollectingLogger()
      const server = await serve(mongrel2, { ...options, maxWaitingBytes: 48 * MIB, link, logger })
      const before = residentBytes(mongrel2.pid)
      const [first] = connectWithoutReading(mongrel2, 1) as [SlowClient]
      await expect.poll(() => server.stats().bytesOut).toBeGreaterThanOrEqual(8 * MIB)
      connectWithoutReading(mongrel2, CLIENTS - 1)
      // Each gets what sockets hold in any case, and then minClientRate.
      await expect.poll(() => server.stats().bytesOut).toBeGreaterThanOrEqual(48 * MIB)
      expect(await still(() => Math.floor(server.stats().bytesOut / (4 * MIB)))).toBe(12)
      expect(residentBytes(mongrel2.pid) - before).toBeLessThan(2 * 48 * MIB)
      expect(logger.warnings).toContainEqual(
        expect.stringMatching(/responses wait, .*maxWaitingBytes.* download\.flow_control, .* control port/),
      )
      first.destroy()
    },
  )

  it('small answers go out though all of maxWaitingBytes is taken, and a large one when those who took it have left', async () => {
    const mongrel2 = await start()
    const server = await serve(mongrel2, { ...options, maxWaitingBytes: 16 * MIB, logger: new CollectingLogger() })
    const slow = connectWithoutReading(mongrel2, 2)
    await expect.poll(() => server.stats().bytesOut).toBeGreaterThanOrEqual(16 * MIB)
    const client = connect(mongrel2)
    for (let n = 0; n < 10; n++) {
      expect(await client.get('/20000/20000').response()).toMatchObject({ status: 200, bytes: 20_000 })
    }
    const size = 4 * MIB
    const large = client.get(`/${size}/${CHUNK}`).response()
    await expect.poll(() => client.bytes).toBeGreaterThan(0)
    expect(client.bytes).toBeLessThan(MIB)
    for (const each of slow) each.destroy()
    expect(await large).toMatchObject({ status: 200, bytes: size, sha256: steadyDigest(size, CHUNK) })
  })

  it('what was published counts though the connection is closed behind it, until its client has read it', async () => {
    const mongrel2 = await start()
    const logger = new CollectingLogger()
    const server = await serve(mongrel2, { ...options, maxWaitingBytes: 16 * MIB, logger })
    const before = residentBytes(mongrel2.pid)
    const closing = Array.from({ length: 20 }, () =>
      connect(mongrel2)
        .stop()
        .send(`GET /${7 * MIB}/${CHUNK} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
    )
    await expect.poll(() => server.stats().bytesOut).toBeGreaterThanOrEqual(16 * MIB)
    expect(await still(() => Math.floor(server.stats().bytesOut / (4 * MIB)))).toBe(4)
    expect(residentBytes(mongrel2.pid) - before).toBeLessThan(3 * 16 * MIB)
    expect(closing.filter(({ ended }) => ended)).toEqual([])
  })

  it.each(
    [
      ['workers', 2],
      ['one process', undefined],
    ].slice(0, full ? 2 : 1) as [string, number | undefined][],
  )('what was read of a connection that was closed takes no room any more, by %s', async (_how, workers) => {
    const mongrel2 = await start()
    const limits = { ...options, maxWaitingBytes: (workers ?? 1) * 8 * MIB, logger: new CollectingLogger() }
    if (workers === undefined) await serve(mongrel2, limits)
    else await serveByWorkers(mongrel2, 1, limits)
    const size = 6 * MIB
    for (let n = 0; n < 4; n++) {
      const client = connect(mongrel2)
      client.send(`GET /${size}/${CHUNK} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      expect(await client.response()).toMatchObject({ status: 200, bytes: size })
    }
  })
})
