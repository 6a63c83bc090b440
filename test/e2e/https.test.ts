import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { type FetchHandler, type Mongrel2Server, upgradeWebSocket } from '../../src/index.ts'
import { makeCertificate, sha1Of, type TestCertificate } from '../support/certificate.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { RawHandler } from '../support/raw-handler.ts'
import { serveMongrel2 } from '../support/serve.ts'

const SIZE = 3_000_000

let certificates: TestCertificate[]
let directory: string
let gateway: Gateway
let server: Mongrel2Server | undefined
let logger: CollectingLogger
const ends: (() => void)[] = []

beforeAll(() => {
  certificates = [makeCertificate(), makeCertificate()]
})

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'https-'))
  logger = new CollectingLogger()
  use(0)
})

afterEach(async () => {
  for (const end of ends.splice(0)) end()
  await server?.close({ timeout: 1000 })
  server = undefined
  await gateway.close()
  rmSync(directory, { recursive: true })
})

const file = (name: string) => join(directory, name)
const endpoint = () => ({ sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` })

/** Writes one of the certificates where the gateway reads it. */
function use(number: number): void {
  writeFileSync(file('cert.pem'), certificates[number]?.cert ?? '')
  writeFileSync(file('key.pem'), certificates[number]?.key ?? '')
}

async function start(settings: Partial<GatewayOptions> = {}): Promise<void> {
  gateway = await createGateway({
    http: '127.0.0.1:0',
    tlsCert: file('cert.pem'),
    tlsKey: file('key.pem'),
    routes: [{ path: '/', ...endpoint() }],
    flowControl: true,
    logger,
    ...settings,
  })
}

async function serve(handler: FetchHandler, settings: Partial<GatewayOptions> = {}): Promise<void> {
  await start(settings)
  server = serveMongrel2(handler, { zeromq: endpoint(), logger })
  await server.ready
}

/** A handler that answers nothing by itself. */
async function handleRaw(settings: Partial<GatewayOptions> = {}): Promise<RawHandler> {
  await start(settings)
  const handler = await RawHandler.connect(`${endpoint().sendSpec},${endpoint().recvSpec}`)
  ends.push(() => handler[Symbol.dispose]())
  return handler
}

const port = () => gateway.addresses[0]?.address?.port ?? 0
const trust = () => ({ ca: certificates.map(({ cert }) => cert) })

/** A connection that speaks HTTP/2. */
function connect(): ClientHttp2Session {
  const session = connectHttp2(`https://localhost:${port()}`, trust())
  session.on('error', () => {})
  ends.push(() => session.destroy())
  return session
}

/** A connection that speaks HTTP/1. */
function connectHttp1(): RawClient {
  const client = new RawClient(port(), '127.0.0.1', { ...trust(), servername: 'localhost' })
  ends.push(() => client.destroy())
  return client
}

interface Answer {
  readonly headers: Record<string, unknown>
  readonly body: Buffer
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: Uint8Array): ClientHttp2Stream {
  const stream = session.request(headers, { endStream: body === undefined })
  stream.on('error', () => {})
  if (body !== undefined) stream.end(body)
  return stream
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  return { headers, body: await buffer(stream) }
}

async function get(session: ClientHttp2Session, path: string): Promise<string> {
  return (await answerOf(ask(session, { ':path': path }))).body.toString()
}

/** Resolves with the code of the RST_STREAM, or 0, when a stream is over. */
async function resetOf(stream: ClientHttp2Stream): Promise<number> {
  stream.resume()
  await new Promise((resolve) => (stream.closed ? resolve(undefined) : stream.on('close', resolve)))
  return stream.rstCode
}

const pathOf = ({ url }: Request) => new URL(url).pathname

describe('A request by HTTP/2', () => {
  it('is to the handler what one by HTTP/1.1 is', async () => {
    await serve((request, { mongrel2 }) =>
      Response.json({
        method: request.method,
        url: request.url,
        headers: Object.fromEntries(request.headers),
        scheme: mongrel2.scheme,
        version: mongrel2.version,
        address: mongrel2.remoteAddress,
      }),
    )
    const headers = { 'x-twice': ['a', 'b'], cookie: ['a=1', 'b=2'], 'x-forwarded-for': '1.2.3.4' }
    const { body } = await answerOf(ask(connect(), { ':path': '/a/b?c=d', ':method': 'DELETE', ...headers }))
    expect(JSON.parse(body.toString())).toEqual({
      method: 'DELETE',
      url: `https://localhost:${port()}/a/b?c=d`,
      headers: {
        host: `localhost:${port()}`,
        'x-twice': 'a, b',
        cookie: 'a=1; b=2',
        'x-forwarded-for': '127.0.0.1',
      },
      scheme: 'https',
      version: 'HTTP/1.1',
      address: '127.0.0.1',
    })
  })

  it.each<[string, OutgoingHttpHeaders, number]>([
    ['with another Host than :authority', { host: 'elsewhere' }, 400],
    ['with the same Host', { host: 'localhost' }, 200],
    ['with an unknown expectation', { expect: 'more' }, 417],
    ['with a head over bufferSize in one field', { 'x-long': 'x'.repeat(17_000) }, 431],
    [
      'with a head over bufferSize in many fields',
      Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`x-${n}`, ''])),
      431,
    ],
    [
      'with many fields within bufferSize',
      Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x-${n}`, 'y'])),
      200,
    ],
  ])('%s is answered, and the connection goes on', async (_, headers, status) => {
    await serve(() => new Response('x'))
    const session = connect()
    const { headers: answered } = await answerOf(ask(session, { ':path': '/', ':authority': 'localhost', ...headers }))
    expect(answered[':status']).toBe(status)
    expect(await get(session, '/')).toBe('x')
  })

  it('of CONNECT is refused, and no other protocol is announced for it', async () => {
    await serve(() => new Response('x'))
    const session = connect()
    const { headers } = await answerOf(ask(session, { ':method': 'CONNECT', ':authority': 'example.org:443' }))
    expect(headers[':status']).toBe(405)
    expect(session.remoteSettings).toMatchObject({ enableConnectProtocol: false, maxConcurrentStreams: 100 })
  })

  it.each([
    ['with a length', { 'content-length': SIZE }],
    ['without one', {}],
  ])('brings its body, %s, and takes one back', async (_, headers) => {
    await serve((request) => new Response(request.body))
    const body = Buffer.alloc(SIZE, 'three million bytes')
    const answer = await answerOf(ask(connect(), { ':path': '/', ':method': 'POST', ...headers }, body))
    expect(answer.body.equals(body)).toBe(true)
  })

  it('brings a small body in its message, and none of no bytes', async () => {
    const handler = await handleRaw()
    const session = connect()
    ask(session, { ':path': '/', ':method': 'POST', 'content-length': 5 }, Buffer.from('hello'))
    expect(await handler.next()).toMatchObject({ body: 'hello' })
    ask(session, { ':path': '/', ':method': 'POST', 'content-length': 0 }, Buffer.alloc(0))
    expect(await handler.next()).toMatchObject({ body: '' })
  })

  it('is answered with 100 once its handler reads the body, if its client waits for that', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      await gate.pass('read')
      return new Response(await request.text())
    })
    const headers = { ':path': '/', ':method': 'POST', expect: '100-continue', 'content-length': 50_000 }
    const stream = connect().request(headers)
    let continued = false
    stream.on('continue', () => {
      continued = true
      stream.end(Buffer.alloc(50_000, 'x'))
    })
    await gate.arrival('read')
    expect(continued).toBe(false)
    gate.open('read')
    expect((await answerOf(stream)).body.length).toBe(50_000)
  })

  it('whose body has another length than it says is aborted', async () => {
    const received: string[] = []
    await serve(async (request) => {
      received.push(await request.text())
      return new Response('x')
    })
    const headersOf = (length: number) => ({ ':path': '/', ':method': 'POST', 'content-length': length })
    const session = connect()
    const shorter = ask(session, headersOf(100_000), Buffer.alloc(50_000))
    expect(await resetOf(shorter)).toBe(constants.NGHTTP2_PROTOCOL_ERROR)
    expect(await get(session, '/')).toBe('x')
    // Since 22.22 Node ends the connection for a body that is longer (RFC 9113, section 5.4.2 allows it).
    const codes = [constants.NGHTTP2_PROTOCOL_ERROR, constants.NGHTTP2_INTERNAL_ERROR]
    expect(codes).toContain(await resetOf(ask(session, headersOf(10), Buffer.alloc(50_000))))
    expect(await get(connect(), '/')).toBe('x')
    expect(received).toEqual(['', ''])
  })

  it('that its client resets is aborted, while others on the connection go on', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      const path = pathOf(request)
      request.signal.addEventListener('abort', () => gate.pass(`${path} aborted`))
      await gate.pass(path)
      return new Response(path)
    })
    const session = connect()
    const [left, stays] = ['/left', '/stays'].map((path) => ask(session, { ':path': path }))
    await Promise.all([gate.arrival('/left'), gate.arrival('/stays')])
    left?.close(constants.NGHTTP2_CANCEL)
    await gate.arrival('/left aborted')
    gate.open('/stays')
    expect((await answerOf(stays as ClientHttp2Stream)).body.toString()).toBe('/stays')
    const other = connect()
    ask(other, { ':path': '/gone' })
    await gate.arrival('/gone')
    other.destroy()
    await gate.arrival('/gone aborted')
  })

  it('is one of up to 100 that are served at once on a connection', async () => {
    let most = 0
    const open: (() => void)[] = []
    await serve(async () => {
      await new Promise<void>((resolve) => {
        most = Math.max(most, open.push(resolve))
        if (open.length === 100) for (const finish of open.splice(0)) finish()
      })
      return new Response('x')
    })
    const session = connect()
    await once(session, 'remoteSettings')
    const answers = await Promise.all(Array.from({ length: 300 }, () => get(session, '/')))
    expect(answers.every((text) => text === 'x')).toBe(true)
    expect(most).toBe(100)
  })
})

describe('An answer by HTTP/2', () => {
  it.each([
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    ['of a length', 'Content-Length: 10\r\n\r\nhalf'],
  ])('%s that its handler breaks off, soon or late, is reset behind what was sent', async (_, begun) => {
    const handler = await handleRaw({ flowControl: false })
    const session = connect()
    for (const [number, late] of [false, true].entries()) {
      const stream = ask(session, { ':path': '/' })
      await handler.next()
      let received = ''
      stream.on('data', (bytes) => {
        received += bytes
      })
      const head = 'HTTP/1.1 200 OK\r\n'
      if (late) {
        const arrived = once(stream, 'data')
        await handler.reply(2 * number + 1, head + begun)
        await arrived
        await handler.reply(2 * number + 1, '')
      } else await handler.reply(2 * number + 1, head + begun, '')
      expect(await resetOf(stream)).toBe(constants.NGHTTP2_INTERNAL_ERROR)
      expect(received).toBe('half')
      ask(session, { ':path': '/next' })
      expect(await handler.next()).toMatchObject({ path: '/next' })
    }
  })

  it('has no fields about a connection, all others, and no status text', async () => {
    const handler = await handleRaw()
    const stream = ask(connect(), { ':path': '/' })
    await handler.next()
    const fields =
      'Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nX-A: 1\r\nX-A: caf\xe9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n'
    await handler.reply(1, Buffer.from(`HTTP/1.1 299 Fine\r\n${fields}Content-Length: 2\r\n\r\nok`, 'latin1'))
    const { headers, body } = await answerOf(stream)
    expect(body.toString()).toBe('ok')
    const { ':status': status, date: _date, ...rest } = headers
    expect(status).toBe(299)
    expect(Object.entries(rest)).toEqual([
      ['x-a', '1, caf\xe9'],
      ['set-cookie', ['a=1', 'b=2']],
      ['content-length', '2'],
    ])
  })

  it.each([
    ['HEAD', 200, '5'],
    ['GET', 204, undefined],
    ['GET', 304, undefined],
  ])('to %s with %s has no body', async (method, status, length) => {
    await serve(() => (status === 200 ? new Response('hello') : new Response(null, { status })))
    const session = connect()
    const { headers, body } = await answerOf(ask(session, { ':path': '/', ':method': method }))
    expect([headers[':status'], headers['content-length'], body.length]).toEqual([status, length, 0])
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it.each(['no response', 'HTTP/1.1 101 Switching Protocols', 'HTTP/1.1 200 OK\r\nX: \x01'])(
    'that HTTP/2 cannot carry, %j, is a 502',
    async (response) => {
      const handler = await handleRaw()
      const stream = ask(connect(), { ':path': '/' })
      await handler.next()
      await handler.reply(1, `${response}\r\n\r\n`)
      expect((await answerOf(stream)).headers[':status']).toBe(502)
    },
  )

  it('arrives event by event, and ends its handler’s stream when the client leaves', async () => {
    const gate = new Gate()
    let feed: ReadableStreamDefaultController | undefined
    await serve(
      () =>
        new Response(
          new ReadableStream({
            start(controller) {
              feed = controller
            },
            cancel: () => gate.pass('cancelled'),
          }),
        ),
    )
    const stream = ask(connect(), { ':path': '/' })
    await once(stream, 'response')
    for (const event of ['one', 'two', 'three']) {
      feed?.enqueue(new TextEncoder().encode(event))
      expect(String((await once(stream, 'data'))[0])).toBe(event)
    }
    stream.close(constants.NGHTTP2_CANCEL)
    await gate.arrival('cancelled')
  })

  it('waits for a client that does not read, which delays no other', async () => {
    let pulled = 0
    await serve((request) => {
      if (pathOf(request) !== '/slow') return new Response('quick')
      const pull = (controller: ReadableStreamDefaultController) => {
        pulled += 10_000
        controller.enqueue(new Uint8Array(10_000))
        if (pulled === 5_000_000) controller.close()
      }
      return new Response(new ReadableStream({ pull }))
    })
    const session = connect()
    const slow = ask(session, { ':path': '/slow' })
    await once(slow, 'response')
    for (let number = 0; number < 200; number++) expect(await get(session, '/')).toBe('quick')
    expect(pulled).toBeLessThan(1_000_000)
    expect((await buffer(slow)).length).toBe(5_000_000)
  })

  it('may come before the body has: the client sends the rest, and the connection goes on', async () => {
    await serve((request) => new Response(pathOf(request)))
    const session = connect()
    const early = ask(session, { ':path': '/early', ':method': 'POST', 'content-length': SIZE }, Buffer.alloc(SIZE))
    expect((await answerOf(early)).body.toString()).toBe('/early')
    expect(await resetOf(early)).toBe(0)
    expect(await get(session, '/next')).toBe('/next')
  })

  it('may be complete while its handler reads the body', async () => {
    const handler = await handleRaw()
    const stream = connect().request({ ':path': '/', ':method': 'POST' })
    stream.write('one')
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect((await answerOf(stream)).body.toString()).toBe('ok')
    await handler.control(1, { credits: 1000 })
    expect(await handler.next()).toMatchObject({ body: 'one' })
    stream.end('two')
    expect(await handler.next()).toMatchObject({ body: 'two' })
    expect(await handler.next()).toMatchObject({ body: '', own: { UPLOAD_STREAM_DONE: '1' } })
    await handler.reply(1, '')
    expect(await resetOf(stream)).toBe(0)
  })
})

describe('A connection by HTTP/2', () => {
  it('ends when it is without a request for keepAliveTimeout', async () => {
    await serve(async () => new Response('x'), { keepAliveTimeout: 300 })
    const idle = connect()
    const used = connect()
    expect(await get(used, '/')).toBe('x')
    await Promise.all([once(idle, 'close'), once(used, 'close')])
    await expect.poll(() => gateway.stats().connections).toBe(0)
  })

  it('does not end while an answer is made, and loses a stream whose client takes nothing for sendTimeout', async () => {
    const gate = new Gate()
    await serve(
      async (request) => {
        if (pathOf(request) === '/slow') {
          await gate.pass('slow')
          return new Response('slow')
        }
        return new Response(
          new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(10_000)), cancel: () => gate.pass('cancelled') }),
        )
      },
      { keepAliveTimeout: 300, sendTimeout: 300 },
    )
    const session = connect()
    const slow = ask(session, { ':path': '/slow' })
    const stalled = ask(session, { ':path': '/endless' })
    await once(stalled, 'response')
    await gate.arrival('cancelled')
    gate.open('slow')
    expect((await answerOf(slow)).body.toString()).toBe('slow')
  })

  it('takes no more requests after stop(), answers the present ones, and ends', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      const path = pathOf(request)
      await gate.pass(path)
      return new Response(path)
    })
    const [busy, idle] = [connect(), connect()]
    const connected = once(idle, 'remoteSettings')
    const open = ask(busy, { ':path': '/open' })
    await gate.arrival('/open')
    await connected
    const away = once(busy, 'goaway')
    const ended = [busy, idle].map((session) => once(session, 'close'))
    gateway.stop()
    expect((await away)[0]).toBe(constants.NGHTTP2_NO_ERROR)
    await ended[1]
    gate.open('/open')
    expect((await answerOf(open)).body.toString()).toBe('/open')
    await ended[0]
    await expect.poll(() => gateway.stats().connections).toBe(0)
  })

  it('ends when its client opens and resets streams without a pause', async () => {
    let called = 0
    const handler = () => {
      called++
      return new Response('x')
    }
    await serve(handler, { keepAliveTimeout: 1000, sendTimeout: 1000 })
    const session = connect()
    await once(session, 'remoteSettings')
    for (let round = 0; round < 100 && !session.destroyed; round++) {
      for (let number = 0; number < 50 && !session.destroyed; number++) {
        ask(session, { ':path': '/' }).close(constants.NGHTTP2_CANCEL)
      }
      await new Promise(setImmediate)
    }
    // Node 20 leaves a connection without streams, which ends in its time. The client of Node 22 does not notice the end.
    await expect.poll(() => gateway.stats().connections).toBe(0)
    // Node allows 1000, and 33 more a second.
    expect(called).toBeLessThan(2500)
    expect(await get(connect(), '/')).toBe('x')
  })
})

describe('HTTP/1 over TLS', () => {
  it.each([
    ['1.1', [], undefined],
    ['1.0', ['http/1.0'], 'http/1.0'],
    ['1.1', ['h2', 'http/1.1'].slice(1), 'http/1.1'],
  ])('is served by version %s to a client that offers %j', async (version, ALPNProtocols, chosen) => {
    await serve((request) => new Response(request.url))
    const socket = await handshake({ ALPNProtocols })
    expect(socket.alpnProtocol || undefined).toBe(chosen)
    const client = new RawClient(port(), '127.0.0.1', { ...trust(), servername: 'localhost', ALPNProtocols })
    ends.push(() => client.destroy())
    client.send(request('/one', 'GET', 'Connection: keep-alive\r\n', version) + request('/two', 'GET', '', version))
    expect((await client.response()).body.toString()).toBe('https://localhost/one')
    expect((await client.response()).body.toString()).toBe('https://localhost/two')
  })

  it('takes a body, an upgrade to something else, and a client that ends its side', async () => {
    await serve(async (request) => new Response(`${pathOf(request)} ${(await request.text()).length}`))
    const client = connectHttp1()
      .send(request('/', 'POST', `Content-Length: ${SIZE}\r\n`))
      .send(Buffer.alloc(SIZE))
    expect((await client.response()).body.toString()).toBe(`/ ${SIZE}`)
    client.send(request('/two', 'GET', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'))
    expect((await client.response()).body.toString()).toBe('/two 0')
    const socket = await handshake({ allowHalfOpen: true })
    socket.end(request('/half'))
    expect((await buffer(socket)).toString()).toMatch(/\/half 0$/)
  })

  it('has WebSockets', async () => {
    await serve((request) => {
      const { socket, response } = upgradeWebSocket(request)
      socket.onmessage = ({ data }) => socket.send(`${request.url} ${data}`)
      return response
    })
    const { WebSocket, Agent } = await import('undici')
    const dispatcher = new Agent({ connect: trust() })
    ends.push(() => void dispatcher.destroy())
    const socket = new WebSocket(`wss://localhost:${port()}/ws`, { dispatcher })
    await once(socket, 'open')
    socket.send('hello')
    expect((await once(socket, 'message'))[0].data).toBe(`https://localhost:${port()}/ws hello`)
    socket.close()
    await once(socket, 'close')
  })
})

describe('TLS', () => {
  it('takes a new certificate for new connections, while old ones go on', async () => {
    await serve((request) => new Response(pathOf(request)))
    const old = connect()
    expect(await get(old, '/1')).toBe('/1')
    expect(await fingerprint()).toBe(sha1Of(certificates[0] as TestCertificate))
    use(1)
    await gateway.renewCertificate()
    expect(await fingerprint()).toBe(sha1Of(certificates[1] as TestCertificate))
    expect(await get(old, '/2')).toBe('/2')
    expect(await get(connect(), '/3')).toBe('/3')
  })

  it.each<[string, () => void]>([
    ['whose key is another’s', () => writeFileSync(file('key.pem'), certificates[1]?.key ?? '')],
    ['that is no PEM', () => writeFileSync(file('cert.pem'), 'none')],
    ['that is not there', () => rmSync(file('cert.pem'))],
  ])('keeps its certificate where the new one is one %s, and does not start with that', async (_, spoil) => {
    await serve(() => new Response('x'))
    spoil()
    const error = {
      code: 'invalid_option',
      message: expect.stringMatching(/^tlsCert and tlsKey: expected a certificate/),
    }
    await expect(gateway.renewCertificate()).rejects.toMatchObject(error)
    expect(await get(connect(), '/')).toBe('x')
    const again = { sendSpec: `ipc://${directory}/send2`, recvSpec: `ipc://${directory}/recv2` }
    const options = {
      http: '127.0.0.1:0',
      tlsCert: file('cert.pem'),
      tlsKey: file('key.pem'),
      routes: [{ path: '/', ...again }],
    }
    await expect(createGateway(options)).rejects.toMatchObject(error)
  })

  it('is spoken at a socket in the file system, and one file may have both certificate and key', async () => {
    writeFileSync(file('both.pem'), `${certificates[0]?.key}${certificates[0]?.cert}`)
    copyFileSync(file('both.pem'), file('key.pem'))
    await serve(() => new Response('x'), { http: file('http.sock'), tlsCert: file('both.pem') })
    const createConnection = () =>
      tlsConnect({ path: file('http.sock'), ...trust(), servername: 'localhost', ALPNProtocols: ['h2'] })
    const session = connectHttp2('https://localhost', { createConnection })
    ends.push(() => session.destroy())
    expect(await get(session, '/')).toBe('x')
  })

  it('is not taken for anything else: plain HTTP is closed', async () => {
    await serve(() => new Response('x'))
    const client = new RawClient(port())
    client.send(request('/'))
    await client.closed
    await expect.poll(() => gateway.stats().connections).toBe(0)
    expect(await get(connect(), '/')).toBe('x')
  })

  it('ends connections that make no handshake in headersTimeout, and does not wait for them when it closes', async () => {
    await start({ headersTimeout: 300 })
    /** Connects; resolves when the connection is closed. */
    const closed = async () => {
      const socket = connectSocket(port(), '127.0.0.1').on('error', () => {})
      await once(socket.resume(), 'close')
    }
    await closed()
    await gateway.close()
    await start()
    const second = closed()
    await expect.poll(() => gateway.stats().connections).toBe(1)
    await gateway.close()
    await second
  })
})

describe('HTTP/2 without TLS', () => {
  it('is a 400', async () => {
    gateway = await createGateway({ http: '127.0.0.1:0', routes: [{ path: '/', ...endpoint() }] })
    const client = new RawClient(port()).send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    expect((await client.response()).status).toBe(400)
    await client.closed
  })
})

async function handshake(options: { ALPNProtocols?: string[]; allowHalfOpen?: boolean }): Promise<TLSSocket> {
  const socket = tlsConnect({ port: port(), host: '127.0.0.1', servername: 'localhost', ...trust(), ...options })
  ends.push(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** The SHA-1 fingerprint of the certificate that a new connection gets. */
async function fingerprint(): Promise<string> {
  return (await handshake({})).getPeerCertificate().fingerprint.replaceAll(':', '')
}
