import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ConnectionOptions } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import {
  type EndpointInput,
  type FetchHandler,
  type LinkOption,
  type Mongrel2Options,
  type Mongrel2Server,
  upgradeWebSocket,
} from '../../src/index.ts'
import streamApp from '../full/streams/app.ts'
import { makeCertificate, sha1Of } from '../support/certificate.ts'
import { embedded } from '../support/embedded.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { PACING_MODES, pacedBy } from '../support/pacing-modes.ts'
import { get, headerOf, RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { SlowClient } from '../support/slow-client.ts'
import { steadyDigest } from '../support/steady-body.ts'

const KIB = 1024
const MIB = 1024 * KIB
/** With FULL=1 both. */
const LINKS: readonly LinkOption[] =
  process.env.FULL === '1' ? ['zmtp', 'zeromq'] : [process.env.LINK === 'zeromq' ? 'zeromq' : 'zmtp']

const certificate = makeCertificate()
const ofClient = makeCertificate('client')
/** How clients check that it is our Mongrel2 that they speak with. */
const TLS: ConnectionOptions = { ca: certificate.cert }

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
const clients: Disposable[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client[Symbol.dispose]()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

interface Settings {
  readonly config?: Mongrel2TestOptions
  readonly options?: Partial<Mongrel2Options>
  readonly zeromq?: (mongrel2: Mongrel2) => EndpointInput
}

async function serve(handler: FetchHandler, { config, options, zeromq = (it) => it.endpoint }: Settings = {}) {
  logger = new CollectingLogger()
  mongrel2 = await startMongrel2({ certificate, ...config })
  server = serveMongrel2(handler, { zeromq: zeromq(mongrel2), chroot: mongrel2.directory, logger, ...options })
  await server.ready
}

function connect(tls: ConnectionOptions = {}): RawClient {
  const client = new RawClient(mongrel2.port, '127.0.0.1', { ...TLS, ...tls })
  clients.push(client)
  return client
}

function connectSlowly(rate?: number): SlowClient {
  const client = new SlowClient(mongrel2.port, { tls: TLS, ...(rate !== undefined && { rate }) })
  clients.push(client)
  return client
}

async function openWebSocket(tls: ConnectionOptions = {}): Promise<WebSocket> {
  const client = new WebSocket(`wss://localhost:${mongrel2.port}/`, { ...TLS, ...tls })
  clients.push({ [Symbol.dispose]: () => client.terminate() })
  await once(client, 'open')
  return client
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Bytes that repeat only every 251, so that a piece lost, doubled or moved shows. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at++) bytes[at] = at % 251
  return bytes
}

const chunked = (bytes: Uint8Array, size: number) => {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.subarray(at, at + size)
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')])
}

describe.skipIf(embedded)('By TLS', () => {
  describe.each(LINKS)('and by the link %s', (link) => {
    it('requests are answered on one connection, one after the other and pipelined', async () => {
      await serve(
        async (request, { mongrel2: { scheme, connectionId } }) =>
          Response.json([request.url, scheme, connectionId, await request.text()]),
        { options: { link } },
      )
      const client = connect()
      const ids = new Set<number>()
      const check = async (n: number, method = 'GET') => {
        const [url, scheme, id, sent] = JSON.parse((await client.response()).body.toString())
        expect([url, scheme, sent]).toEqual([`https://localhost/${n}`, 'https', method === 'GET' ? '' : `body ${n}`])
        ids.add(id)
      }
      client.send([1, 2, 3, 4, 5].map((n) => request(`/${n}`)).join(''))
      for (let n = 1; n <= 5; n++) await check(n)
      for (let n = 10; n < 30; n++) {
        client.send(request(`/${n}`, 'POST', 'Content-Length: 7\r\n')).send(`body ${n}`)
        await check(n, 'POST')
      }
      expect(ids.size).toBe(1)
    })

    it.each(PACING_MODES)(
      'streams reach a quick and a slow client, paced by $mode',
      async ({ mode, config, zeromq }) => {
        const size = 2 * MIB
        await serve(streamApp.fetch, { config, zeromq, options: { link, minClientRate: MIB } })
        const answers = [connectSlowly(), connectSlowly(4 * MIB)].map((client) =>
          client.get(`/${size}/4096`).response(),
        )
        await expect.poll(() => server.stats().pacing).toEqual(pacedBy(mode, 2))
        const sha256 = steadyDigest(size, 4096)
        for (const answer of answers) expect(await answer).toMatchObject({ status: 200, bytes: size, sha256 })
        expect(logger.lines).toEqual([])
      },
    )

    it.each(PACING_MODES)('events arrive one by one, paced by $mode', async ({ config, zeromq }) => {
      const gate = new Gate()
      const events = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            await gate.pass('event')
            controller.enqueue(Buffer.from('data: event\n\n'))
          },
        },
        { highWaterMark: 0 },
      )
      const headers = { 'content-type': 'text/event-stream' }
      await serve(() => new Response(events, { headers }), { config, zeromq, options: { link } })
      const client = connectSlowly().get()
      for (let n = 1; n <= 5; n++) {
        await gate.arrival('event')
        expect(client.bytes).toBe((n - 1) * 'data: event\n\n'.length)
        gate.open('event')
        await expect.poll(() => client.bytes, { interval: 1 }).toBe(n * 'data: event\n\n'.length)
      }
    })

    it.each(['file', 'stream'] as const)('bodies arrive whole with uploads: %s', async (uploads) => {
      await serve(
        async (request, { mongrel2: { upload } }) => {
          const hash = createHash('sha256')
          for await (const piece of request.body ?? []) hash.update(piece)
          return Response.json([hash.digest('hex'), upload?.size ?? 0])
        },
        { config: { uploads }, options: { link } },
      )
      const bytes = bytesOf(5 * MIB)
      const expected = JSON.stringify([sha256(bytes), uploads === 'file' ? bytes.length : 0])
      const client = connect()
      for (let n = 0; n < 2; n++) {
        client.send(request('/', 'POST', `Content-Length: ${bytes.length}\r\n`)).send(bytes)
        expect((await client.response()).body.toString()).toBe(expected)
      }
      client.send(request('/', 'POST', 'Transfer-Encoding: chunked\r\n')).send(chunked(bytes, 50_000))
      expect((await client.response()).body.toString()).toBe(expected)
      await client.closed
    })

    it('a client that leaves aborts the signal of its request', async () => {
      const gate = new Gate()
      await serve(
        async ({ signal }) => {
          await gate.pass('asked')
          await once(signal, 'abort')
          void gate.pass('left')
          return new Response()
        },
        { options: { link } },
      )
      const client = connect().send(request('/'))
      await gate.arrival('asked')
      gate.open('asked')
      client.destroy()
      await gate.arrival('left')
    })

    it('a restart of Mongrel2 ends what is open, and the next request is served', async () => {
      const gate = new Gate()
      await serve(
        ({ url, signal }) => {
          if (!url.endsWith('/stream')) return new Response('served')
          signal.addEventListener('abort', () => void gate.pass('aborted'))
          return new Response(new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('begun')) }))
        },
        { options: { link } },
      )
      const client = connectSlowly().get('/stream')
      await expect.poll(() => client.bytes).toBe('begun'.length)
      await mongrel2.restart()
      await gate.arrival('aborted')
      await expect.poll(() => client.ended).toBe(true)
      expect(await get(connect(), '/')).toBe('served')
    })

    it.each([false, true])('WebSockets carry text and bytes, with perMessageDeflate %s', async (perMessageDeflate) => {
      await serve(
        (request) => {
          const { socket, response } = upgradeWebSocket(request, { perMessageDeflate })
          socket.binaryType = 'arraybuffer'
          socket.onmessage = ({ data }) => socket.send(data)
          return response
        },
        { options: { link } },
      )
      const client = await openWebSocket()
      for (const sent of ['text', bytesOf(MIB), bytesOf(10), '']) {
        client.send(sent)
        const [data, isBinary] = await once(client, 'message')
        expect(isBinary ? sha256(data) : String(data)).toBe(typeof sent === 'string' ? sent : sha256(sent))
      }
      client.close(4000, 'done')
      expect((await once(client, 'close')).map(String)).toEqual(['4000', 'done'])
    })
  })

  it('a client that writes first reads an answer that came before the end of its body', async () => {
    await serve(() => new Response('no', { status: 403 }), { config: { uploads: 'stream' } })
    const client = connect()
    client.pause()
    client.send(request('/', 'POST', `Content-Length: ${5 * MIB}\r\n`))
    await client.written(bytesOf(5 * MIB))
    client.resume()
    const response = await client.response()
    expect([response.status, headerOf(response, 'connection'), response.body.toString()]).toEqual([403, 'close', 'no'])
  })
})

describe.skipIf(embedded)("A client's certificate", () => {
  const settings = { 'ssl.verify_optional': true }
  const expected = { sha1: sha1Of(ofClient) }
  const forged = `PEER_CERT_SHA1: ${'AB'.repeat(20)}00\r\npeer_cert_sha1: ${'CD'.repeat(20)}00\r\n`
  const say: FetchHandler = async (request, { mongrel2: info }) => {
    await request.arrayBuffer()
    return Response.json(info.clientCertificate ?? 'none')
  }
  const answer = async (client: RawClient) => JSON.parse((await client.response()).body.toString())

  it.each(['json', 'tnetstring'] as const)('is told by its fingerprint, by headers as %s', async (protocol) => {
    expect(expected.sha1).toMatch(/^[\dA-F]{40}$/)
    await serve(say, { config: { protocol, settings, uploads: 'stream' } })
    const client = connect(ofClient)
    for (const fields of ['', forged]) {
      client.send(request('/', 'GET', fields))
      expect(await answer(client)).toEqual(expected)
    }
    client.send(request('/', 'POST', `Content-Length: ${MIB}\r\n`)).send(bytesOf(MIB))
    expect(await answer(client)).toEqual(expected)
  })

  it('is undefined where a client shows none, whatever it writes into headers', async () => {
    await serve(say, { config: { settings } })
    const client = connect()
    for (const fields of ['', forged]) expect(await answer(client.send(request('/', 'GET', fields)))).toBe('none')
  })

  it('is not asked for without the setting', async () => {
    await serve(say)
    expect(await answer(connect(ofClient).send(request('/')))).toBe('none')
  })

  it('is told of the handshake of a WebSocket', async () => {
    await serve(
      (request, { mongrel2: info }) => {
        const { socket, response } = upgradeWebSocket(request)
        socket.onopen = () => socket.send(JSON.stringify(info.clientCertificate))
        return response
      },
      { config: { settings } },
    )
    const client = new WebSocket(`wss://localhost:${mongrel2.port}/`, { ...TLS, ...ofClient })
    clients.push({ [Symbol.dispose]: () => client.terminate() })
    expect(JSON.parse(String((await once(client, 'message'))[0]))).toEqual(expected)
  })
})
