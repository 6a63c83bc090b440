import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MessageConnection, MessageHandlers, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { embedded } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, type Route, startMongrel2 } from '../support/mongrel2.ts'
import { pacedBy } from '../support/pacing-modes.ts'
import { RawClient } from '../support/raw-client.ts'
import { createReplier } from '../support/replier.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
let clients: RawClient[]
/** What has happened, in a few words. */
let events: string[]
let connections: MessageConnection[]

beforeEach(() => {
  logger = new CollectingLogger()
  clients = []
  events = []
  connections = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

/** Keeps what happens. */
const recording: MessageHandlers = {
  json: ({ route, data }) => void events.push(`json ${route} ${JSON.stringify(data)}`),
  xml: ({ route, data }) => void events.push(`xml ${route} ${data}`),
  open: (connection) => {
    events.push(`open ${connection.pattern}`)
    connections.push(connection)
  },
  close: () => void events.push('close'),
}

async function start(
  messages: MessageHandlers | undefined = recording,
  settings: Mongrel2TestOptions = {},
  options: Partial<Mongrel2Options> = {},
  route: Route = {},
): Promise<void> {
  mongrel2 = await startMongrel2({ routes: { '/': { also: ['@chat', '@other', '<chat'], ...route } }, ...settings })
  const endpoint = { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger }
  const fetch = async (request: Request) => {
    const { pathname } = new URL(request.url)
    return pathname === '/never' ? await new Promise<Response>(() => {}) : new Response(pathname)
  }
  server = serveMongrel2(fetch, {
    ...endpoint,
    ...options,
    ...(messages === undefined ? {} : { messages }),
  })
  await server.ready
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** Opens a JSON socket by its first message. */
async function open(first = '{"first":true}'): Promise<{ client: RawClient; connection: MessageConnection }> {
  const before = connections.length
  const client = connect().send(`@chat ${first}\0`)
  await expect.poll(() => connections.length).toBe(before + 1)
  return { client, connection: connections[before] as MessageConnection }
}

/** Resolves with all that a client has got when so many bytes have come. */
async function received(client: RawClient, connection: MessageConnection, bytes: number): Promise<string> {
  await expect.poll(() => client.bytesRead).toBeGreaterThanOrEqual(bytes)
  connection.close()
  return (await client.readToEnd()).toString('latin1')
}

/** What Mongrel2 makes of some messages. */
function encoded(...messages: (string | Buffer)[]): string {
  return messages.map((message) => Buffer.from(message).toString('base64')).join('')
}

// The embedded front has none of these routes.
describe.skipIf(embedded)('message sockets', () => {
  it.each(['json', 'tnetstring'] as const)('bring JSON and XML in its order, by the protocol %s', async (protocol) => {
    await start(recording, {}, {}, { protocol })
    const json = connect().send('@chat {"n":1}\0@other {"text":"\\u00e4 ')
    await expect.poll(() => events.length).toBe(2)
    json.send(Buffer.from('ü"}\0@chat {"n":3}\0'))
    await expect.poll(() => events.length).toBe(4)
    expect(events).toEqual(['open @chat', 'json @chat {"n":1}', 'json @other {"text":"ä ü"}', 'json @chat {"n":3}'])
    events.length = 0
    const xml = connect().send(Buffer.from('<chat n="1">hä</chat>\0<chat/>\0'))
    await expect.poll(() => events.length).toBe(3)
    expect(events).toEqual(['open <chat', 'xml <chat <chat n="1">hä</chat>', 'xml <chat <chat/>'])
    expect(server.stats().connections).toBe(2)
    json.destroy()
    xml.destroy()
    await expect.poll(() => events.slice(3)).toEqual(['close', 'close'])
    expect(server.stats().connections).toBe(0)
    expect(connections.map(({ isOpen, remoteAddress }) => [isOpen, remoteAddress])).toEqual(
      Array(2).fill([false, '127.0.0.1']),
    )
    expect(logger.lines).toEqual([])
  })

  it('get replies in base64 one by one, with nothing between them and without a zero byte at the end', async () => {
    await start()
    const { client, connection } = await open()
    const bytes = Buffer.from([0, 255, 7])
    connection.send('a')
    connection.send('bc\0')
    connection.send('')
    connection.send(bytes)
    bytes.fill(1)
    connection.send('ü'.repeat(50_000))
    const expected = encoded('a', 'bc', Buffer.from([0, 255, 7]), 'ü'.repeat(50_000))
    expect((await received(client, connection, expected.length)) === expected).toBe(true)
  })

  it('get replies as they are where the Handler has raw_payload', async () => {
    await start({ ...recording, rawPayload: true }, {}, {}, { rawPayload: true })
    const { client, connection } = await open()
    connection.send('{"a":1}\0')
    connection.send('{"b":2}\0')
    expect(await received(client, connection, 16)).toBe('{"a":1}\0{"b":2}\0')
  })

  it('are closed by either side, once, and send nothing any more', async () => {
    await start()
    const { client, connection } = await open()
    connection.send('bye')
    connection.close()
    connection.send('too late')
    connection.close()
    expect((await client.readToEnd()).toString()).toBe(encoded('bye'))
    expect(events.filter((event) => event === 'close')).toEqual(['close'])
    const other = await open()
    other.client.destroy()
    await expect.poll(() => events.filter((event) => event === 'close').length).toBe(2)
    other.connection.send('to nobody')
    await sleep(50)
    expect(server.stats().connections).toBe(0)
  })

  it('may be closed as they open', async () => {
    await start({ ...recording, open: (connection) => connection.close() })
    const client = connect().send('@chat {"a":1}\0')
    await client.closed
    expect(events).toEqual(['close'])
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('are closed when they break JSON, and nobody is bothered', async () => {
    await start()
    for (const bad of ['{not json}', '{"a":}', '{"a":1} and {more}', '{"\xff":1}']) {
      const { client } = await open()
      client.send(`@chat ${bad}\0`)
      await client.closed
    }
    const clean = await open()
    expect(clean.connection.isOpen).toBe(true)
    expect(events.filter((event) => event === 'close').length).toBe(4)
    expect(logger.lines).toEqual([])
  })

  it('keep deep and large JSON from doing harm', async () => {
    await start()
    const { client } = await open()
    const deep = `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`
    client.send(`@chat ${deep}\0@chat {"__proto__":{"polluted":true}}\0@chat {"end":1}\0`)
    await expect.poll(() => events.at(-1)).toBe('json @chat {"end":1}')
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  it('go on when a handler throws or rejects: it is logged, and told to error', async () => {
    const told: unknown[] = []
    const fault = (name: string) => new Error(`${name} is broken`)
    await start({
      json: async () => {
        throw fault('json')
      },
      open: () => {
        throw fault('open')
      },
      close: () => {
        throw fault('close')
      },
      error: (error) => {
        told.push(error)
        throw fault('error')
      },
    })
    const client = connect().send('@chat {"a":1}\0')
    await expect.poll(() => told.length).toBe(2)
    client.send('@chat {"a":2}\0')
    await expect.poll(() => told.length).toBe(3)
    client.destroy()
    await expect.poll(() => told.length).toBe(4)
    expect(told).toEqual(['open', 'json', 'json', 'close'].map(fault))
    expect(logger.errors.filter((line) => line.includes("a message socket's handler failed"))).toHaveLength(4)
    expect(logger.errors.filter((line) => line.includes('messages.error failed'))).toHaveLength(4)
  })

  it.each([
    ['nobody takes any', undefined, '@chat {"a":1}\0'],
    ['nobody takes JSON', { xml: recording.xml }, '@chat {"a":1}\0'],
    ['nobody takes XML', { json: recording.json }, '<chat/>\0'],
  ] as [string, MessageHandlers | undefined, string][])('are closed where %s', async (_, messages, message) => {
    mongrel2 = await startMongrel2({ routes: { '/': { also: ['@chat', '<chat'] } } })
    const endpoint = { zeromq: mongrel2.endpoint, logger }
    server = serveMongrel2(() => new Response(), messages === undefined ? endpoint : { ...endpoint, messages })
    await server.ready
    const client = connect().send(message)
    expect((await client.readToEnd()).length).toBe(0)
    expect(events).toEqual([])
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('that begin before an answer of HTTP has come are closed, and HTTP by the same route is HTTP', async () => {
    await start()
    const client = connect().send('GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n@chat {"a":1}\0')
    expect((await client.readToEnd()).length).toBe(0)
    expect(events).toEqual([])
    const other = connect().send('GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect((await other.response()).body.toString()).toBe('/other')
  })

  it('are kept though Mongrel2 would end them as idle', async () => {
    const settings = {
      'limits.tick_timer': 1,
      'limits.min_ping': 2,
      'limits.min_read_rate': 0,
      'limits.min_write_rate': 0,
      'limits.kill_limit': 0,
    }
    await start(recording, { settings }, { keepAliveInterval: 500 })
    const { client, connection } = await open()
    await sleep(5000)
    expect(client.ended).toBe(false)
    connection.send('still there')
    expect(await received(client, connection, 16)).toBe(encoded('still there'))
  })

  it('are closed with the server, after what was sent', async () => {
    await start()
    const { client, connection } = await open()
    connection.send('last')
    await server.close()
    expect((await client.readToEnd()).toString()).toBe(encoded('last'))
    expect(events.at(-1)).toBe('close')
  })

  it.each([
    ['credits', { flowControl: true }, {}],
    ['controlPort', {}, {}],
    ['estimate', {}, { minClientRate: 10_000_000, controlPort: false }],
  ] as const)(
    'take thousands of messages in one turn, whole and in order, paced by %s',
    async (mode, settings, options) => {
      await start(recording, settings, { ...options, flowControl: mode === 'credits' })
      if (mode === 'controlPort') {
        await server.close()
        server = serveMongrel2(() => new Response(), {
          zeromq: `${mongrel2.endpoint},${mongrel2.controlPort}`,
          logger,
          messages: recording,
        })
        await server.ready
      }
      const { client, connection } = await open()
      expect(server.stats().pacing).toEqual(pacedBy(mode, 1))
      // By estimate 15 messages go out in a second.
      const messages = Array.from({ length: mode === 'estimate' ? 60 : 2000 }, (_, number) =>
        `${number} `.repeat((number % 100) + 1),
      )
      // Larger than what is sent in a message elsewhere: it is not cut. Under flow control it would not be delivered.
      if (mode !== 'credits') messages.splice(30, 0, 'large '.repeat(200_000))
      for (const message of messages) connection.send(message)
      const size = messages.reduce((sum, { length }) => sum + length, 0)
      expect(connection.bufferedAmount).toBe(size)
      const expected = encoded(...messages)
      await expect.poll(() => client.bytesRead, { timeout: 25_000 }).toBe(expected.length)
      await expect.poll(() => connection.bufferedAmount).toBe(0)
      expect(await received(client, connection, expected.length)).toBe(expected)
    },
  )

  it('refuse under flow control what Mongrel2 would not deliver, and deliver what it just does', async () => {
    await start(recording, { flowControl: true }, { flowControl: true })
    const { client, connection } = await open()
    expect(() => connection.send(Buffer.alloc(76_801))).toThrow(expect.objectContaining({ code: 'over_budget' }))
    connection.send(Buffer.alloc(76_800, 'x'))
    connection.send('behind')
    expect((await received(client, connection, 102_408)) === encoded(Buffer.alloc(76_800, 'x'), 'behind')).toBe(true)
  })

  it('learn of flow control by its first credits', async () => {
    await start(recording, { flowControl: true })
    const first = await open()
    first.connection.send('a little')
    await expect
      .poll(async () => {
        const { client } = await open()
        client.destroy()
        return server.stats().pacing.credits > 0
      })
      .toBe(true)
  })

  it('are closed when more waits for them than may', async () => {
    const told: unknown[] = []
    await start(
      { ...recording, error: (error) => void told.push(error) },
      {},
      { maxBufferedBytes: 65_536, minClientRate: 1 },
    )
    const { client, connection } = await open()
    client.pause()
    for (let sent = 0; sent < 100 && connection.isOpen; sent++) {
      connection.send(Buffer.alloc(10_000))
      await sleep(1)
    }
    expect(told).toEqual([expect.objectContaining({ message: expect.stringContaining('maxBufferedBytes') })])
    expect(events.at(-1)).toBe('close')
  })

  it('get messages from elsewhere by their token', async () => {
    await start()
    const { client, connection } = await open()
    await using replier = createReplier({ zeromq: mongrel2.endpoint, logger })
    await replier.send(connection.token, 'from elsewhere')
    expect(await received(client, connection, 20)).toBe(encoded('from elsewhere'))
  })
})

it.skipIf(embedded)('message sockets work with workers, and are closed when theirs is gone', async () => {
  mongrel2 = await startMongrel2({ routes: { '/': { also: ['@chat'] } } })
  const workers = serveWithWorkers({ workers: 2, options: { zeromq: mongrel2.endpoint, logger } })
  try {
    await workers.ready
    const clients = [connect(), connect()]
    for (const client of clients) client.send('@chat {"say":"first"}\0')
    for (const client of clients) await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
    for (const client of clients) client.send('@chat {"say":"second"}\0')
    const texts = await Promise.all(
      clients.map(async (client) => {
        await expect.poll(() => client.bytesRead).toBeGreaterThanOrEqual(80)
        return client
      }),
    )
    const [killed] = workers.stats().workers
    process.kill(killed?.pid ?? 0, 'SIGKILL')
    await Promise.race(texts.map(({ closed }) => closed))
    const ended = texts.find(({ ended }) => ended)
    const said = Buffer.from((await ended?.readToEnd())?.toString() ?? '', 'base64').toString()
    expect(said.split(/ {2,}/)).toEqual([`${killed?.pid} first`, `${killed?.pid} second`, ''])
  } finally {
    await workers.close({ timeout: 1000 })
    server = serveMongrel2(() => new Response(), { zeromq: mongrel2.endpoint, logger })
  }
})
