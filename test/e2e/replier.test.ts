import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { parseToken, renderToken, type Token } from '../../src/connection/token.ts'
import {
  type FetchHandler,
  type Mongrel2Options,
  type Mongrel2Server,
  type ReplierOptions,
  type ServerWebSocket,
  upgradeWebSocket,
} from '../../src/index.ts'
import { embedded } from '../support/embedded.ts'
import { idleKill } from '../support/idle-kill.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { get, headerOf, RawClient, request } from '../support/raw-client.ts'
import { createReplier, type Replier } from '../support/replier.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const IDLE_KILL = idleKill(2)

let mongrel2: Mongrel2
let server: Mongrel2Server | WorkersServer
let replier: Replier
let logger: CollectingLogger
let clients: RawClient[]
/** The tokens of what was deferred, in its order, with the requests. */
let deferred: { token: string; request: Request }[]

beforeEach(() => {
  logger = new CollectingLogger()
  clients = []
  deferred = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await replier.close()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

/** Defers what has a path that begins so; its query says the time. */
const handler: FetchHandler = async (request, env) => {
  const url = new URL(request.url)
  if (url.pathname !== '/defer') return new Response(url.pathname)
  const { token, response } = await env.mongrel2.defer({ timeout: Number(url.searchParams.get('timeout') ?? 60_000) })
  deferred.push({ token, request })
  return response
}

async function start(
  settings: Mongrel2TestOptions = {},
  options: Partial<Mongrel2Options> = {},
  replierOptions: Partial<ReplierOptions> = {},
): Promise<void> {
  mongrel2 = await startMongrel2(settings)
  server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger, ...options })
  replier = createReplier({ zeromq: mongrel2.endpoint, logger, ...replierOptions })
  await Promise.all([server.ready, replier.ready])
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

async function defer(client: RawClient, ...parameters: Parameters<typeof request>): Promise<string> {
  const before = deferred.length
  client.send(request(...parameters))
  await expect.poll(() => deferred.length).toBe(before + 1)
  return deferred[before]?.token ?? ''
}

function connections(): number {
  return server.stats().connections
}

describe.each([
  ['without flow control', {}],
  ['with flow control', { flowControl: true }],
] as const)('an answer from elsewhere, %s,', (_, settings) => {
  it('arrives, closes the connection and frees what the server knew of it', async () => {
    await start(settings)
    const client = connect()
    const token = await defer(client, '/defer')
    await replier.reply(token, Response.json({ done: true }, { status: 201, headers: { 'x-by': 'a worker' } }))
    const response = await client.response()
    expect(response.statusLine).toBe('HTTP/1.1 201 Created')
    expect(JSON.parse(response.body.toString())).toEqual({ done: true })
    expect(['connection', 'x-by', 'content-length'].map((name) => headerOf(response, name))).toEqual([
      'close',
      'a worker',
      '13',
    ])
    await client.closed
    await expect.poll(connections).toBe(0)
    expect(logger.lines).toEqual([])
  })

  it('follows the answers to what was asked before, though the worker is quicker', async () => {
    await start(settings)
    const client = connect()
    const token = defer(client.send(request('/first') + request('/second')), '/defer')
    await replier.reply(await token, new Response('third'))
    const bodies = [await client.response(), await client.response(), await client.response()].map(({ body }) =>
      body.toString(),
    )
    expect(bodies).toEqual(['/first', '/second', 'third'])
    await client.closed
  })

  it('may be a stream, which goes out when it is complete, and as large as may be', async () => {
    await start(settings)
    const client = connect()
    const token = await defer(client, '/defer')
    const pieces = Array.from({ length: 10 }, (_, number) => Buffer.alloc(10_000, String(number)))
    const stream = new ReadableStream<Uint8Array>({
      async start(controller) {
        for (const piece of pieces) {
          await sleep(1)
          controller.enqueue(piece)
        }
        controller.close()
      },
    })
    await replier.reply(token, new Response(stream))
    expect((await client.response()).body.equals(Buffer.concat(pieces))).toBe(true)
    await client.closed
  })
})

describe('an answer from elsewhere', () => {
  it('has no body for HEAD, and none of its framing for a client of HTTP/1.0', async () => {
    await start()
    const [head, old] = [connect(), connect()]
    await replier.reply(await defer(head, '/defer', 'HEAD'), new Response('not sent'))
    const response = await head.response('HEAD')
    expect([response.status, headerOf(response, 'content-length')]).toEqual([200, '8'])
    expect((await head.readToEnd()).length).toBe(0)
    const token = await defer(old, '/defer', 'GET', '', '1.0')
    const stream = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await sleep(10)
        controller.enqueue(Buffer.from('as it is'))
        controller.close()
      },
    })
    await replier.reply(token, new Response(stream))
    const { framing, body } = await old.response()
    expect([framing, body.toString()]).toEqual(['close', 'as it is'])
  })

  it('of some megabytes arrives whole at a client that reads slowly', async () => {
    await start()
    const client = connect()
    const token = await defer(client, '/defer')
    client.pause()
    const body = Buffer.alloc(6_000_000, 'megabytes ')
    await replier.reply(token, new Response(body))
    await sleep(200)
    client.resume()
    expect((await client.response()).body.equals(body)).toBe(true)
  })

  it('is refused when it is too large, and another takes its place', async () => {
    await start({ flowControl: true })
    const client = connect()
    const token = await defer(client, '/defer')
    await expect(replier.reply(token, new Response(Buffer.alloc(102_400)))).rejects.toMatchObject({
      code: 'over_budget',
    })
    let cancelled = false
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(Buffer.alloc(20_000)),
      cancel: () => {
        cancelled = true
      },
    })
    await expect(replier.reply(token, new Response(endless))).rejects.toMatchObject({ code: 'over_budget' })
    expect(cancelled).toBe(true)
    await replier.reply(token, new Response('too large', { status: 507 }))
    expect((await client.response()).status).toBe(507)
  })

  it('is not begun when its body fails or it cannot be sent, and another takes its place', async () => {
    await start()
    const client = connect()
    const token = await defer(client, '/defer')
    const broken = new ReadableStream({
      async start(controller) {
        controller.enqueue(Buffer.from('a beginning'))
        await sleep(20)
        controller.error(new Error('the disk is gone'))
      },
    })
    await expect(replier.reply(token, new Response(broken))).rejects.toThrow('the disk is gone')
    await expect(replier.reply(token, Response.error())).rejects.toMatchObject({ code: 'invalid_response' })
    await replier.reply(token, new Response('in its place', { status: 500 }))
    expect((await client.response()).body.toString()).toBe('in its place')
  })

  it('is given once: a second one is refused, and one of another process does no harm', async () => {
    await start()
    const [client, next] = [connect(), connect()]
    const token = await defer(client, '/defer')
    await using other = createReplier({ zeromq: mongrel2.endpoint, logger })
    await other.ready
    await replier.reply(token, new Response('first'))
    await expect(replier.reply(token, new Response('second'))).rejects.toMatchObject({ code: 'stale_token' })
    await client.closed
    await other.reply(token, new Response('third'))
    expect((await client.readToEnd()).toString()).toMatch(/\r\n\r\nfirst$/)
    expect(await get(next, '/next')).toBe('/next')
    await expect.poll(connections).toBe(0)
  })

  it('that does not come in time is a 504, and what comes later is refused, or reaches nobody', async () => {
    await start()
    const client = connect()
    const token = await defer(client, '/defer?timeout=300')
    expect((await client.response()).status).toBe(504)
    await client.closed
    expect(deferred[0]?.request.signal.reason).toMatchObject({ name: 'TimeoutError' })
    expect(connections()).toBe(0)
    await expect.poll(() => replier.reply(token, new Response('late')).catch((error) => error.code)).toBe('stale_token')
    const next = connect()
    expect(await get(next, '/next')).toBe('/next')
  })

  it('for a client that has left reaches nobody; the signal says that it has, and nothing is kept', async () => {
    await start()
    const [client, next] = [connect(), connect()]
    const token = await defer(client, '/defer')
    client.destroy()
    await expect.poll(() => deferred[0]?.request.signal.aborted).toBe(true)
    expect(connections()).toBe(0)
    await replier.reply(token, new Response('to nobody'))
    expect(await get(next, '/next')).toBe('/next')
  })

  it('can still be given when the server is gone and another has taken its place', async () => {
    await start()
    const [client, next] = [connect(), connect()]
    const token = await defer(client, '/defer')
    await server.close()
    server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger })
    await server.ready
    expect(await get(next, '/next')).toBe('/next')
    await replier.reply(token, new Response('all the same'))
    expect((await client.response()).body.toString()).toBe('all the same')
    expect(logger.lines).toEqual([])
  })

  it.skipIf(embedded)('keeps its connection, which Mongrel2 would end as idle', async () => {
    await start({ settings: IDLE_KILL }, { keepAliveInterval: 500 })
    const client = connect()
    const token = await defer(client, '/defer')
    await sleep(6000)
    expect(client.ended).toBe(false)
    await replier.reply(token, new Response('after a while'))
    expect((await client.response()).body.toString()).toBe('after a while')
  })
})

describe('a token', () => {
  it.each([
    ['ipc', false],
    ['tcp', true],
  ])('made before the replier was there is as good as any on one machine, by %s', async (_, tcp) => {
    await start({ tcp })
    const client = connect()
    const token = await defer(client, '/defer')
    await using late = createReplier({ zeromq: mongrel2.endpoint, logger })
    await late.reply(token, new Response('late'))
    expect((await client.response()).body.toString()).toBe('late')
  })

  it.each([
    ['ipc', false],
    ['tcp', true],
  ])('of another life is refused: who has the number now gets nothing of it, by %s', async (_, tcp) => {
    await start({ tcp })
    const token = await defer(connect(), '/defer')
    await mongrel2.restart({ signal: 'SIGKILL' })
    await using fresh = createReplier({ zeromq: mongrel2.endpoint, logger })
    await fresh.ready
    const stranger = connect()
    let again = ''
    // The server and the replier of before find Mongrel2 again.
    await expect
      .poll(async () => {
        again ||= await defer(stranger, '/defer')
        return await replier.reply(again, new Response('for the stranger')).catch((error) => error.code)
      })
      .toBeUndefined()
    for (const each of [replier, fresh]) {
      await expect(each.reply(token, new Response('secret'))).rejects.toMatchObject({ code: 'stale_token' })
    }
    expect((await stranger.readToEnd()).toString()).toMatch(/\r\n\r\nfor the stranger$/)
  })

  it('of a life that cannot be named is good only when it was made after the replier connected', async () => {
    await start()
    const client = connect()
    const text = await defer(client, '/defer')
    const token: Token = { ...parseToken(text), socketId: undefined }
    const [old, elsewhere] = [
      { ...token, madeAt: Date.now() - 60_000 },
      { ...token, recvSpec: 'tcp://192.0.2.1:9998' },
    ]
    for (const each of [old, elsewhere]) {
      await expect(replier.reply(renderToken(each), new Response('secret'))).rejects.toMatchObject({
        code: 'stale_token',
      })
    }
    await replier.reply(renderToken({ ...token, madeAt: Date.now() + 2000 }), new Response('for the client'))
    expect((await client.response()).body.toString()).toBe('for the client')
  })

  it('finds its Mongrel2 among several', async () => {
    const other = await startMongrel2()
    try {
      await start()
      const client = connect()
      const token = await defer(client, '/defer')
      await using both = createReplier({ zeromq: [other.endpoint, mongrel2.endpoint], logger })
      await using wrong = createReplier({ zeromq: other.endpoint, logger })
      await expect(wrong.reply(token, new Response('lost'))).rejects.toMatchObject({ code: 'stale_token' })
      await both.reply(token, new Response('found'))
      expect((await client.response()).body.toString()).toBe('found')
    } finally {
      await other.stop()
    }
  })

  it('that is none is refused, and so is one for something else', async () => {
    await start()
    const token = await defer(connect(), '/defer')
    await expect(replier.reply('42', new Response())).rejects.toMatchObject({ code: 'invalid_token' })
    await expect(replier.send(token, 'a frame')).rejects.toMatchObject({ code: 'invalid_token' })
  })
})

describe('frames from elsewhere', () => {
  async function open(
    settings: Mongrel2TestOptions = {},
  ): Promise<{ socket: ServerWebSocket; client: WebSocket; got: string[] }> {
    const sockets: ServerWebSocket[] = []
    mongrel2 = await startMongrel2(settings)
    server = serveMongrel2(
      (request) => {
        const { socket, response } = upgradeWebSocket(request)
        expect(() => socket.token).toThrow(expect.objectContaining({ name: 'InvalidStateError' }))
        socket.onopen = () => sockets.push(socket)
        socket.onmessage = ({ data }) => socket.send(data)
        return response
      },
      { zeromq: mongrel2.endpoint, logger },
    )
    replier = createReplier({ zeromq: mongrel2.endpoint, logger })
    await Promise.all([server.ready, replier.ready])
    const client = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/`)
    const got: string[] = []
    client.on('message', (data: Buffer, binary) =>
      got.push(`${binary ? 'bytes' : 'text'} ${data.length > 20 ? data.length : data}`),
    )
    await expect.poll(() => sockets.length).toBe(1)
    await expect.poll(() => client.readyState).toBe(WebSocket.OPEN)
    return { socket: sockets[0] as ServerWebSocket, client, got }
  }

  it('arrive between those of the socket, text and bytes, and leave it open', async () => {
    const { socket, client, got } = await open()
    const { token } = socket
    expect(socket.token).toBe(token)
    await replier.send(token, 'from elsewhere')
    await replier.send(token, Buffer.alloc(30_000))
    await expect.poll(() => got).toEqual(['text from elsewhere', 'bytes 30000'])
    client.send('echo')
    await expect.poll(() => got.at(-1)).toBe('text echo')
    client.close()
  })

  it('beyond what is certain to be read are refused, and with the socket at its limit they do not end it', async () => {
    const { socket, client, got } = await open()
    const { token } = socket
    client.pause()
    const all = Array.from({ length: 200 }, (_, number) => `own ${number}`)
    for (const text of all) socket.send(text)
    // In messages of their own, as many as may be.
    for (let round = 0; round < 40; round++) {
      await sleep(1)
      socket.send(`late ${round}`)
    }
    let sent = 0
    const refused: unknown[] = []
    for (let round = 0; round < 10; round++) {
      await replier.send(token, `foreign ${sent}`).then(
        () => sent++,
        (error) => refused.push(error.code),
      )
    }
    expect([sent, new Set(refused)]).toEqual([4, new Set(['over_budget'])])
    client.resume()
    await expect.poll(() => got.length).toBe(244)
    expect(got.filter((text) => text.startsWith('text own'))).toEqual(all.map((text) => `text ${text}`))
    client.send('still open')
    await expect.poll(() => got.at(-1)).toBe('text still open')
    client.close()
  })

  it('are refused under flow control, where large messages go in pieces', async () => {
    const { socket, client } = await open({ flowControl: true })
    await expect(replier.send(socket.token, 'between')).rejects.toMatchObject({ code: 'over_budget' })
    client.close()
  })
})

describe('with workers', () => {
  async function withWorkers(count = 1): Promise<void> {
    mongrel2 = await startMongrel2()
    server = serveWithWorkers({
      workers: count,
      replaceTimeout: 500,
      options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger },
    })
    replier = createReplier({ zeromq: mongrel2.endpoint, logger })
    await Promise.all([server.ready, replier.ready])
  }

  /** The app of the tests with workers tells a second client the token of what it has deferred. */
  async function deferredToken(): Promise<string> {
    let token = ''
    await expect
      .poll(async () => {
        token = await get(connect(), '/token')
        return token
      })
      .not.toBe('')
    return token
  }

  it('an answer comes from elsewhere all the same, and nothing is kept', async () => {
    await withWorkers()
    const client = connect().send(request('/defer'))
    await replier.reply(await deferredToken(), new Response('from elsewhere'))
    expect((await client.response()).body.toString()).toBe('from elsewhere')
    await client.closed
    await expect.poll(connections).toBe(0)
    expect(logger.errors).toEqual([])
  })

  it.each([
    ['is replaced', () => (server as WorkersServer).reload()],
    [
      'is killed',
      async () => {
        const [worker] = (server as WorkersServer).stats().workers
        process.kill(worker?.pid ?? 0, 'SIGKILL')
        const others = () => (server as WorkersServer).stats().workers.filter(({ pid }) => pid !== worker?.pid)
        await expect.poll(() => others().map(({ state }) => state)).toEqual(['ready'])
      },
    ],
  ])('its client waits on when the worker that deferred it %s', async (_, replace) => {
    await withWorkers()
    const client = connect().send(request('/defer'))
    const token = await deferredToken()
    await replace()
    expect(await get(connect(), '/next')).toBe('/next')
    expect(client.ended).toBe(false)
    await replier.reply(token, new Response('after its worker'))
    expect((await client.response()).body.toString()).toBe('after its worker')
  })
})
