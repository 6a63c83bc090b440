import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createGateway, type FrontSettings, type Gateway } from '../../src/gateway/index.ts'
import type { FetchHandler, Mongrel2Server } from '../../src/index.ts'
import {
  type CgiVariables,
  fastCgiBegin,
  fastCgiPairs,
  fastCgiParams,
  fastCgiRecord,
  fastCgiRecords,
  fastCgiRequest,
  fastCgiStdin,
  RECORD,
  scgiPacket,
  uwsgiPacket,
  variablesOf,
} from '../support/cgi-packets.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { serveMongrel2 } from '../support/serve.ts'

// Clients that speak uwsgi, FastCGI and SCGI by hand, well and badly. Through nginx: front-servers.test.ts.

const MIB = 1024 * 1024
const NONE = Buffer.alloc(0)
const PROTOCOLS = ['uwsgi', 'fastcgi', 'scgi'] as const
type Protocol = (typeof PROTOCOLS)[number]
/** Protocols by which the times and bounds are tested, which are shared. */
const SHARED: readonly Protocol[] = process.env.FULL === '1' ? PROTOCOLS : ['uwsgi']

let directory: string
let gateway: Gateway
let server: Mongrel2Server | undefined
let logger: CollectingLogger
let gate: Gate
let aborted: string[]
const sockets: Socket[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cgi-'))
  logger = new CollectingLogger()
  gate = new Gate()
  aborted = []
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await server?.close({ timeout: 1000 })
  await gateway.close()
  rmSync(directory, { recursive: true })
})

async function serve(handler: FetchHandler, settings: FrontSettings = {}): Promise<void> {
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  const places = Object.fromEntries(PROTOCOLS.map((protocol) => [protocol, '127.0.0.1:0']))
  gateway = await createGateway({
    ...places,
    routes: [{ path: '/', ...endpoint }],
    flowControl: true,
    logger,
    ...settings,
  })
  const observed: FetchHandler = (request, env, context) => {
    request.signal.addEventListener('abort', () => aborted.push(new URL(request.url).pathname))
    return handler(request, env, context)
  }
  server = serveMongrel2(observed, { zeromq: endpoint, logger })
  await server.ready
}

function open(protocol: Protocol): Socket {
  const port = gateway.addresses.find((one) => one.protocol === protocol)?.address?.port ?? 0
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  sockets.push(socket)
  return socket
}

/** The beginning of a request, without its body. */
function headOf(protocol: Protocol, variables: CgiVariables): Buffer {
  if (protocol === 'uwsgi') return uwsgiPacket(variables)
  if (protocol === 'scgi') return scgiPacket(variables)
  return Buffer.concat([fastCgiBegin(1), fastCgiParams(1, variables)])
}

function requestOf(protocol: Protocol, method: string, path: string, body = NONE): Buffer {
  const rest = protocol === 'fastcgi' ? fastCgiStdin(1, body) : body
  return Buffer.concat([headOf(protocol, variablesOf(method, path, body)), rest])
}

/** What no front server sends, of each kind. */
function malformed(protocol: Protocol): Buffer[] {
  const other = { uwsgi: Buffer.from([5, 0, 0, 0]), scgi: Buffer.from('GET / HTTP/1.1\r\n'), fastcgi: Buffer.of(2) }
  const withoutValue = {
    uwsgi: Buffer.from([0, 3, 0, 0, 1, 0, 65]),
    scgi: Buffer.from('15:CONTENT_LENGTH\0,'),
    fastcgi: Buffer.concat([
      fastCgiBegin(1),
      fastCgiRecord(RECORD.params, 1, Buffer.of(1)),
      fastCgiRecord(RECORD.params, 1),
    ]),
  }
  return [
    other[protocol],
    withoutValue[protocol],
    headOf(protocol, [...variablesOf('GET', '/'), ['X', 'x'.repeat(20_000)]]),
    headOf(protocol, [['CONTENT_LENGTH', 'x'], ...variablesOf('GET', '/').slice(1)]),
    Buffer.concat([
      headOf(protocol, variablesOf('POST', '/', 'long')),
      protocol === 'fastcgi' ? fastCgiStdin(1, Buffer.from('short')) : Buffer.from('longer'),
    ]),
  ]
}

/** What a server said until it closed; of FastCGI, the content of stdout. */
async function answer(protocol: Protocol, socket: Socket): Promise<string> {
  const bytes = await buffer(socket)
  if (protocol !== 'fastcgi') return bytes.toString('latin1')
  const records = fastCgiRecords(bytes)
  return records.map(([type, , content]) => (type === RECORD.stdout ? content : '')).join('')
}

const closed = (socket: Socket) => (socket.closed ? Promise.resolve() : once(socket.resume(), 'close'))
const endless = (count: () => void) =>
  new Response(
    new ReadableStream({
      pull(controller) {
        count()
        controller.enqueue(new Uint8Array(16 * 1024))
      },
    }),
  )

describe.each(PROTOCOLS)('A client of %s', (protocol) => {
  const statusLine = protocol === 'uwsgi' ? 'HTTP/1.1 201 Created' : 'Status: 201 Created'

  it('is answered, whatever the pieces that it sends', async () => {
    await serve(async (request) => new Response(`got ${await request.text()}`, { status: 201 }))
    const bytes = requestOf(protocol, 'POST', '/', Buffer.from('a body'))
    const socket = open(protocol).setNoDelay()
    for (const byte of bytes) {
      socket.write(Buffer.of(byte))
      await new Promise(setImmediate)
    }
    const text = await answer(protocol, socket)
    expect(text.startsWith(`${statusLine}\r\n`)).toBe(true)
    expect(text).toMatch(/content-length: 10\r\n/i)
    expect(text.endsWith('\r\n\r\ngot a body')).toBe(true)
  })

  it('gets a stream without chunks, and none of the fields about connections', async () => {
    const headers = { status: '404', 'content-type': 'text/plain' }
    await serve(() => new Response(new Blob(['one', 'two']).stream(), { status: 201, headers }))
    const text = await answer(protocol, sendTo(protocol, '/'))
    const [head = '', body] = text.split('\r\n\r\n')
    expect(body).toBe('onetwo')
    expect(head).not.toMatch(/^(?:connection|transfer-encoding|keep-alive):/im)
    expect(head.match(/^status:.*/gim) ?? []).toEqual(protocol === 'uwsgi' ? [] : [statusLine])
  })

  it.each(['destroy', 'end', 'resetAndDestroy'] as const)(
    'that leaves by %s aborts its request at once',
    async (how) => {
      await serve(async (request) => {
        await gate.pass(new URL(request.url).pathname)
        return new Response()
      })
      const socket = sendTo(protocol, '/left')
      await gate.arrival('/left')
      socket[how]()
      await expect.poll(() => aborted).toEqual(['/left'])
      gate.open('/left')
    },
  )

  it.skipIf(protocol === 'scgi')(
    'sends a body no faster than it is read, and gets an answer no faster than it reads',
    async () => {
      let pulled = 0
      await serve(async (request) => {
        if (request.method === 'GET') return endless(() => pulled++)
        await gate.pass('body')
        let bytes = 0
        for await (const piece of request.body ?? []) bytes += piece.length
        return Response.json(bytes)
      })
      const size = 24 * MIB
      const socket = open(protocol)
      const answered = answer(protocol, socket)
      socket.write(headOf(protocol, [['CONTENT_LENGTH', String(size)], ...variablesOf('POST', '/').slice(1)]))
      let taken = 0
      const piece = Buffer.alloc(48 * 1024)
      const record = protocol === 'fastcgi' ? fastCgiRecord(RECORD.stdin, 1, piece) : piece
      const finished = (async () => {
        for (let sent = 0; sent < size; sent += piece.length) {
          await new Promise<unknown>((resolve) => socket.write(record, resolve))
          taken += piece.length
        }
        if (protocol === 'fastcgi') socket.write(fastCgiRecord(RECORD.stdin, 1))
      })()
      await gate.arrival('body')
      await settled(() => taken)
      // What the sockets of both sides hold.
      expect(taken).toBeLessThan(size / 2)
      gate.open('body')
      await finished
      expect((await answered).endsWith(`\r\n\r\n${size}`)).toBe(true)

      const reader = sendTo(protocol, '/')
      await once(reader, 'readable')
      await settled(() => pulled)
      expect(pulled * 16 * 1024).toBeLessThan(size / 2)
    },
  )

  it('that sends something malformed is closed and counted, with a warning a second', async () => {
    await serve(async (request) => new Response(await request.text()))
    const start = performance.now()
    for (let round = 0; round < 3; round++) {
      for (const bytes of malformed(protocol)) {
        const socket = open(protocol)
        socket.write(bytes)
        await closed(socket)
      }
    }
    const cut = open(protocol)
    cut.end(requestOf(protocol, 'GET', '/').subarray(0, 20))
    await closed(cut)
    expect(gateway.stats()).toEqual({ connections: 0, malformed: 3 * malformed(protocol).length + 1 })
    const seconds = (performance.now() - start) / 1000
    expect(logger.warnings.length).toBeLessThanOrEqual(1 + seconds)
    expect(logger.warnings[0]).toContain(
      `mongrel2-fetch ${protocol}: closed a connection, since a request was malformed: expected `,
    )
    const good = await answer(protocol, sendTo(protocol, '/'))
    expect(good).toContain('200')
  })

  it('that sends more than it announced is closed, and its request aborted', async () => {
    await serve(async (request) => {
      await gate.pass('/more')
      return new Response(request.method)
    })
    const socket = sendTo(protocol, '/more')
    await gate.arrival('/more')
    socket.write(protocol === 'fastcgi' ? fastCgiStdin(1, Buffer.from('more')) : 'more')
    await closed(socket)
    await expect.poll(() => aborted).toEqual(['/more'])
    expect(gateway.stats()).toEqual({ connections: 0, malformed: 1 })
    gate.open('/more')
  })

  it.skipIf(!SHARED.includes(protocol))(
    'that says nothing, or half of something, is gone in its time; so are many',
    async () => {
      await serve(() => new Response(), { headersTimeout: 300 })
      const silent = Array.from({ length: 300 }, () => open(protocol))
      const half = open(protocol)
      half.write(requestOf(protocol, 'GET', '/').subarray(0, 20))
      await Promise.all([...silent, half].map(closed))
      await expect.poll(() => gateway.stats()).toEqual({ connections: 0, malformed: 1 })
    },
  )

  it.skipIf(!SHARED.includes(protocol))('that does not read its answer is gone after sendTimeout', async () => {
    await serve(() => endless(() => {}), { sendTimeout: 300 })
    const socket = sendTo(protocol, '/endless')
    await once(socket, 'readable')
    await expect.poll(() => aborted, { timeout: 5000 }).toEqual(['/endless'])
    expect(gateway.stats().connections).toBe(0)
  })

  it.skipIf(!SHARED.includes(protocol))('beyond maxConnections is closed', async () => {
    await serve(() => new Response(), { maxConnections: 1 })
    const first = open(protocol)
    await once(first, 'connect')
    await closed(open(protocol))
    first.write(requestOf(protocol, 'GET', '/'))
    expect(await answer(protocol, first)).toContain('200')
  })

  it.skipIf(!SHARED.includes(protocol))(
    'is answered when the gateway stops, and closed without a request',
    async () => {
      await serve(async () => {
        await gate.pass('/')
        return new Response('last')
      })
      const idle = open(protocol)
      const busy = sendTo(protocol, '/')
      await gate.arrival('/')
      await expect.poll(() => gateway.stats().connections).toBe(2)
      gateway.stop()
      await closed(idle)
      gate.open('/')
      expect(await answer(protocol, busy)).toMatch(/last$/)
    },
  )
})

/** Sends a GET request on a connection of its own. */
function sendTo(protocol: Protocol, path: string): Socket {
  const socket = open(protocol)
  socket.write(requestOf(protocol, 'GET', path))
  return socket
}

/** Resolves when a number has stopped growing. */
async function settled(number: () => number): Promise<void> {
  for (let before = -1; number() !== before; ) {
    before = number()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

describe('A client of FastCGI', () => {
  /** Reads records until one of a type comes. */
  async function until(socket: Socket, type: number): Promise<[number, number, string][]> {
    let bytes = NONE
    for (;;) {
      const records = fastCgiRecords(bytes)
      if (records.some(([one]) => one === type)) return records
      bytes = Buffer.concat([bytes, (await once(socket, 'data'))[0] as Buffer])
    }
  }

  const GET = variablesOf('GET', '/')
  const complete = '\0\0\0\0\0\0\0\0'

  it('keeps its connection where it says so, until keepAliveTimeout', async () => {
    await serve((request) => new Response(new URL(request.url).pathname), { keepAliveTimeout: 300 })
    const socket = open('fastcgi')
    for (const path of ['/a', '/b', '/c']) {
      socket.write(fastCgiRequest(1, variablesOf('POST', path, 'x'), Buffer.from('x'), true))
      const records = await until(socket, RECORD.end)
      expect(records.at(-1)).toEqual([RECORD.end, 1, complete])
      expect(records[0]?.[2]).toMatch(/^Status: 200 OK\r\n/)
      expect(records.at(-3)?.[2].endsWith(path)).toBe(true)
    }
    await closed(socket)
    await expect.poll(() => gateway.stats()).toEqual({ connections: 0, malformed: 0 })
  })

  it('has its second request beside the first refused, and learns why', async () => {
    await serve(async () => {
      await gate.pass('/')
      return new Response('first')
    })
    const socket = open('fastcgi')
    socket.write(fastCgiRequest(1, GET, NONE))
    await gate.arrival('/')
    socket.write(fastCgiRequest(2, GET, Buffer.from('ignored')))
    socket.write(fastCgiRecord(RECORD.getValues, 0, fastCgiPairs([['FCGI_MPXS_CONNS', '']])))
    const records = await until(socket, RECORD.values)
    expect(records[0]).toEqual([RECORD.end, 2, '\0\0\0\0\x01\0\0\0'])
    expect(records.at(-1)?.[2]).toBe('\x0f\x01FCGI_MPXS_CONNS0')
    gate.open('/')
    expect(await answer('fastcgi', socket)).toMatch(/first$/)
  })

  it('aborts a request by a record, and goes on', async () => {
    await serve(async (request) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/aborted') await gate.pass(pathname)
      return new Response(pathname)
    })
    const socket = open('fastcgi')
    socket.write(fastCgiRequest(1, variablesOf('GET', '/aborted'), NONE, true))
    await gate.arrival('/aborted')
    socket.write(fastCgiRecord(RECORD.abort, 1))
    expect((await until(socket, RECORD.end)).at(-1)).toEqual([RECORD.end, 1, complete])
    await expect.poll(() => aborted).toEqual(['/aborted'])
    gate.open('/aborted')
    socket.write(fastCgiRequest(1, variablesOf('GET', '/next'), NONE))
    expect(await answer('fastcgi', socket)).toMatch(/\/next$/)
  })

  it('sends a body without a length', async () => {
    await serve(
      async (request) =>
        new Response(`${request.headers.get('content-length')} ${(await request.arrayBuffer()).byteLength}`),
    )
    const socket = open('fastcgi')
    const variables = variablesOf('POST', '/').slice(1)
    socket.write(fastCgiRequest(1, variables, Buffer.alloc(100_000)))
    expect(await answer('fastcgi', socket)).toMatch(/null 100000$/)
  })

  it('of another role, or with malformed variables or a malformed body, learns a status', async () => {
    await serve(async (request) => new Response(await request.text()))
    const filter = open('fastcgi')
    filter.write(fastCgiBegin(7, { role: 3, keep: true }))
    expect(fastCgiRecords(await buffer(filter))).toEqual([[RECORD.end, 7, '\0\0\0\x01\x03\0\0\0']])
    const nameless = open('fastcgi')
    nameless.write(malformed('fastcgi')[1] as Buffer)
    expect(fastCgiRecords(await buffer(nameless))).toEqual([[RECORD.end, 1, '\0\0\0\x01\0\0\0\0']])
    const short = open('fastcgi')
    short.write(Buffer.concat([headOf('fastcgi', variablesOf('POST', '/', 'long')), fastCgiStdin(1, Buffer.from('s'))]))
    expect(fastCgiRecords(await buffer(short))).toEqual([[RECORD.end, 1, '\0\0\0\x01\0\0\0\0']])
  })

  it('that asks and does not read answers is closed', async () => {
    await serve(() => new Response())
    const socket = open('fastcgi').pause()
    const question = Buffer.concat(Array.from({ length: 5000 }, () => fastCgiRecord(77, 0)))
    const flood = () => socket.writable && socket.write(question, flood)
    flood()
    await new Promise((resolve) => socket.on('close', resolve))
    expect(gateway.stats().malformed).toBe(1)
  })
})
