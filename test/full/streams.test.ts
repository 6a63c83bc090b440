import { setTimeout as sleep } from 'node:timers/promises'
import { fetch } from 'undici'
import { describe, expect, it } from 'vitest'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { PACING_MODES, type PacingModeCase, pacedBy } from '../support/pacing-modes.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { ServerProcess } from '../support/server-process.ts'
import { SlowClient } from '../support/slow-client.ts'
import { steadyDigest } from '../support/steady-body.ts'
import app from './streams/app.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const APP = new URL('streams/app.ts', import.meta.url)

describe.each(PACING_MODES)('paced by $mode', ({ mode, config, zeromq }) => {
  it('32 MiB in chunks of 1 KiB reach a quick client and one that reads 1 MiB a second intact', async () => {
    await using mongrel2 = await startMongrel2(config)
    const logger = new CollectingLogger()
    // By estimate, 32 MiB arrive in time, and without a warning, only if clients are known to read as much, and the rest may wait here.
    await using server = serveMongrel2(app, {
      zeromq: zeromq(mongrel2),
      logger,
      minClientRate: MIB,
      maxBufferedBytes: 64 * MIB,
    })
    await server.ready
    using quick = new SlowClient(mongrel2.port)
    using slow = new SlowClient(mongrel2.port, { rate: MIB })
    const answers = [quick, slow].map((client) => client.get(`/${32 * MIB}/${KIB}`).response())
    await expect.poll(() => server.stats().pacing).toEqual(pacedBy(mode, 2))
    const sha256 = steadyDigest(32 * MIB, KIB)
    for (const answer of answers) expect(await answer).toMatchObject({ status: 200, bytes: 32 * MIB, sha256 })
    expect(logger.lines).toEqual([])
  }, 120_000)

  // Twenty minutes with an event a second are 1,200 events; these are as many turns of the same wheel in a tenth of the time.
  it('a trickle of 1,200 events arrives event by event: each is read before the next is produced', async () => {
    const EVENTS = 1200
    await using mongrel2 = await startMongrel2(config)
    const gate = new Gate()
    const trickle = () =>
      new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            for (let event = 0; event < EVENTS; event++) {
              await gate.pass(String(event))
              controller.enqueue(Buffer.from(`data: ${event}\n\n`))
            }
            controller.close()
          },
        },
        { highWaterMark: 0 },
      )
    await using server = serveMongrel2(() => new Response(trickle()), { zeromq: zeromq(mongrel2) })
    await server.ready
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}/`)
    expect(server.stats().pacing).toEqual(pacedBy(mode, 1))
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (let event = 0; event < EVENTS; event++) {
      await gate.arrival(String(event))
      gate.open(String(event))
      let text = ''
      while (!text.endsWith('\n\n')) text += Buffer.from((await reader.read()).value ?? []).toString()
      expect(text).toBe(`data: ${event}\n\n`)
      await sleep(30)
    }
    expect(await reader.read()).toMatchObject({ done: true })
  }, 180_000)
})

describe.each(PACING_MODES.filter(({ mode }) => mode !== 'controlPort'))(
  'paced by $mode',
  ({ mode, config, zeromq }) => {
    it('500 clients at once get 1 MiB each, every byte right', async () => {
      const CLIENTS = 500
      await using mongrel2 = await startMongrel2(config)
      await using server = await ServerProcess.start(APP, { zeromq: zeromq(mongrel2) })
      const clients = Array.from({ length: CLIENTS }, () => new SlowClient(mongrel2.port))
      const answers = clients.map((client) => client.get(`/${MIB}/${4 * KIB}`).response())
      await expect.poll(async () => (await server.report()).stats.pacing[mode]).toBeGreaterThan(0)
      const sha256 = steadyDigest(MIB, 4 * KIB)
      for (const answer of answers) expect(await answer).toMatchObject({ status: 200, bytes: MIB, sha256 })
      expect((await server.report()).stats).toMatchObject({ requests: CLIENTS, rejected: 0 })
      for (const client of clients) client.destroy()
      await expect.poll(async () => (await server.report()).stats.connections).toBe(0)
    }, 120_000)
  },
)

it('1 GiB to one client with credits adds less than 32 MiB to what the server keeps in memory', async () => {
  const [{ config, zeromq }] = PACING_MODES as [PacingModeCase]
  await using mongrel2 = await startMongrel2(config)
  await using server = await ServerProcess.start(APP, { zeromq: zeromq(mongrel2) })
  using client = new SlowClient(mongrel2.port, { receiveBuffer: 64 * KIB })
  await client.get(`/${32 * MIB}/${16 * KIB}`).response()
  const before = (await server.report()).rss
  const answer = client.get(`/${GIB}/${16 * KIB}`).response()
  let most = 0
  let done = false
  const watch = (async () => {
    while (!done) {
      most = Math.max(most, (await server.report()).rss)
      await sleep(200)
    }
  })()
  expect(await answer).toMatchObject({ status: 200, bytes: GIB, sha256: steadyDigest(GIB, 16 * KIB) })
  done = true
  await watch
  expect(most - before).toBeLessThan(32 * MIB)
}, 300_000)
