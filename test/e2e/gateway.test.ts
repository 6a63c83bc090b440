import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFront, type Front, type FrontSettings } from '../../src/gateway/index.ts'
import { type FetchHandler, type Mongrel2Server, upgradeWebSocket } from '../../src/index.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type BrokenResponseError, get, headerOf, RawClient, type RawResponse, request } from '../support/raw-client.ts'
import { RawHandler } from '../support/raw-handler.ts'
import { createReplier } from '../support/replier.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { RawWebSocket } from '../support/websocket-client.ts'
import { clientFrame, describeFrame } from '../support/websocket-frames.ts'

const KIB = 1024

let directory: string
let front: Front
let server: Mongrel2Server | undefined
let logger: CollectingLogger
const clients: Disposable[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gateway-'))
  logger = new CollectingLogger()
})

afterEach(async () => {
  for (const client of clients.splice(0)) client[Symbol.dispose]()
  await server?.close({ timeout: 1000 })
  server = undefined
  await front.close()
  rmSync(directory, { recursive: true })
})

const endpoint = (scheme = 'ipc') => ({
  sendSpec: `${scheme}://${directory}/send`,
  recvSpec: `ipc://${directory}/recv`,
})

async function start(settings: FrontSettings = {}, zeromq = endpoint()): Promise<void> {
  front = await createFront({ port: 0, routes: [{ path: '/', ...zeromq }], logger, ...settings })
}

/** Without sockets between gateway and handler; test/full/gateway-sockets.test.ts runs the same with them. */
async function serve(handler: FetchHandler, settings: FrontSettings = {}): Promise<void> {
  const zeromq = endpoint(process.env.GATEWAY_SCHEME ?? 'inproc')
  await start({ flowControl: true, ...settings }, zeromq)
  server = serveMongrel2(handler, { zeromq, logger })
  await server.ready
}

/** A handler that answers nothing by itself. */
async function handleRaw(settings: FrontSettings = {}): Promise<RawHandler> {
  await start(settings)
  const handler = await RawHandler.connect(`${endpoint().sendSpec},${endpoint().recvSpec}`)
  clients.push(handler)
  return handler
}

function connect(): RawClient {
  const client = new RawClient(front.address.port)
  clients.push(client)
  return client
}

async function openWebSocket(): Promise<RawWebSocket> {
  const client = await RawWebSocket.open(front.address.port)
  clients.push(client)
  return client
}

async function responses(client: RawClient, count: number): Promise<RawResponse[]> {
  const all: RawResponse[] = []
  for (let number = 0; number < count; number++) all.push(await client.response())
  return all
}

const pathOf = ({ url }: Request) => new URL(url).pathname
const bodies = (all: readonly RawResponse[]) => all.map(({ body }) => body.toString())
const statuses = (all: readonly RawResponse[]) => all.map(({ status }) => status)

describe('Requests on one connection', () => {
  it('are answered in their order, ten of them pipelined and answered backwards', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      const path = pathOf(request)
      await gate.pass(path)
      return new Response(path)
    })
    const paths = Array.from({ length: 10 }, (_, number) => `/${number}`)
    const client = connect().send(paths.map((path) => request(path)).join(''))
    await Promise.all(paths.map((path) => gate.arrival(path)))
    for (const path of paths.toReversed()) gate.open(path)
    expect(bodies(await responses(client, 10))).toEqual(paths)
  })

  it('are answered however many are pipelined, and no more than 16 are worked on at once', async () => {
    let open = 0
    let most = 0
    await serve(async () => {
      most = Math.max(most, ++open)
      await new Promise(setImmediate)
      open--
      return new Response('x')
    })
    const client = connect().send(request('/').repeat(200))
    expect(bodies(await responses(client, 200)).every((body) => body === 'x')).toBe(true)
    expect(most).toBeLessThanOrEqual(16)
  })

  it('go on behind each kind of answer', async () => {
    await serve((request) => {
      const path = pathOf(request)
      if (path === '/204' || path === '/304') return new Response(null, { status: Number(path.slice(1)) })
      if (path === '/stream') return new Response(new Blob(['a', 'b']).stream())
      if (path === '/empty') return new Response()
      if (path === '/throws') throw new Error('thrown by the test')
      return new Response('text')
    })
    const client = connect()
    const seen: unknown[] = []
    for (const [method, path] of [
      ['GET', '/204'],
      ['GET', '/304'],
      ['HEAD', '/text'],
      ['HEAD', '/stream'],
      ['GET', '/stream'],
      ['GET', '/empty'],
      ['GET', '/throws'],
      ['GET', '/text'],
    ] as const) {
      client.send(request(path, method))
      const { status, framing, body } = await client.response(method)
      seen.push([method, path, status, framing, body.toString()])
    }
    expect(seen).toEqual([
      ['GET', '/204', 204, 'none', ''],
      ['GET', '/304', 304, 'none', ''],
      ['HEAD', '/text', 200, 'none', ''],
      ['HEAD', '/stream', 200, 'none', ''],
      ['GET', '/stream', 200, 'chunked', 'ab'],
      ['GET', '/empty', 200, 'length', ''],
      ['GET', '/throws', 500, 'length', 'Internal Server Error'],
      ['GET', '/text', 200, 'length', 'text'],
    ])
  })

  it('of HTTP/1.0 are answered as it can be read, and go on where the client says so', async () => {
    await serve((request) =>
      pathOf(request) === '/stream' ? new Response(new Blob(['a', 'b']).stream()) : new Response('text'),
    )
    const keeping = connect().send(request('/', 'GET', 'Connection: keep-alive\r\n', '1.0'))
    expect(headerOf(await keeping.response(), 'connection')).toBe('keep-alive')
    keeping.send(request('/stream', 'GET', 'Connection: keep-alive\r\n', '1.0'))
    expect(await keeping.response()).toMatchObject({ framing: 'close', body: Buffer.from('ab') })
    const closing = connect().send('GET / HTTP/1.0\r\n\r\n')
    expect(await closing.response()).toMatchObject({ framing: 'length', body: Buffer.from('text') })
    await closing.closed
  })

  it('end where the client says so', async () => {
    await serve(() => new Response('text'))
    const client = connect().send(request('/', 'GET', 'Connection: close\r\n'))
    expect(headerOf(await client.response(), 'connection')).toBe('close')
    await client.closed
  })

  it('go on behind bodies with a length, in chunks with trailers, and such as nobody reads', async () => {
    await serve(
      async (request) =>
        new Response(pathOf(request) === '/unread' ? 'unread' : String((await request.arrayBuffer()).byteLength)),
    )
    const client = connect()
    client.send(`${request('/', 'POST', 'Content-Length: 5\r\n')}hello`)
    client.send(request('/', 'POST', 'Content-Length: 100000\r\n')).send(Buffer.alloc(100_000))
    client.send(`${request('/', 'POST', 'Transfer-Encoding: chunked\r\n')}5\r\nhello\r\n0\r\nX-Trailer: x\r\n\r\n`)
    client.send(request('/unread', 'POST', 'Content-Length: 200000\r\n')).send(Buffer.alloc(200_000))
    client.send(request('/', 'POST', 'Content-Length: 0\r\n'))
    expect(bodies(await responses(client, 5))).toEqual(['5', '100000', '5', 'unread', '0'])
  })

  it('go on behind an answer that began amid its body, after a pause, too', async () => {
    await serve((request) => new Response(request.body))
    const bytes = Buffer.alloc(2_000_000, 'echo')
    const client = connect()
    for (let round = 0; round < 2; round++) {
      client.send(`${request('/', 'POST', 'Transfer-Encoding: chunked\r\n')}${bytes.length.toString(16)}\r\n`)
      client.send(bytes).send('\r\n0\r\n\r\n')
      expect((await client.response()).body.equals(bytes)).toBe(true)
      // Longer than a client is waited for whose body has not come to its end.
      if (round === 0) await new Promise((resolve) => setTimeout(resolve, 1500))
    }
  })

  it('end behind an answer to a large body that nobody reads, which arrives', async () => {
    await serve(() => new Response('enough', { status: 403 }))
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 50000000\r\n'))
      .send(Buffer.alloc(8_000_000))
    expect(headerOf(await client.response(), 'connection')).toBe('close')
    await client.closed
  })
})

describe('What is no request', () => {
  it.each(['zz', '-1', '0x5', '+5', '', ' 5', '5 5', '100000000000000000'])(
    'is refused as the size of a chunk: %j',
    async (size) => {
      let ended: unknown
      await serve(async (request) => {
        ended = await request.text().catch((error: unknown) => error)
        return new Response('taken')
      })
      const client = connect().send(
        `${request('/', 'POST', 'Transfer-Encoding: chunked\r\n')}${size}\r\nhello\r\n0\r\n\r\n`,
      )
      expect((await client.response()).status).toBe(400)
      await client.closed
      await expect.poll(() => ended).toBeInstanceOf(DOMException)
    },
  )

  it.each([
    ['a target without a path', 'GET ?x HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a field without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n'],
    ['a folded field', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a length that is none', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello'],
    ['a bare line feed', 'GET / HTTP/1.1\nHost: x\n\n'],
  ])('is a 400: %s', async (_, bytes) => {
    await serve(() => new Response('taken'))
    const client = connect().send(bytes)
    expect((await client.response()).status).toBe(400)
    await client.closed
  })

  // What Mongrel2 lets through, of test/e2e/wrong-input.test.ts: no body is found where there is none, nor a request in a body.
  const LENGTHS = [
    '',
    '-5',
    'abc',
    '0x5',
    '\xa05',
    '99999999999999999999',
    '+5',
    '5.0',
    '5x',
    '5, 5',
    '5 5',
    '5\xa0',
    '\x0b5',
  ]
  const CODINGS = ['', '\xa0chunked', 'chunked;q=1', 'gzip', 'gzip, chunked', 'identity', 'chunked, chunked']
  it.each([
    ...LENGTHS.map((length) => [`Content-Length: ${length}`]),
    ...CODINGS.map((coding) => [`Transfer-Encoding: ${coding}`]),
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Content-Length: 5'],
    ['Transfer-Encoding: identity', 'Content-Length: 0'],
    ['Content-Length: 5', 'Content-Length: 6'],
    ['Content-Length: 0', 'Content-Length: 5'],
    ['Content-Length: 5', 'Content-Length: 05'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
  ])(
    'is a request whose length is not clear, and what is smuggled behind it is never handled: %j %j',
    async (...lines) => {
      const called: string[] = []
      await serve((request) => {
        called.push(pathOf(request))
        return new Response()
      })
      const fields = lines.map((line) => `${line}\r\n`).join('')
      const client = connect().send(request('/refused', 'POST', fields) + request('/smuggled').repeat(2))
      expect((await client.response()).status).toBe(400)
      await client.closed
      expect(called).toEqual([])
    },
  )

  it('is answered behind the answers to what came before it', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      await gate.pass(pathOf(request))
      return new Response('late')
    })
    const client = connect().send(`${request('/one')}${request('/two')}no request\r\n\r\n`)
    await Promise.all([gate.arrival('/one'), gate.arrival('/two')])
    gate.open('/two')
    gate.open('/one')
    expect(statuses(await responses(client, 3))).toEqual([200, 200, 400])
    await client.closed
  })

  it('cuts an answer that has begun, where it is the body of that request', async () => {
    await serve((request) => new Response(request.body))
    const client = connect().send(`${request('/', 'POST', 'Transfer-Encoding: chunked\r\n')}5\r\nhello\r\n`)
    const answer = client.response()
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    client.send('zz\r\n')
    await expect(answer).rejects.toThrow('ended amid a response')
  })

  it('costs no more than its length: a head with a run of blanks', async () => {
    await serve(() => new Response('x'), { bufferSize: 1024 * KIB })
    const time = async (blanks: number): Promise<number> => {
      let best = Number.POSITIVE_INFINITY
      for (let run = 0; run < 5; run++) {
        const client = connect()
        const began = performance.now()
        await client.send(request('/', 'GET', `X: a${' '.repeat(blanks)}b\r\n`)).response()
        best = Math.min(best, performance.now() - began)
      }
      return best
    }
    await time(32 * KIB)
    // What grows with the square takes 256 times as long.
    expect((await time(512 * KIB)) / (await time(32 * KIB))).toBeLessThan(64)
  })

  it('is a head of more bytes than bufferSize: 431', async () => {
    await serve(() => new Response('x'), { bufferSize: 2 * KIB })
    const client = connect().send(request('/', 'GET', `X: ${'x'.repeat(4 * KIB)}\r\n`))
    expect((await client.response()).status).toBe(431)
  })

  it('is CONNECT: 405', async () => {
    await serve(() => new Response('x'))
    const client = connect().send(`${request('/')}CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(statuses(await responses(client, 2))).toEqual([200, 405])
  })
})

describe('Expect: 100-continue', () => {
  const EXPECT = 'Expect: 100-continue\r\n'

  it('is answered in its turn, when the handler asks for the body', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      await gate.pass(pathOf(request))
      return new Response(await request.text())
    })
    const client = connect().send(request('/one') + request('/two', 'POST', `${EXPECT}Transfer-Encoding: chunked\r\n`))
    await Promise.all([gate.arrival('/one'), gate.arrival('/two')])
    gate.open('/two')
    const [, two] = [gate.open('/one'), '1\r\n2\r\n0\r\n\r\n']
    expect((await client.response()).status).toBe(200)
    expect((await client.response()).status).toBe(100)
    expect((await client.send(two).response()).body.toString()).toBe('2')
  })

  it('is answered in front of an answer behind which the body is read', async () => {
    let read: unknown
    await serve((request, _env, ctx) => {
      const reading = request.text()
      ctx.waitUntil(
        reading.then((text) => {
          read = text.length
        }),
      )
      return new Response('taken', { status: 202 })
    })
    const client = connect().send(request('/', 'POST', `${EXPECT}Content-Length: 100000\r\n`))
    expect(statuses(await responses(client, 2))).toEqual([100, 202])
    client.send(Buffer.alloc(100_000))
    await expect.poll(() => read).toBe(100_000)
  })

  it('is not, where the handler does not want the body', async () => {
    await serve(() => new Response('no', { status: 403 }))
    const client = connect().send(request('/', 'POST', `${EXPECT}Content-Length: 50000000\r\n`))
    expect((await client.response()).status).toBe(403)
    await client.closed
  })

  it('is at once for a body that comes within its message', async () => {
    await serve(async (request) => new Response(await request.text()))
    const client = connect().send(request('/', 'POST', `${EXPECT}Content-Length: 2\r\n`))
    expect((await client.response()).status).toBe(100)
    expect((await client.send('ok').response()).body.toString()).toBe('ok')
  })

  it('is all that can be expected', async () => {
    await serve(() => new Response('x'))
    const client = connect().send(request('/') + request('/', 'GET', 'Expect: miracles\r\n'))
    expect(statuses(await responses(client, 2))).toEqual([200, 417])
  })
})

it('A request of thousands of fields reaches the handler with all of them', async () => {
  await serve(({ headers }) => new Response(`${[...headers].length} ${headers.get('x-last')}`), {
    bufferSize: 64 * KIB,
  })
  const fields = Array.from({ length: 3000 }, (_, number) => `x-${number}: y\r\n`).join('')
  const client = connect().send(request('/', 'GET', `${fields}X-Last: yes\r\n`))
  expect((await client.response()).body.toString()).toBe('3003 yes') // with host and x-forwarded-for
})

describe('A target', () => {
  it.each([
    ['/a?ids[]=1&x={y}|z', '/a?ids[]=1&x={y}|z'],
    ['/a"<>`b', '/a%22%3C%3E%60b'],
    ['/a#fragment', '/a'],
  ])('%j reaches the handler', async (target, url) => {
    await serve((request) => new Response(request.url.replace('http://localhost', '')))
    expect(await get(connect(), target)).toBe(url)
  })
})

describe('A client that leaves', () => {
  it('amid an answer aborts the request and cancels the stream', async () => {
    const gate = new Gate()
    let cancelled = false
    let signal: AbortSignal | undefined
    await serve((request) => {
      signal = request.signal
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(Buffer.from('begun')),
        pull: () => gate.pass('more'),
        cancel: () => {
          cancelled = true
        },
      })
      return new Response(body)
    })
    const client = connect().send(request('/'))
    await gate.arrival('more')
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    client.destroy()
    await expect.poll(() => [signal?.aborted, cancelled]).toEqual([true, true])
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it('amid a body aborts the request', async () => {
    const gate = new Gate()
    let failed: unknown
    await serve(async (request) => {
      const reader = request.body?.getReader()
      await reader?.read()
      gate.pass('begun')
      await reader?.read().catch((error: unknown) => {
        failed = error
      })
      return new Response()
    })
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 50000\r\n'))
      .send(Buffer.alloc(10_000))
    await gate.arrival('begun')
    client.destroy()
    await expect.poll(() => failed).toBeInstanceOf(DOMException)
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it('with requests that wait their turn aborts all of them', async () => {
    const gate = new Gate()
    const signals: AbortSignal[] = []
    await serve(async (request) => {
      signals.push(request.signal)
      await gate.pass(pathOf(request))
      return new Response()
    })
    const client = connect().send(request('/one') + request('/two'))
    await Promise.all([gate.arrival('/one'), gate.arrival('/two')])
    client.destroy()
    await expect.poll(() => signals.map(({ aborted }) => aborted)).toEqual([true, true])
  })
})

describe('A client that ends its side', () => {
  /** Sends requests and ends; what comes until the other side does, too. */
  async function halfClosed(bytes: string): Promise<string> {
    const socket = connectSocket({ port: front.address.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.end(bytes)
    return (await buffer(socket)).toString('latin1')
  }

  it('is answered, each of its requests', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      if (pathOf(request) === '/late') await gate.pass('late')
      return new Response(`<${pathOf(request)}>`)
    })
    const answered = halfClosed(request('/late') + request('/next'))
    await gate.arrival('late')
    setTimeout(() => gate.open('late'), 300)
    expect((await answered).match(/<.*>/g)).toEqual(['</late>', '</next>'])
  })

  it('is answered by a stream that goes on for long', async () => {
    let pieces = 0
    await serve(
      () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              await new Promise((resolve) => setTimeout(resolve, 250))
              controller.enqueue(Buffer.from(`<${pieces++}>`))
              if (pieces === 14) controller.close()
            },
          }),
        ),
    )
    expect((await halfClosed(request('/'))).match(/<\d+>/g)).toHaveLength(14)
  })

  it('and gets nothing for a while has left', async () => {
    const gate = new Gate()
    let signal: AbortSignal | undefined
    await serve(async (request) => {
      signal = request.signal
      await gate.pass('never')
      return new Response()
    })
    expect(await halfClosed(request('/'))).toBe('')
    await expect.poll(() => signal?.aborted).toBe(true)
  })
})

describe('A client that says nothing', () => {
  it('is gone after headersTimeout: from the begin, and amid a head', async () => {
    await serve(() => new Response('x'), { headersTimeout: 300 })
    const [silent, slow] = [connect(), connect().send('GET / HTTP/1.1\r\nX: ')]
    const used = connect().send(request('/'))
    await used.response()
    used.send('GET /')
    for (const client of [silent, slow, used]) {
      expect((await client.readToEnd()).toString()).toMatch(/^(HTTP\/1.1 408 |$)/)
    }
  })

  it('is gone after keepAliveTimeout between two requests', async () => {
    await serve(() => new Response('x'), { keepAliveTimeout: 300 })
    const client = connect().send(request('/'))
    await client.response()
    await client.closed
  })

  it.each([
    ['within its message', 10_000],
    ['as it comes', 100_000],
  ])('amid a body that comes %s gets 408 after bodyTimeout', async (_, size) => {
    await serve(async (request) => new Response(await request.text()), { bodyTimeout: 300 })
    const client = connect()
      .send(request('/', 'POST', `Content-Length: ${size}\r\n`))
      .send(Buffer.alloc(5000))
    expect((await client.response()).status).toBe(408)
    await client.closed
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it('is waited for while its handler works, or does not read', async () => {
    const times = { headersTimeout: 200, bodyTimeout: 200, keepAliveTimeout: 200, sendTimeout: 200 }
    await serve(async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 1500))
      return new Response(String((await request.arrayBuffer()).byteLength))
    }, times)
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 100000\r\n'))
      .send(Buffer.alloc(100_000))
    expect((await client.response()).body.toString()).toBe('100000')
  })

  it('does not count beyond maxConnections', async () => {
    await serve(() => new Response('x'), { maxConnections: 3 })
    const held = [connect(), connect(), connect()]
    await Promise.all(held.map(async (client) => client.send(request('/')).response()))
    const refused = connect()
    await refused.closed
    expect(refused.bytesRead).toBe(0)
    await expect
      .poll(() => logger.lines.map(({ line }) => line))
      .toContain('mongrel2-fetch front: refused a connection, since 3 are open (maxConnections)')
  })

  it('and does not read is gone after sendTimeout', async () => {
    let cancelled = false
    const body = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(Buffer.alloc(64 * KIB)),
        cancel: () => {
          cancelled = true
        },
      })
    await serve(() => new Response(body()), { sendTimeout: 300 })
    connect().send(request('/')).pause()
    await expect.poll(() => cancelled, { timeout: 10_000 }).toBe(true)
  })
})

describe('A WebSocket', () => {
  const echo = (request: Request): Response => {
    if (request.headers.get('upgrade') === null) return new Response(pathOf(request))
    const { socket, response } = upgradeWebSocket(request, { maxPayload: 8 * 1024 * KIB })
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) =>
      socket.send(data instanceof ArrayBuffer ? `${data.byteLength} bytes` : String(data))
    return response
  }
  const HANDSHAKE = request(
    '/socket',
    'GET',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
  )

  it('may begin behind requests, whose answers go out first', async () => {
    const gate = new Gate()
    await serve(async (request) => {
      if (pathOf(request) === '/late') await gate.pass('late')
      return echo(request)
    })
    const client = connect().send(request('/one'))
    expect((await client.response()).body.toString()).toBe('/one')
    client.send(request('/late') + HANDSHAKE)
    await gate.arrival('late')
    gate.open('late')
    expect((await client.response()).body.toString()).toBe('/late')
    expect(await client.response()).toMatchObject({ status: 101 })
    client.send(clientFrame(1, 'hi'))
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    client.send(clientFrame(8, Buffer.from([3, 232])))
    expect((await client.readToEnd()).toString('latin1')).toBe('\x81\x02hi\x88\x02\x03\xe8')
  })

  it('that is refused is answered as any request', async () => {
    await serve(() => new Response('no', { status: 403 }))
    const client = connect().send(HANDSHAKE)
    expect(await client.response()).toMatchObject({ status: 403, body: Buffer.from('no') })
    await client.closed
  })

  it('sends messages in whatever pieces: fragments, frames in one read, frames byte by byte', async () => {
    await serve(echo)
    const client = await openWebSocket()
    const frames = [
      clientFrame(1, 'a', { fin: false }),
      clientFrame(9, 'ping'),
      clientFrame(0, '', { fin: false }),
      clientFrame(0, 'b'),
      clientFrame(2, Buffer.alloc(300)),
      clientFrame(2, Buffer.alloc(70_000)),
    ]
    client.send(Buffer.concat(frames))
    for (const byte of clientFrame(1, 'slowly')) client.send(Buffer.from([byte]))
    await client.until(() => client.frames.length === 5)
    expect(client.frames.map(describeFrame)).toEqual([
      'pong "ping"',
      'text "ab"',
      'text "300 bytes"',
      'text "70000 bytes"',
      'text "slowly"',
    ])
  })

  it.each([
    ['in one frame', clientFrame(2, '', { length: 100_001n, lengthBytes: 8 })],
    [
      'in fragments',
      Buffer.concat([clientFrame(2, Buffer.alloc(60_000), { fin: false }), clientFrame(0, Buffer.alloc(60_000))]),
    ],
  ])('whose message is larger than maxMessageSize, %s, ends with 1009', async (_, bytes) => {
    const handler = await handleRaw({ maxMessageSize: 100_000 })
    const opening = openWebSocket()
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 101 Switching Protocols\r\n\r\n')
    const client = await opening
    client.send(bytes)
    await client.until(() => client.ended)
    expect(client.frames.map(describeFrame)).toEqual(['close 1009 "a message of more than 100000 bytes"'])
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*', body: '{"type":"disconnect"}' })
  })

  it('ends without a close frame where the handler is amid a frame of its own', async () => {
    const handler = await handleRaw()
    const opening = openWebSocket()
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 101 Switching Protocols\r\n\r\n', Buffer.from([0x81, 5, 0x68]))
    const client = await opening
    client.send(clientFrame(1, 'x', { masked: false }))
    await client.until(() => client.ended)
    expect(client.frames).toEqual([])
  })

  it('is not what an Upgrade to something else is: the client goes on with HTTP/1.1', async () => {
    await serve(async (request) => new Response(`${pathOf(request)} ${await request.text()}`))
    const h2c = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'
    for (const asked of [request('/two', 'POST', `${h2c}Content-Length: 4\r\n`), request('/two', 'GET', h2c)]) {
      const body = asked.startsWith('POST') ? 'body' : ''
      const client = connect().send(request('/one') + asked + body)
      expect(bodies(await responses(client, 2))).toEqual(['/one ', `/two ${body}`])
    }
  })
})

describe('A handler', () => {
  it('that does not close connections is told that they are gone', async () => {
    const handler = await handleRaw()
    const client = connect().send(request('/'))
    expect(await handler.next()).toMatchObject({
      connection: 1,
      fields: ['host: localhost', 'x-forwarded-for: 127.0.0.1'],
    })
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect((await client.response()).body.toString()).toBe('ok')
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*', body: '{"type":"disconnect"}' })
    client.send(request('/'))
    expect(await handler.next()).toMatchObject({ connection: 2 })
  })

  it.each([
    'no response',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX Y\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n',
  ])('whose response cannot be sent, %j, is a 502', async (response) => {
    const handler = await handleRaw()
    const client = connect().send(request('/'))
    await handler.next()
    await handler.reply(1, response.includes('HTTP') ? response : `${response}\r\n\r\n`)
    expect((await client.response()).status).toBe(502)
    expect(await logger.next('error')).toContain("a handler's response cannot be sent")
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*' })
    client.send(request('/'))
    await handler.next()
  })

  it('that ends an answer amid its body cuts it, behind those before it', async () => {
    const handler = await handleRaw()
    const client = connect().send(request('/one') + request('/two') + request('/three'))
    for (let number = 0; number < 3; number++) await handler.next()
    await handler.reply(2, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', '')
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none', '')
    expect((await client.response()).body.toString()).toBe('one')
    const cut: unknown = await client.response().catch((error: unknown) => error)
    expect((cut as BrokenResponseError).body.toString()).toBe('half')
    expect(await handler.next()).toMatchObject({ connection: 3, path: '@*' })
  })

  it('may send a body whose end is that of the connection', async () => {
    const handler = await handleRaw()
    const client = connect().send(request('/'))
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\n\r\nall ', 'of it', '')
    expect(await client.response()).toMatchObject({ framing: 'chunked', body: Buffer.from('all of it') })
    client.send(request('/'))
    await handler.next()
  })

  it.each([
    ['closes', (handler: RawHandler) => handler.reply(1, '')],
    ['cancels', (handler: RawHandler) => handler.control(1, { cancel: true })],
  ])('that %s when it has answered reads no more of a body: the client sends the rest and goes on', async (_, end) => {
    const handler = await handleRaw()
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 3000000\r\n'))
      .send(Buffer.alloc(1_000_000))
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect((await client.response()).body.toString()).toBe('ok')
    await handler.control(1, { credits: 1000 })
    expect(await handler.next()).toMatchObject({ connection: 1, own: { UPLOAD_STREAM: '0' } })
    await end(handler)
    client.send(Buffer.alloc(2_000_000)).send(request('/next'))
    expect(await handler.next()).toMatchObject({ connection: 2, path: '/next' })
  })

  it('that reads a body when it has answered is told that its client sends nothing for bodyTimeout', async () => {
    const handler = await handleRaw({ bodyTimeout: 300 })
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 300000\r\n'))
      .send(Buffer.alloc(1000))
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect((await client.response()).body.toString()).toBe('ok')
    await handler.control(1, { credits: 300_000 })
    expect(await handler.next()).toMatchObject({ connection: 1, own: { UPLOAD_STREAM: '0' } })
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*' })
    await client.closed
  })

  it('that has answered and does not read all of a body that came is told in bodyTimeout that its client has left', async () => {
    const handler = await handleRaw({ bodyTimeout: 300 })
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 30000\r\n'))
      .send(Buffer.alloc(30_000))
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await client.response()
    await handler.control(1, { credits: 1000 })
    expect(await handler.next()).toMatchObject({ connection: 1, own: { UPLOAD_STREAM: '0' } })
    client.destroy()
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*' })
  })

  it('that reads a body when it has answered is told that it is broken', async () => {
    const handler = await handleRaw()
    const client = connect().send(`${request('/', 'POST', 'Transfer-Encoding: chunked\r\n')}5\r\nhello\r\n`)
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    expect((await client.response()).body.toString()).toBe('ok')
    await handler.control(1, { credits: 1000 })
    expect(await handler.next()).toMatchObject({ connection: 1, body: 'hello' })
    client.send('zz\r\n')
    expect(await handler.next()).toMatchObject({ connection: 1, path: '@*' })
    await client.closed
  })

  it('is waited for that reads a body slowly when it has answered, whatever the times for clients', async () => {
    const times = { headersTimeout: 200, bodyTimeout: 200, keepAliveTimeout: 200, sendTimeout: 200 }
    const handler = await handleRaw(times)
    const client = connect()
      .send(request('/', 'POST', 'Content-Length: 30000\r\n'))
      .send(Buffer.alloc(30_000))
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await client.response()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await handler.control(1, { credits: 30_000 })
    expect((await handler.next()).body.length + (await handler.next()).body.length).toBe(30_000)
    await handler.reply(1, '')
    await client.closed // after keepAliveTimeout
  })

  it('sends a head before there is a body', async () => {
    const handler = await handleRaw()
    const asked = httpRequest({ port: front.address.port, path: '/' }).end()
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    const [response] = await once(asked, 'response')
    await handler.reply(1, '5\r\nhel', 'lo\r\n0\r', '\n\r\n', '')
    expect((await buffer(response)).toString()).toBe('hello')
  })
})

describe('An answer that is left to others', () => {
  it('comes by a socket, whatever is between gateway and handler', async () => {
    const tokens: string[] = []
    await serve(async (_request, env) => {
      const { token, response } = await env.mongrel2.defer({ timeout: 60_000 })
      tokens.push(token)
      return response
    })
    await using replier = createReplier({ zeromq: endpoint(), logger })
    await replier.ready
    const client = connect().send(request('/'))
    await expect.poll(() => tokens.length).toBe(1)
    await replier.reply(tokens[0] as string, new Response('by another'))
    expect((await client.response()).body.toString()).toBe('by another')
  })
})

describe('Requests that nobody pulls', () => {
  /** The front has seen what clients did before this is answered, by itself. */
  const fence = async () => expect((await connect().send('GET ?x HTTP/1.1\r\n\r\n').response()).status).toBe(400)

  it('wait for the first handler in the process', async () => {
    const zeromq = endpoint('inproc')
    await start({}, zeromq)
    const client = connect().send(request('/a') + request('/b'))
    const other = connect().send(request('/c'))
    await fence()
    server = serveMongrel2((incoming) => new Response(pathOf(incoming)), { zeromq, logger })
    const bodies = [...(await responses(client, 2)), await other.response()].map(({ body }) => body.toString())
    expect(bodies).toEqual(['/a', '/b', '/c'])
  })

  const connectHandler = async () => {
    const handler = await RawHandler.connect(`${endpoint().sendSpec},${endpoint().recvSpec}`)
    clients.push(handler)
    return handler
  }

  it('are dropped when their clients leave, and so are the notices of that', async () => {
    await start()
    const leaving = Array.from({ length: 20 }, (_, number) => connect().send(request(`/${number}`)))
    await fence()
    for (const client of leaving) client.reset()
    await fence()
    connect().send(request('/stays'))
    await fence()
    const handler = await connectHandler()
    const paths = [(await handler.next()).path, (await handler.next()).path, (await handler.next()).path]
    // The first was on its way already.
    expect([paths[0]?.match(/^\/\d+$/) !== null, ...paths.slice(1)]).toEqual([true, '@*', '/stays'])
    await fence()
    expect(handler.waiting).toBe(0)
  })

  it('wait up to 32 MiB; those beyond are answered with 503', async () => {
    const SIZE = 8 * 1024 * KIB
    await start({ contentLength: SIZE })
    const post = async () => {
      const client = connect().send(request('/', 'POST', `Content-Length: ${SIZE}\r\n`))
      await client.written(Buffer.alloc(SIZE))
      await fence()
      return client
    }
    const all = [await post(), await post(), await post(), await post(), await post()]
    // The fifth, unless its body is read before that of another.
    const answers = all.map(async (client) => ({ refused: client, status: (await client.response()).status }))
    const { refused, status } = await Promise.race(answers)
    expect(status).toBe(503)
    expect(logger.lines.map(({ line }) => line)).toContainEqual(expect.stringContaining('bytes wait to be pulled'))
    all.findLast((client) => client !== refused)?.reset()
    await fence()
    refused.send(request('/again'))
    const handler = await connectHandler()
    for (const path of ['/', '/', '/', '/again']) expect((await handler.next()).path).toBe(path)
    await handler.reply(4, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', '')
    expect((await refused.response()).body.toString()).toBe('ok')
  })
})
