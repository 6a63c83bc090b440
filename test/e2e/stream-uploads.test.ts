import { createHash } from 'node:crypto'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { FetchHandler, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { headerOf, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { answerUnread, UNREAD, UNREAD_OPTIONS } from '../support/unread-uploads.ts'
import { PROGRAMS, type UploadClient, type UploadFile, WRITES_FIRST } from '../support/upload-clients.ts'

const KIB = 1024
const MIB = 1024 * KIB

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

async function serve(handler: FetchHandler, options: Partial<Mongrel2Options> = {}, flowControl = false) {
  logger = new CollectingLogger()
  mongrel2 = await startMongrel2({ uploads: 'stream', flowControl })
  server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, logger, ...options })
  await server.ready
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** A file of zeros, which takes no room. */
async function fileOf(size: number): Promise<UploadFile> {
  const path = join(mongrel2.directory, 'upload')
  await writeFile(path, '')
  await truncate(path, size)
  return { path, size }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Bytes that repeat only every 251, so that a piece lost, doubled or moved shows. */
function bytesOf(size: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at++) bytes[at] = at % 251
  return bytes
}

const head = (path: string, length: number, ...fields: string[]) =>
  `${[`POST ${path} HTTP/1.1`, 'Host: localhost', `Content-Length: ${length}`, ...fields].join('\r\n')}\r\n\r\n`
const CHUNKED = 'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

function chunksOf(bytes: Uint8Array, size: number): Buffer {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.subarray(at, at + size)
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')])
}

const hash: FetchHandler = async (request) => {
  const hash = createHash('sha256')
  for await (const piece of request.body ?? []) hash.update(piece)
  return new Response(hash.digest('hex'))
}

describe.each([
  ['without flow control', false],
  ['with flow control', true],
])('A body streamed by Mongrel2, %s,', (_mode, flowControl) => {
  it.each([20_481, 100_000, 5 * MIB])('of %d bytes with a length arrives, and the connection goes on', async (size) => {
    await serve(hash, {}, flowControl)
    const client = connect()
    for (let n = 0; n < 3; n++) {
      client.send(head('/', size)).send(bytesOf(size))
      const response = await client.response()
      expect(response.body.toString()).toBe(sha256(bytesOf(size)))
      expect(headerOf(response, 'connection')).not.toBe('close')
    }
  })

  it.each([1, 1000, 100 * KIB])('in chunks of %d bytes arrives, and the connection ends', async (size) => {
    await serve(hash, {}, flowControl)
    const bytes = bytesOf(Math.min(size * 2000, 3 * MIB))
    const client = connect().send(CHUNKED).send(chunksOf(bytes, size))
    expect((await client.response()).body.toString()).toBe(sha256(bytes))
    if (!lacks('kept connections')) await client.closed
  })

  it('reaches the handler while the client still sends', async () => {
    const gate = new Gate()
    await serve(
      async (request) => {
        const reader = request.body?.getReader()
        let size = 0
        for (;;) {
          const piece = await reader?.read()
          if (piece?.done !== false) return new Response(String(size))
          size += piece.value.length
          if (size === 30_000) await gate.pass('half')
        }
      },
      {},
      flowControl,
    )
    const client = connect().send(head('/', 60_000)).send(bytesOf(30_000))
    await gate.arrival('half')
    client.send(bytesOf(30_000))
    gate.open('half')
    expect((await client.response()).body.toString()).toBe('60000')
  })

  it('is echoed while it arrives', async () => {
    await serve((request) => new Response(request.body), {}, flowControl)
    const bytes = bytesOf(2 * MIB)
    const client = connect().send(head('/', bytes.length)).send(bytes)
    expect(sha256((await client.response()).body)).toBe(sha256(bytes))
  })

  it('waits in front of a reader that does not read: what is taken is bounded by uploadWindow', async () => {
    const gate = new Gate()
    await serve(
      async (request) => {
        if (request.method === 'GET') return new Response('fence')
        const reader = request.body?.getReader()
        await reader?.read()
        await gate.pass('reading')
        let size = 0
        for (;;) {
          const piece = await reader?.read()
          if (piece?.done !== false) return new Response(String(size))
          size += piece.value.length
        }
      },
      { uploadWindow: 64 * KIB },
      flowControl,
    )
    const client = connect()
      .send(head('/', 4 * MIB))
      .send(bytesOf(4 * MIB))
    await gate.arrival('reading')
    await fence()
    const before = server.stats().messages
    await fence()
    await fence()
    expect(server.stats().messages - before).toBeLessThan(20) // of the fences, not the 200 of the body
    gate.open('reading')
    expect(Number((await client.response()).body)).toBeGreaterThan(4 * MIB - 64 * KIB)
  })

  /** Everything that Mongrel2 sent before has been received when this is answered. */
  async function fence(): Promise<void> {
    const client = connect().send(GET)
    await client.response()
    client.destroy()
  }
})

describe.each([
  ['without flow control', false],
  ['with flow control', true],
])('A streamed body that nobody reads, %s,', (_mode, flowControl) => {
  it('is thrown away behind the answer, and the connection is used again where little was missing', async () => {
    await serve((request) => new Response(request.method), {}, flowControl)
    const client = connect().send(head('/', 800_000)).send(bytesOf(800_000)).send(GET)
    const response = await client.response()
    expect([response.body.toString(), headerOf(response, 'connection') === 'close']).toEqual(['POST', false])
    expect((await client.response()).body.toString()).toBe('GET')
  })

  it.each(Object.entries(UNREAD))(
    'does not keep %s from its client, which hears that the connection ends',
    async (path, expected) => {
      await serve(answerUnread, UNREAD_OPTIONS[path], flowControl)
      const file = await fileOf(12 * MIB)
      const url = `http://127.0.0.1:${mongrel2.port}${path}`
      const clients = [WRITES_FIRST, PROGRAMS.curl, PROGRAMS['curl in chunks']] as UploadClient[]
      const answers = await Promise.all(clients.map((client) => client(url, file)))
      expect(answers).toEqual(clients.map(() => ({ ...expected, connection: 'close' })))
      await expect.poll(() => server.stats().connections).toBe(0)
    },
  )

  it.skipIf(lacks('own answers'))('is waited for when the client has been told to continue', async () => {
    await serve(() => new Response('no', { status: 403 }), {}, flowControl)
    const client = connect().send(head('/', 4 * MIB, 'Expect: 100-continue'))
    expect((await client.response()).status).toBe(100)
    await client.written(bytesOf(4 * MIB))
    const response = await client.response()
    expect([response.status, headerOf(response, 'connection')]).toEqual([403, 'close'])
    await client.closed
  })

  it.each(['over 1 MiB', 'of a few bytes'])('%s, whose client stops sending, ends the connection', async (what) => {
    await serve(() => new Response('enough'), {}, flowControl)
    const client = connect()
      .send(head('/', 50 * MIB))
      .send(bytesOf(what === 'over 1 MiB' ? 8 * MIB : 100_000))
    expect((await client.response()).body.toString()).toBe('enough')
    await client.closed
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('is no reason to announce an end as long as its handler reads: an echo', async () => {
    await serve((request) => new Response(request.body), {}, flowControl)
    const bytes = bytesOf(5 * MIB)
    const client = connect()
    for (let n = 0; n < 2; n++) {
      client.send(head('/', bytes.length)).send(bytes)
      const response = await client.response()
      expect([sha256(response.body), headerOf(response, 'connection') === 'close']).toEqual([sha256(bytes), false])
    }
  })

  it('is thrown away while a streamed answer goes on', async () => {
    const gate = new Gate()
    await serve(
      () =>
        new Response(
          new ReadableStream({
            async start(controller) {
              controller.enqueue(Buffer.from('begun '))
              await gate.pass('written')
              controller.enqueue(Buffer.from('ended'))
              controller.close()
            },
          }),
        ),
      {},
      flowControl,
    )
    const client = connect().send(head('/', 20 * MIB))
    await client.written(bytesOf(20 * MIB))
    gate.open('written')
    expect((await client.response()).body.toString()).toBe('begun ended')
    await client.closed
  })
})

describe('A streamed body that nobody reads', () => {
  it('is given up only when a client that takes its time has read the answer', async () => {
    await serve(() => new Response(bytesOf(MIB)), {}, true)
    const client = connect()
    client.pace(512 * KIB)
    client.send(head('/', 50 * MIB)).send(bytesOf(8 * MIB))
    expect(sha256((await client.response()).body)).toBe(sha256(bytesOf(MIB)))
    await client.closed
  })

  it('takes nothing from the client that comes next', async () => {
    await serve((request) => new Response(request.method))
    let given = 0
    const uploads = Array.from({ length: 400 }, async (_, number) => {
      await sleep(number * 5)
      const client = connect()
        .send(head('/', 5 * MIB))
        .send(bytesOf(100_000))
      await client.response()
      await client.closed
      given++
    })
    // The socket of one that was given up has its number taken at once; Mongrel2 still reads from the one that had it.
    const others = Array.from({ length: 12 }, async () => {
      while (given < uploads.length) {
        const client = connect().send(GET.repeat(5))
        for (let answer = 0; answer < 5; answer++) expect((await client.response()).body.toString()).toBe('GET')
        client.destroy()
      }
    })
    await Promise.all([...uploads, ...others])
  })

  it('of an answer that closes is thrown away before the end', async () => {
    await serve(() => new Response('enough', { headers: { connection: 'close' } }))
    const client = connect().send(head('/', 500_000)).send(bytesOf(500_000))
    expect((await client.response()).body.toString()).toBe('enough')
    await client.closed
  })

  it('is refused with an answer that arrives: 400 and 413', async () => {
    await serve(
      () => {
        throw new Error('not reached')
      },
      { maxBodySize: 50_000 },
    )
    for (const [lines, size, status] of [
      [head('/', 40_000, 'Host: twice'), 40_000, 400],
      [head('/', 60_000), 60_000, 413],
    ] as const) {
      const client = connect().send(lines).send(bytesOf(size))
      expect((await client.response()).status).toBe(status)
      await client.closed
    }
    expect(server.stats()).toMatchObject({ requests: 0, rejected: 2 })
    expect(logger.errors).toEqual([])
  })

  it('in chunks over maxBodySize is a 413 while it is read', async () => {
    await serve(hash, { maxBodySize: 50_000 })
    const client = connect()
      .send(CHUNKED)
      .send(chunksOf(bytesOf(100_000), 10_000))
    expect((await client.response()).status).toBe(413)
    await client.closed
  })
})

describe.each([
  ['without flow control', false],
  ['with flow control', true],
])('A streamed body that a task of waitUntil reads, %s,', (_mode, flowControl) => {
  it.each(['at once', 'later'])('%s, goes on when the answer is complete', async (when) => {
    const gate = new Gate()
    let seen: unknown
    await serve(
      (request, _env, ctx) => {
        if (request.method === 'GET') return new Response('next')
        const read = async () => {
          if (when === 'later') await gate.pass('answered')
          seen = sha256(Buffer.from(await request.arrayBuffer()))
        }
        ctx.waitUntil(read())
        return new Response('taken')
      },
      {},
      flowControl,
    )
    const bytes = bytesOf(3 * MIB)
    const client = connect().send(head('/', bytes.length)).send(bytes.subarray(0, MIB))
    const response = await client.response()
    expect(response.body.toString()).toBe('taken')
    expect(headerOf(response, 'connection') === 'close').toBe(when === 'later')
    if (when === 'later') gate.open('answered')
    client.send(bytes.subarray(MIB))
    await expect.poll(() => seen).toBe(sha256(bytes))
    if (when === 'later') await client.closed
    else expect((await client.send(GET).response()).body.toString()).toBe('next')
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('arrives though its client has left, once it had sent all of it', async () => {
    const gate = new Gate()
    let seen: unknown
    await serve(
      (request, _env, ctx) => {
        const read = async () => {
          const reader = request.body?.getReader()
          let part = await reader?.read()
          await gate.pass('left')
          let size = 0
          for (; part?.done === false; part = await reader?.read()) size += part.value.length
          seen = size
        }
        ctx.waitUntil(
          read().catch((error: unknown) => {
            seen = error
          }),
        )
        return new Response('taken')
      },
      { uploadWindow: 32 * KIB },
      flowControl,
    )
    const client = connect().send(head('/', 200_000)).send(bytesOf(200_000))
    await client.response()
    await gate.arrival('left')
    client.destroy()
    await client.closed
    gate.open('left')
    await expect.poll(() => seen).toBe(200_000)
  })

  it('fails when its client leaves before it has sent all of it', async () => {
    let failure: unknown
    await serve(
      (request, _env, ctx) => {
        ctx.waitUntil(
          request.arrayBuffer().catch((error: unknown) => {
            failure = error
          }),
        )
        return new Response('taken')
      },
      {},
      flowControl,
    )
    const client = connect().send(head('/', 200_000)).send(bytesOf(100_000))
    await client.response()
    client.destroy()
    await expect.poll(() => failure).toMatchObject({ name: 'AbortError' })
    await expect.poll(() => server.stats().connections).toBe(0)
  })
})

describe('A client that leaves amid a streamed body', () => {
  it('nobody reads, while its connection waits to be closed, is found', async () => {
    await serve((request) => new Response(request.method === 'GET' ? bytesOf(2 * MIB) : 'enough'), {
      keepAliveInterval: 50,
    })
    // As far as anybody knows, the first answer is on its way for minutes, and the second behind it.
    const client = connect().send(GET)
    client.send(head('/', 50 * MIB)).send(bytesOf(3 * MIB))
    expect((await client.response()).body.length).toBe(2 * MIB)
    expect((await client.response()).body.toString()).toBe('enough')
    client.destroy()
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('errors the body and aborts the signal', async () => {
    const gate = new Gate()
    let failure: unknown
    let signal: AbortSignal | undefined
    await serve(async (request) => {
      signal = request.signal
      void gate.pass('begun')
      failure = await request.text().catch((error: unknown) => error)
      void gate.pass('failed')
      return new Response()
    })
    const client = connect().send(head('/', 100_000)).send(bytesOf(50_000))
    await gate.arrival('begun')
    client.destroy()
    await gate.arrival('failed')
    expect(failure).toMatchObject({ name: 'AbortError' })
    expect(signal?.aborted).toBe(true)
    await expect.poll(() => server.stats().connections).toBe(0)
    expect(logger.errors).toEqual([])
  })
})

describe('clients that send a body slowly', () => {
  it('keep nobody else out, and get a 408 and the end when nothing comes any more', async () => {
    const handler: FetchHandler = async (request) => new Response(`read ${(await request.text()).length}`)
    await serve(handler, { maxInFlight: 20, maxQueued: 20, bodyTimeout: 2000 })
    const slow = Array.from({ length: 45 }, () => connect().send(`${head('/', 300_000)}x`))
    await expect.poll(() => server.stats().inFlight).toBe(10)
    const others = Array.from({ length: 20 }, () => connect().send(GET).response())
    expect(new Set((await Promise.all(others)).map(({ status }) => status))).toEqual(new Set([200]))
    const answers = await Promise.all(slow.map((client) => client.response()))
    const count = (status: number) => answers.filter((answer) => answer.status === status).length
    // Those that found neither a place nor one to wait at are refused at once.
    expect([count(408), count(503)]).toEqual([20, 25])
    await Promise.all(slow.map((client) => client.closed))
    expect(server.stats().inFlight).toBe(0)
  })
})
