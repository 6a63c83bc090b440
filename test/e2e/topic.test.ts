import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { fetch } from 'undici'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { serveNode } from '../../adapters/node/index.ts'
import {
  type EndpointInput,
  type Mongrel2Env,
  type Mongrel2Options,
  type ServerWebSocket,
  Topic,
  type TopicOptions,
  upgradeWebSocket,
} from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { PACING_MODES } from '../support/pacing-modes.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'
import { RawWebSocket } from '../support/websocket-client.ts'
import { describeFrame, type ServerFrame } from '../support/websocket-frames.ts'

const OPCODE = { text: 1, close: 8, ping: 9 }

/** A server whose WebSockets, event streams (`/events`) and long polls (`/next`) are members of one topic. */
interface Stage extends AsyncDisposable {
  readonly mongrel2: Mongrel2
  readonly server: ReturnType<typeof serveMongrel2>
  readonly topic: Topic
  /** Sockets and what was said of their handshakes, in the order in which they came. */
  readonly sockets: ServerWebSocket[]
  readonly infos: Mongrel2Env['mongrel2'][]
  readonly origin: string
}

async function setStage({
  topic: topicOptions = {},
  mongrel2: settings = {},
  zeromq = ({ endpoint }) => endpoint,
  server: options = {},
}: {
  topic?: TopicOptions
  mongrel2?: Mongrel2TestOptions
  zeromq?: (mongrel2: Mongrel2) => EndpointInput
  server?: Partial<Mongrel2Options>
} = {}): Promise<Stage> {
  const mongrel2 = await startMongrel2(settings)
  const topic = new Topic(topicOptions)
  const sockets: ServerWebSocket[] = []
  const infos: Stage['infos'] = []
  const handler = (request: Request, env: Mongrel2Env) => {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname === '/events') return topic.stream(request)
    if (pathname === '/bytes') return topic.stream(request, { format: 'bytes' })
    if (pathname === '/next') return topic.next(request, { timeout: Number(searchParams.get('timeout') ?? 10_000) })
    const { socket, response } = upgradeWebSocket(request)
    topic.add(socket)
    sockets.push(socket)
    infos.push(env.mongrel2)
    return response
  }
  const server = serveMongrel2(handler, { ...options, zeromq: zeromq(mongrel2) })
  await server.ready
  return {
    mongrel2,
    server,
    topic,
    sockets,
    infos,
    origin: `http://127.0.0.1:${mongrel2.port}`,
    async [Symbol.asyncDispose]() {
      await server.close({ timeout: 0 })
      await mongrel2.stop()
    },
  }
}

/** Opens so many sockets, and resolves when all of them are open at both ends. */
async function open({ mongrel2, sockets }: Stage, count: number): Promise<RawWebSocket[]> {
  const before = sockets.length
  const clients = await Promise.all(Array.from({ length: count }, () => RawWebSocket.open(mongrel2.port)))
  for (const client of clients) client.answersPings = true
  await expect.poll(() => sockets.slice(before).filter(({ readyState }) => readyState === 1).length).toBe(count)
  return clients
}

/** Frames but pings. */
const messagesOf = ({ frames }: RawWebSocket): ServerFrame[] => frames.filter(({ opcode }) => opcode !== OPCODE.ping)
const textsOf = (client: RawWebSocket): string[] => messagesOf(client).map(({ payload }) => payload.toString())
const sent = (count: number) => Array.from({ length: count }, (_, n) => `message ${n}`)

describe.each(PACING_MODES)('Paced by $mode, a topic', ({ mode, config, zeromq }) => {
  const skipped = mode === 'controlPort' && lacks('control port')

  it.skipIf(skipped)('sends its messages amid those of socket.send, each client’s in their order', async () => {
    await using stage = await setStage({ mongrel2: config, zeromq })
    const clients = await open(stage, 10)
    const expected: string[][] = clients.map(() => [])
    for (let n = 0; n < 500; n++) {
      if (n % 50 === 0) await sleep(1)
      if (n % 3 === 0) {
        stage.topic.send(`all ${n}`)
        for (const texts of expected) texts.push(`all ${n}`)
      } else {
        stage.sockets[n % 10]?.send(`one ${n}`)
        expected[n % 10]?.push(`one ${n}`)
      }
    }
    // The clients come in any order.
    await expect.poll(() => clients.map(textsOf).sort()).toEqual(expected.sort())
  })

  /**
   * Opens 200 sockets, one of whose clients does not read. What is sent to that one alone fills what stands between, so that it is over
   * its budget with the first message for all.
   */
  async function openWithOneThatDoesNotRead(stage: Stage): Promise<{ quick: RawWebSocket[]; slow: RawWebSocket }> {
    const [slow] = (await open(stage, 1)) as [RawWebSocket]
    const [socket] = stage.sockets as [ServerWebSocket]
    slow.pause()
    for (let still = 0, before = 0; still < 20; ) {
      while (socket.bufferedAmount < 512 * 1024) socket.send('x'.repeat(64 * 1024))
      await sleep(10)
      still = socket.bufferedAmount === before || mode === 'estimate' ? still + 1 : 0
      before = socket.bufferedAmount
    }
    return { quick: await open(stage, 199), slow }
  }

  /** Sends 200 messages, each in a turn of its own, and resolves when each of these clients has all of them. */
  async function expectSentToAll({ topic }: Stage, clients: readonly RawWebSocket[]): Promise<void> {
    for (const text of sent(200)) {
      topic.send(text)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await expect
      .poll(() => new Set(clients.map((client) => textsOf(client).join())), { timeout: 20_000 })
      .toEqual(new Set([sent(200).join()]))
  }

  it.skipIf(skipped)('leaves out a member that does not read, and nobody else', async () => {
    const topic: TopicOptions = { maxBufferedBytes: 128 * 1024, whenSlow: 'drop' }
    await using stage = await setStage({ topic, mongrel2: config, zeromq })
    const { quick, slow } = await openWithOneThatDoesNotRead(stage)
    await expectSentToAll(stage, quick)
    expect(stage.topic.size).toBe(200)
    slow.resume()
    // When it has read, it gets messages again, and has had nothing but whole ones.
    await expect.poll(() => stage.sockets[0]?.bufferedAmount, { timeout: 20_000 }).toBe(0)
    slow.frames.length = 0
    stage.topic.send('to all again')
    await expect.poll(() => textsOf(slow)).toEqual(['to all again'])
    expect(slow.ended).toBe(false)
  })

  it.skipIf(skipped)('closes a member that does not read, behind what waits for it, and nobody else', async () => {
    const topic: TopicOptions = { maxBufferedBytes: 128 * 1024 }
    await using stage = await setStage({ topic, mongrel2: config, zeromq })
    const { quick, slow } = await openWithOneThatDoesNotRead(stage)
    await expectSentToAll(stage, quick)
    expect(stage.sockets[0]?.readyState).toBe(2)
    slow.resume()
    await expect.poll(() => messagesOf(slow).at(-1)?.opcode).toBe(OPCODE.close)
    const frames = messagesOf(slow)
    expect(describeFrame(frames.at(-1) as ServerFrame)).toBe('close 1013 "too slow"')
    expect(new Set(frames.slice(0, -1).map(({ payload }) => payload.length))).toEqual(new Set([64 * 1024]))
    slow.send(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf5]))
    await slow.until(() => false)
    await expect.poll(() => stage.topic.size).toBe(199)
    expect(quick.filter(({ ended }) => ended)).toEqual([])
  })

  it.skipIf(skipped)('sends 10,000 messages in one turn to quick and slow members', async () => {
    await using stage = await setStage({ mongrel2: config, zeromq })
    const clients = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const client = new WebSocket(`ws://127.0.0.1:${stage.mongrel2.port}/`)
        const came: string[] = []
        client.on('message', (data) => came.push(String(data)))
        await once(client, 'open')
        return { client, came }
      }),
    )
    await expect.poll(() => stage.sockets.filter(({ readyState }) => readyState === 1).length).toBe(3)
    clients[0]?.client.pause()
    setTimeout(() => clients[0]?.client.resume(), 300)
    for (const text of sent(10_000)) stage.topic.send(text)
    for (const { came } of clients) {
      await expect.poll(() => came.length).toBe(10_000)
      expect(came).toEqual(sent(10_000))
    }
    for (const { client } of clients) client.terminate()
  })
})

describe('A topic', () => {
  it('publishes one reply for up to 128 WebSockets, texts and bytes as such', async () => {
    await using stage = await setStage()
    const clients = await open(stage, 200)
    expect(stage.topic.size).toBe(200)
    const { replies } = stage.server.stats()
    stage.topic.send('text ü')
    stage.topic.send(Uint8Array.of(0, 255, 10))
    await expect.poll(() => clients.every(({ frames }) => frames.length === 2)).toBe(true)
    const [text, bytes] = clients[0]?.frames ?? []
    expect([text?.opcode, text?.payload.toString(), bytes?.opcode, [...(bytes?.payload ?? [])]]).toEqual([
      1,
      'text ü',
      2,
      [0, 255, 10],
    ])
    expect(new Set(clients.map(({ frames }) => frames.map(describeFrame).join())).size).toBe(1)
    expect(stage.server.stats().replies - replies).toBe(2)
  })

  it.skipIf(lacks('other settings'))('names as many in a reply as handlerTargets says', async () => {
    const settings = { 'limits.handler_targets': 300 }
    await using stage = await setStage({ mongrel2: { settings }, server: { handlerTargets: 300 } })
    const clients = await open(stage, 301)
    const { replies } = stage.server.stats()
    stage.topic.send('to all')
    await expect.poll(() => clients.filter((client) => textsOf(client).join() === 'to all').length).toBe(301)
    expect(stage.server.stats().replies - replies).toBe(2)
  })

  it('forgets members that are gone, and serves the others', async () => {
    await using stage = await setStage()
    const [first, second, third] = (await open(stage, 3)) as [RawWebSocket, RawWebSocket, RawWebSocket]
    first.destroy()
    stage.topic.send('one')
    await expect.poll(() => stage.topic.size).toBe(2)
    second.send(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
    await second.until(() => false)
    await expect.poll(() => stage.topic.size).toBe(1)
    const left = stage.sockets.find(({ readyState }) => readyState === 1) as ServerWebSocket
    stage.topic.send('two')
    expect([stage.topic.delete(left), stage.topic.delete(left)]).toEqual([true, false])
    stage.topic.send('three')
    left.send('alone')
    await expect.poll(() => textsOf(third)).toEqual(['one', 'two', 'alone'])
    stage.topic.add(left)
    stage.topic.send('four')
    await expect.poll(() => textsOf(third)).toEqual(['one', 'two', 'alone', 'four'])
    const gone = stage.sockets.find(({ readyState }) => readyState === 3) as ServerWebSocket
    expect(stage.topic.add(gone).size).toBe(1)
  })

  it('is not needed by server.broadcast, which takes sockets and env.mongrel2 of their handshakes', async () => {
    await using stage = await setStage()
    const clients: RawWebSocket[] = []
    for (let n = 0; n < 4; n++) clients.push(...(await open(stage, 1)))
    stage.server.broadcast([stage.sockets[0], stage.infos[1]] as [ServerWebSocket, Mongrel2Env['mongrel2']], 'you two')
    stage.server.broadcast(new Set(stage.sockets), Buffer.from('all'))
    await expect.poll(() => clients.map(textsOf)).toEqual([['you two', 'all'], ['you two', 'all'], ['all'], ['all']])
  })
})

/** The events of a response, or its bytes, as they come. */
class Events implements AsyncDisposable {
  text = ''
  /** How it ended. */
  end: 'done' | 'failed' | undefined
  readonly #controller = new AbortController()

  static async open(url: string, type = 'text/event-stream'): Promise<Events> {
    const events = new Events()
    const response = await fetch(url, { signal: events.#controller.signal })
    expect([response.status, response.headers.get('content-type')]).toEqual([200, type])
    void events.#read(response.body as AsyncIterable<Uint8Array>)
    return events
  }

  async #read(body: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of body) this.text += Buffer.from(chunk)
      this.end = 'done'
    } catch {
      this.end = 'failed'
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort()
  }
}

describe('A stream of bytes', () => {
  it('has every message as it is, in one reply for all clients', async () => {
    await using stage = await setStage()
    const clients = await Promise.all(
      Array.from({ length: 130 }, () => Events.open(`${stage.origin}/bytes`, 'application/octet-stream')),
    )
    const { replies } = stage.server.stats()
    stage.topic.send('one\n', { event: 'not said', id: '1' })
    stage.topic.send('')
    stage.topic.send(Buffer.from('ü\n'))
    await expect.poll(() => clients.filter(({ text }) => text === 'one\nü\n').length).toBe(130)
    // Two messages to 128 clients and to 2.
    expect(stage.server.stats().replies - replies).toBe(2)
    void stage.server.close()
    await expect.poll(() => clients.filter(({ end }) => end === 'done').length).toBe(130)
  })

  it('goes to a client of HTTP/1.0 without chunks', async () => {
    await using stage = await setStage()
    using client = new RawClient(stage.mongrel2.port)
    client.send('GET /bytes HTTP/1.0\r\n\r\n')
    await expect.poll(() => stage.topic.size).toBe(1)
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    for (const message of ['one', '', 'two']) stage.topic.send(message)
    void stage.server.close()
    const { body, framing } = await client.response()
    expect([framing, body.toString()]).toEqual(['close', 'onetwo'])
  })
})

describe('An event stream', () => {
  const TICKS = 'id: 1\nevent: tick\ndata: one\ndata: more\n\ndata: bytes ü\n\n'
  const tick = (topic: Topic) => {
    topic.send('one\nmore', { event: 'tick', id: '1' })
    topic.send(Buffer.from('bytes ü'))
  }

  it('has every message as an event, in one reply for all clients', async () => {
    await using stage = await setStage()
    const clients = await Promise.all(Array.from({ length: 130 }, () => Events.open(`${stage.origin}/events`)))
    const { replies } = stage.server.stats()
    tick(stage.topic)
    await expect.poll(() => clients.filter(({ text }) => text === TICKS).length).toBe(130)
    expect(stage.server.stats().replies - replies).toBe(2)
    for (const client of clients) await client[Symbol.asyncDispose]()
    await expect.poll(() => stage.topic.size).toBe(0)
  })

  it('has what was sent before its head went out', async () => {
    await using mongrel2 = await startMongrel2()
    const topic = new Topic()
    const handler = async (request: Request) => {
      const response = topic.stream(request)
      tick(topic)
      await sleep(10)
      return response
    }
    await using server = serveMongrel2(handler, { zeromq: mongrel2.endpoint })
    await server.ready
    await using client = await Events.open(`http://127.0.0.1:${mongrel2.port}/`)
    await expect.poll(() => client.text).toBe(TICKS)
  })

  it('ends with the server, behind what was sent, and so does what comes then', async () => {
    await using stage = await setStage()
    const clients = await Promise.all([Events.open(`${stage.origin}/events`), Events.open(`${stage.origin}/events`)])
    // Its goodbye is waited for, so that there is time for the other.
    const [polite] = (await open(stage, 1)) as [RawWebSocket]
    tick(stage.topic)
    const closed = stage.server.close()
    await polite.until(() => polite.frames.some(({ opcode }) => opcode === OPCODE.close))
    const late = await Events.open(`${stage.origin}/events`)
    await expect.poll(() => late.end).toBe('done')
    polite.destroy()
    await closed
    await expect.poll(() => clients.map(({ text, end }) => `${end} ${text}`)).toEqual(Array(2).fill(`done ${TICKS}`))
    expect(stage.topic.size).toBe(0)
  })

  it('goes to a client of HTTP/1.0 without chunks', async () => {
    await using stage = await setStage()
    using client = new RawClient(stage.mongrel2.port)
    client.send('GET /events HTTP/1.0\r\n\r\n')
    await expect.poll(() => stage.topic.size).toBe(1)
    await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    tick(stage.topic)
    void stage.server.close()
    const { body, framing } = await client.response()
    expect([framing, body.toString()]).toEqual(['close', TICKS])
  })

  it.each(['drop', 'close'] as const)('over its budget: %s, and nobody else suffers', async (whenSlow) => {
    const topic: TopicOptions = { whenSlow, maxBufferedBytes: 512 * 1024 }
    await using stage = await setStage({ topic, mongrel2: { flowControl: true } })
    using slow = new RawClient(stage.mongrel2.port)
    slow.send('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await expect.poll(() => slow.bytesRead).toBeGreaterThan(0)
    slow.pause()
    await using quick = await Events.open(`${stage.origin}/events`)
    const data = 'x'.repeat(64 * 1024)
    const event = `data: ${data}\n\n`
    const count = 200
    for (let n = 1; n <= count; n++) {
      stage.topic.send(data)
      await expect.poll(() => quick.text.length, { interval: 1 }).toBe(event.length * n)
    }
    expect(stage.topic.size).toBe(whenSlow === 'drop' ? 2 : 1)
    slow.resume()
    const response = slow.response()
    if (whenSlow === 'drop') {
      await expect.poll(() => slow.bytesRead).toBeGreaterThan(event.length)
      void stage.server.close()
    }
    const { body, framing } = await response
    expect(framing).toBe('chunked')
    const whole = body.length / event.length
    expect([Number.isInteger(whole), whole < count]).toEqual([true, true])
    expect(body.toString()).toBe(event.repeat(whole))
    if (whenSlow === 'close' && !lacks('kept connections')) await slow.closed
  })

  it('is an ordinary body for middleware', async () => {
    await using mongrel2 = await startMongrel2()
    const topic = new Topic()
    const app = new Hono()
    app.use('/gzip', compress())
    // The browsers' own event sources do not mind, but Hono's middleware leaves event streams alone: so it is another type.
    app.get('/gzip', (c) => {
      const { body } = topic.stream(c.req.raw)
      return new Response(body, { headers: { 'content-type': 'text/plain' } })
    })
    app.get('/upper', (c) => {
      const upper = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase())),
      })
      const response = topic.stream(c.req.raw)
      return new Response(response.body?.pipeThrough(upper), response)
    })
    await using server = serveMongrel2(app, { zeromq: mongrel2.endpoint })
    await server.ready
    await using upper = await Events.open(`http://127.0.0.1:${mongrel2.port}/upper`)
    const gzip = await fetch(`http://127.0.0.1:${mongrel2.port}/gzip`, { headers: { 'accept-encoding': 'gzip' } })
    expect(gzip.headers.get('content-encoding')).toBe('gzip')
    tick(topic)
    await expect.poll(() => upper.text).toBe(TICKS.toUpperCase().replace('ü', 'Ü'))
    await upper[Symbol.asyncDispose]()
    await expect.poll(() => topic.size).toBe(1)
    void server.close()
    expect(await gzip.text()).toBe(TICKS)
    expect(topic.size).toBe(0)
  })

  it('is an ordinary response on an ordinary HTTP socket', async () => {
    const topic = new Topic()
    await using server = await serveNode((request: Request) => topic.stream(request), { port: 0 })
    const { port } = server.address
    const client = await Events.open(`http://127.0.0.1:${port}/`)
    tick(topic)
    await expect.poll(() => client.text).toBe(TICKS)
    await client[Symbol.asyncDispose]()
    await expect.poll(() => topic.size).toBe(0)
  })
})

describe('A long poll', () => {
  it.skipIf(lacks('kept connections'))('is answered with the next message, in one reply for all clients', async () => {
    await using stage = await setStage()
    const polls = Promise.all(
      Array.from({ length: 100 }, async () => {
        const response = await fetch(`${stage.origin}/next`)
        return `${response.status} ${response.headers.get('content-type')} ${await response.text()}`
      }),
    )
    await expect.poll(() => stage.topic.size).toBe(100)
    const { replies } = stage.server.stats()
    stage.topic.send('news ü')
    expect(new Set(await polls)).toEqual(new Set(['200 text/plain;charset=UTF-8 news ü']))
    expect([stage.server.stats().replies - replies, stage.topic.size]).toEqual([1, 0])
  })

  it('is answered alone where middleware has its say, or the client wants another answer', async () => {
    await using mongrel2 = await startMongrel2()
    const topic = new Topic()
    const app = new Hono()
    app.use(async (c, next) => {
      await next()
      const name = c.req.query('name')
      if (name !== undefined) c.header('x-name', name)
    })
    app.get('/', (c) => topic.next(c.req.raw))
    await using server = serveMongrel2(app, { zeromq: mongrel2.endpoint })
    await server.ready
    const ask = async (query: string, method = 'GET') => {
      const response = await fetch(`http://127.0.0.1:${mongrel2.port}/${query}`, { method })
      return [response.headers.get('x-name'), response.headers.get('content-length'), await response.text()]
    }
    using old = new RawClient(mongrel2.port).send('GET / HTTP/1.0\r\n\r\n')
    const answers = Promise.all([ask('?name=a'), ask('?name=b'), ask(''), ask('', 'HEAD')])
    await expect.poll(() => topic.size).toBe(5)
    topic.send(Uint8Array.of(0x61))
    expect(await answers).toEqual([
      ['a', '1', 'a'],
      ['b', '1', 'a'],
      [null, '1', 'a'],
      [null, null, ''], // Hono's own answer to HEAD
    ])
    expect((await old.response()).body.toString()).toBe('a')
    await old.closed
  })

  it('ends without a message after its timeout, when its client leaves and when the server closes', async () => {
    await using stage = await setStage()
    const status = async (path: string) => (await fetch(`${stage.origin}${path}`)).status
    expect(await status('/next?timeout=20')).toBe(204)
    expect(stage.topic.size).toBe(0)
    using client = new RawClient(stage.mongrel2.port)
    client.send('GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await expect.poll(() => stage.topic.size).toBe(1)
    client.destroy()
    await expect.poll(() => stage.topic.size).toBe(0)
    const last = status('/next')
    await expect.poll(() => stage.topic.size).toBe(1)
    await stage.server.close()
    expect(await last).toBe(204)
  })
})

describe('A topic with a name', () => {
  it.each([
    { workers: 2, threads: 1 },
    { workers: 2, threads: 2 },
  ])('is one in $workers processes of $threads threads, and outlives one of them', async ({ workers, threads }) => {
    await using mongrel2 = await startMongrel2()
    const logger = {}
    await using server = serveWithWorkers({ workers, threads, options: { zeromq: mongrel2.endpoint, logger } })
    await server.ready
    const clients = await Promise.all(Array.from({ length: 12 }, () => RawWebSocket.open(mongrel2.port, '/topic')))
    await using events = await Events.open(`http://127.0.0.1:${mongrel2.port}/topic/events`)
    await expect.poll(() => clients.map((client) => textsOf(client).length)).toEqual(Array(12).fill(1))
    const names = clients.map((client) => textsOf(client)[0] ?? '')
    expect(new Set(names).size).toBe(workers * threads)
    const say = (client: RawWebSocket | undefined, text: string) =>
      client?.send(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]))
    for (const [n, client] of clients.entries()) say(client, `hello from ${n}`)
    const everybody = new Set(Array.from({ length: 12 }, (_, n) => `hello from ${n}`))
    for (const client of clients) {
      await expect.poll(() => textsOf(client).length).toBe(13)
      expect(new Set(textsOf(client).slice(1))).toEqual(everybody)
    }
    await expect.poll(() => events.text.split('\n\n').length).toBe(13)
    expect(events.text).toContain('event: told\ndata: hello from 0\n\n')

    const dead = Number.parseInt(names[0] ?? '', 10)
    process.kill(dead, 'SIGKILL')
    const left = clients.filter((_, n) => Number.parseInt(names[n] ?? '', 10) !== dead)
    await clients[0]?.until(() => false)
    say(left[0], 'still here')
    for (const client of left) await expect.poll(() => textsOf(client).at(-1)).toBe('still here')
  })
})
