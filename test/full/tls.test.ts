import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import type { LinkOption } from '../../src/index.ts'
import { makeCertificate } from '../support/certificate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { residentBytes } from '../support/memory.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { PACING_MODES } from '../support/pacing-modes.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { ServerProcess } from '../support/server-process.ts'
import { SlowClient } from '../support/slow-client.ts'
import { steadyDigest } from '../support/steady-body.ts'
import { still } from '../support/still.ts'
import { exchangeMessages, PACINGS } from '../support/websocket-volume.ts'
import app from './streams/app.ts'

const KIB = 1024
const MIB = 1024 * KIB
const STREAMS = new URL('streams/app.ts', import.meta.url)
const LINKS: readonly LinkOption[] = ['zmtp', 'zeromq']
const certificate = makeCertificate()
const tls = { ca: certificate.cert }

describe.each(LINKS)('By TLS and by the link %s', (link) => {
  describe.each(PACING_MODES)('paced by $mode', ({ mode, config, zeromq }) => {
    it('32 MiB in chunks of 1 KiB reach a quick client and one that reads 2 MiB a second intact', async () => {
      await using mongrel2 = await startMongrel2({ certificate, ...config })
      const logger = new CollectingLogger()
      await using server = serveMongrel2(app, {
        zeromq: zeromq(mongrel2),
        link,
        logger,
        minClientRate: MIB,
        maxBufferedBytes: 64 * MIB,
      })
      await server.ready
      using quick = new SlowClient(mongrel2.port, { tls })
      // By estimate it must not be slower than minClientRate, however busy this machine is.
      using slow = new SlowClient(mongrel2.port, { tls, rate: 2 * MIB })
      const answers = [quick, slow].map((client) => client.get(`/${32 * MIB}/${KIB}`).response())
      const sha256 = steadyDigest(32 * MIB, KIB)
      for (const answer of answers) expect(await answer).toMatchObject({ status: 200, bytes: 32 * MIB, sha256 })
      expect(logger.lines).toEqual([])
    })

    it('clients that stop reading fill neither Mongrel2 nor the handler', async () => {
      const CLIENTS = 8
      const size = 40 * MIB
      await using mongrel2 = await startMongrel2({ certificate, ...config })
      await using server = await ServerProcess.start(STREAMS, { zeromq: zeromq(mongrel2), link })
      const before = residentBytes(mongrel2.pid)
      const clients: SlowClient[] = []
      for (let n = 0; n < CLIENTS; n++) {
        const client = new SlowClient(mongrel2.port, { tls, receiveBuffer: KIB }).get(`/${size}/${64 * KIB}`)
        await expect.poll(() => client.bytes, { interval: 1 }).toBeGreaterThan(0)
        clients.push(client.stop())
      }
      await still(async () => (await server.report()).stats.bytesOut, 1500)
      const { stats, heap } = await server.report({ collect: true })
      expect(stats.pacing).toMatchObject({ [mode]: CLIENTS })
      expect(stats.bytesOut).toBeLessThan((CLIENTS * size) / 2)
      expect(residentBytes(mongrel2.pid) - before).toBeLessThan(CLIENTS * 20 * MIB)
      expect(heap).toBeLessThan(CLIENTS * 10 * MIB + 64 * MIB)
      for (const client of clients) client.resume()
      // By estimate the rest comes at minClientRate, since nothing tells that it is read.
      if (mode === 'estimate') return
      const sha256 = steadyDigest(size, 64 * KIB)
      for (const client of clients) expect(await client.response()).toMatchObject({ bytes: size, sha256 })
    })
  })

  it.each(['file', 'stream'] as const)('100 MB arrive whole with uploads: %s', async (uploads) => {
    await using mongrel2 = await startMongrel2({ certificate, uploads })
    await using server = serveMongrel2(
      async (request) => {
        const hash = createHash('sha256')
        for await (const piece of request.body ?? []) hash.update(piece)
        return new Response(hash.digest('hex'))
      },
      { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, link },
    )
    await server.ready
    const piece = Buffer.alloc(MIB, 'a piece of a body ')
    const headers = { 'content-length': 100 * MIB }
    const sending = request({ host: '127.0.0.1', port: mongrel2.port, method: 'POST', headers, ...tls })
    const expected = createHash('sha256')
    for (let n = 0; n < 100; n++) {
      expected.update(piece)
      if (!sending.write(piece)) await once(sending, 'drain')
    }
    const [response] = await Promise.all([once(sending, 'response'), sending.end()])
    expect(await text(response[0])).toBe(expected.digest('hex'))
  })

  it('200 clients at once get 1 MiB each, every byte right', async () => {
    await using mongrel2 = await startMongrel2({ certificate, flowControl: true })
    await using server = await ServerProcess.start(STREAMS, { zeromq: mongrel2.endpoint, link })
    const clients = Array.from({ length: 200 }, () => new SlowClient(mongrel2.port, { tls }))
    const answers = clients.map((client) => client.get(`/${MIB}/4096`).response())
    const sha256 = steadyDigest(MIB, 4096)
    for (const answer of answers) expect(await answer).toMatchObject({ status: 200, bytes: MIB, sha256 })
    for (const client of clients) client.destroy()
    await expect.poll(async () => (await server.report()).stats.connections).toBe(0)
  })

  it.each(PACINGS)('5,000 messages each way of a WebSocket arrive whole and in order, paced by %s', async (pacing) => {
    const { arrived, sent } = await exchangeMessages(5000, pacing, { certificate, link })
    expect(arrived).toEqual(sent)
  })
})
