import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { embedded } from '../support/embedded.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'
import { RawHandler, type SeenMessage } from '../support/raw-handler.ts'

/** A server with its handler, and what was seen there. */
interface Stage {
  readonly handler: RawHandler
  connect(): RawClient
}

/** Does something on a stage; what was seen must be the same behind Mongrel2 and behind the front. */
type Act = (stage: Stage) => Promise<unknown>

/** To the front's handler every request is the last of its connection. */
const GET = 'GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const KIB = 1024

const HANDSHAKE =
  'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** A frame of a client, masked with a key. */
function frame(flags: number, payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload)
  const key = [1, 2, 3, 250]
  const length =
    bytes.length < 126
      ? [0x80 | bytes.length]
      : bytes.length < 65_536
        ? [0xfe, bytes.length >> 8, bytes.length & 0xff]
        : [0xff, 0, 0, 0, 0, 0, bytes.length >> 16, (bytes.length >> 8) & 0xff, bytes.length & 0xff]
  return Buffer.concat([Buffer.from([flags, ...length, ...key]), bytes.map((byte, at) => byte ^ (key[at % 4] ?? 0))])
}

/** The messages of an upload up to its end, what they carry joined: how it is cut depends on the network. */
async function upload({ handler }: Stage): Promise<unknown> {
  return await restOfUpload(handler, await handler.next())
}

/** The same from behind its first message. */
async function restOfUpload(handler: RawHandler, first: SeenMessage): Promise<unknown> {
  const parts: SeenMessage[] = []
  let body = first.body
  for (let last = first; last.own.UPLOAD_STREAM_DONE === undefined; ) {
    await handler.control(1, { credits: 100_000 }) // more than a chunk, which comes whole
    last = await handler.next()
    expect([last.path, last.own.UPLOAD_STREAM]).toEqual([first.path, String(body.length)])
    body += last.body
    parts.push(last)
  }
  return { first: { ...first, body: '' }, body, names: new Set(parts.flatMap((part) => Object.keys(part.own))) }
}

/** Waits until the connection is over; what came on it. */
async function rest(client: RawClient): Promise<string> {
  return (await client.readToEnd()).toString('latin1')
}

const acts: Record<string, Act> = {
  async 'fields of every kind'({ handler, connect }) {
    const fields =
      'Connection: close\r\nX-A: 1\r\nx-a:2\r\nX-Q: "a\\b"\r\nX-L: caf\xe9\ttab\r\nX-Empty:\r\nX-Forwarded-For: 1.2.3.4\r\nMETHOD: JSON\r\n'
    connect().send(`PROPFIND /a/b;c?d=%41#e HTTP/1.0\r\nHost: a\r\nHost: b\r\n${fields}\r\n`)
    return await handler.next()
  },

  async targets({ handler, connect }) {
    const targets = ['http://x/y?z', '//x/y', '/?', '/%C3%A4', "/-._~!$&'()*+,;=:@/?/?"]
    const seen: SeenMessage[] = []
    for (const target of targets) {
      connect().send(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      seen.push(await handler.next())
    }
    return seen
  },

  async 'a client that leaves'({ handler, connect }) {
    const client = connect().send(GET)
    const request = await handler.next()
    client.reset()
    const notice = await handler.next()
    await handler.control(1, { cancel: true }) // says nothing
    await handler.reply(1, OK)
    const again = await handler.next()
    await handler.control(1, { 'keep-alive': true })
    return [request, notice, again, await handler.next()]
  },

  async 'an empty reply'({ handler, connect }) {
    const client = connect().send(GET)
    const request = await handler.next()
    await handler.reply(1, OK, '', 'too late')
    const { body } = await client.response()
    return [request, body.toString(), await rest(client), await goneNotice(handler, 1)]
  },

  async cancel({ handler, connect }) {
    const client = connect().send(GET)
    await handler.next()
    await handler.control(1, { cancel: true })
    const text = await rest(client)
    await handler.reply(1, OK)
    return [text, await handler.next()] // a notice for the reply, none for the end
  },

  async 'a reply to several, of which one is gone'({ handler, connect }) {
    const clients = [connect().send(GET), connect().send(GET), connect().send(GET)]
    for (const _ of clients) await handler.next()
    clients[1]?.reset()
    const notice = await handler.next()
    const gone = notice.connection
    await handler.replyToAll([1, 2, 3], OK)
    const again = await handler.next()
    for (const number of [1, 2, 3]) await handler.reply(number, '')
    const bodies = await Promise.all(
      clients.map(async (client, at) => (at === 1 ? undefined : (await client.response()).body.toString())),
    )
    return [notice.own, again.connection === gone, bodies]
  },

  async 'replies that cannot be read'({ handler, connect }) {
    const client = connect().send(GET)
    await handler.next()
    await handler.publish('no reply')
    await handler.publish('a_b 1:1, x')
    await handler.replyToAll([1], OK)
    await handler.reply(1, '')
    return (await client.response()).body.toString()
  },

  async 'a WebSocket'({ handler, connect }) {
    const client = connect().send(HANDSHAKE)
    const seen = [await handler.next()]
    const frames = [
      frame(0x81, 'text'),
      frame(0x82, 'b'.repeat(126)),
      frame(0xc2, Buffer.alloc(70_000, 'c')),
      frame(0x81, ''),
      frame(0x01, 'frag'),
      frame(0x89, 'ping'),
      frame(0x00, 'ment'),
      frame(0x80, 's'),
      frame(0x8a, ''),
      frame(0x88, '\x03\xe8'),
      frame(0x81, 'behind the close'),
    ]
    for (const bytes of frames) client.send(bytes)
    for (let n = 0; n < 9; n++) seen.push(await handler.next())
    await handler.reply(1, 'HTTP/1.1 101 Switching Protocols\r\n\r\n', Buffer.from([0x81, 2, 0x6f, 0x6b]), '')
    return [seen, await rest(client)]
  },

  async 'a WebSocket whose client leaves'({ handler, connect }) {
    const client = connect().send(HANDSHAKE)
    await handler.next()
    client.destroy()
    return await handler.next()
  },

  async 'sixteen messages in one turn, and seventeen'({ handler, connect }) {
    const client = connect().send(GET)
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n', ...Array<string>(15).fill('x'))
    const { body } = await client.response()
    await handler.reply(1, '')
    const other = connect().send(GET)
    await handler.next()
    await handler.reply(2, 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n', ...Array<string>(17).fill('x'))
    await other.closed
    return [body.toString(), await goneNotice(handler, 2)]
  },
}

/** Frames that end the connection. */
const WRONG_FRAMES: Record<string, Buffer> = {
  'not masked': Buffer.from([0x81, 2, 0x61, 0x62]),
  'a continuation of nothing': frame(0x80, 'x'),
  'a ping in fragments': frame(0x09, 'x'),
  'a ping that is too long': frame(0x89, 'x'.repeat(126)),
}

for (const [name, bytes] of Object.entries(WRONG_FRAMES)) {
  acts[`a frame that is ${name}`] = async ({ handler, connect }) => {
    const client = connect().send(HANDSHAKE)
    await handler.next()
    client.send(bytes)
    return [await handler.next(), await rest(client)]
  }
}

const chunks = (...sizes: number[]) =>
  [...sizes, 0].map((size) => `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`).join('')
const CHUNKED = 'POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
const BODY = Buffer.alloc(100 * KIB, '0123456789abcdef')

const uploads: Record<string, Act> = {
  async 'an upload with a length'(stage) {
    const head = `POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${BODY.length}\r\n\r\n`
    stage.connect().send(head).send(BODY)
    return await upload(stage)
  },
  async 'an upload in chunks, with trailers'(stage) {
    stage
      .connect()
      .send(CHUNKED)
      .send(chunks(5, 20_000, 1, 60_000).replace(/0\r\n\r\n$/, '0\r\nx: y\r\n\r\n'))
    return await upload(stage)
  },
  async 'a client that leaves amid an upload'({ handler, connect }) {
    const client = connect()
      .send('POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n')
      .send(BODY.subarray(0, 30_000))
    let { length } = (await handler.next()).body
    await handler.control(1, { credits: 100_000 })
    while (length < 30_000) length += (await handler.next()).body.length
    client.destroy()
    return await handler.next()
  },
  async 'an upload that is read when the answer is complete'(stage) {
    const { handler } = stage
    const client = stage.connect().send(CHUNKED + chunks(5).replace(/0\r\n\r\n$/, ''))
    const first = await handler.next()
    await handler.reply(1, OK)
    const answer = (await client.response()).body.toString()
    client.send(chunks(60_000, 20_000))
    const seen = await restOfUpload(handler, first)
    await handler.reply(1, '')
    return [answer, seen, await rest(client), await goneNotice(handler, 1)]
  },
  async 'a client that sends all of an upload, reads the answer and leaves, before the handler reads'(stage) {
    const { handler } = stage
    const client = stage.connect().send(CHUNKED + chunks(20_000, 20_000))
    const first = await handler.next()
    await handler.reply(1, OK)
    const answer = (await client.response()).body.toString()
    client.destroy()
    await client.closed
    return [answer, await restOfUpload(handler, first)]
  },
  async 'a client that leaves amid an upload when the answer is complete'({ handler, connect }) {
    const client = connect().send(CHUNKED + chunks(5).replace(/0\r\n\r\n$/, ''))
    await handler.next()
    await handler.reply(1, OK)
    const { body } = await client.response()
    await handler.control(1, { credits: 100_000 })
    const part = await handler.next()
    client.destroy()
    return [body.toString(), part.own.UPLOAD_STREAM, part.body, await handler.next()]
  },
  async 'cancel amid an upload'({ handler, connect }) {
    const client = connect().send(CHUNKED + chunks(5))
    await handler.next()
    await handler.reply(1, OK)
    const { body } = await client.response()
    await handler.control(1, { cancel: true })
    return [body.toString(), await rest(client)]
  },
}

const refusedUploads: Record<string, Act> = {
  async 'an upload where none are taken'({ connect }) {
    const client = connect().send(`POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n`)
    return (await client.response()).status
  },
}

const flowControl: Record<string, Act> = {
  async 'credits, told and given back'({ handler, connect }) {
    const client = connect().send(GET)
    const first = await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n', '12345')
    const notices = [await handler.next(), await handler.next()]
    await handler.reply(1, '67890', '')
    return [first, notices, (await client.response()).body.toString()]
  },
  async 'twenty messages in one turn'({ handler, connect }) {
    const client = connect().send(GET)
    await handler.next()
    await handler.reply(1, 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n', ...Array<string>(20).fill('x'), '')
    return (await client.response()).body.toString()
  },
  async 'a message as large as the window, and one that is larger'({ handler, connect }) {
    const client = connect().send(GET)
    await handler.next()
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n'
    await handler.reply(1, head + 'x'.repeat(102_400 - head.length))
    const notice = await handler.next()
    await handler.reply(1, 'x'.repeat(102_401))
    await client.closed
    return notice
  },
}

/** Resolves with the notice that a reply to a connection brings once that is over. */
async function goneNotice(handler: RawHandler, connection: number): Promise<SeenMessage> {
  await expect
    .poll(async () => {
      await handler.control(connection, { 'keep-alive': true })
      return handler.waiting
    })
    .toBeGreaterThan(0)
  return await handler.next()
}

const SETTINGS: [name: string, acts: Record<string, Act>, options: Mongrel2TestOptions][] = [
  ['with headers as JSON', acts, { uploads: 'none' }],
  ['with headers as tnetstrings', acts, { uploads: 'none', protocol: 'tnetstring' }],
  ['with uploads that are streamed', uploads, { uploads: 'stream' }],
  ['without uploads', refusedUploads, { uploads: 'none' }],
  ['with flow control', flowControl, { flowControl: true, uploads: 'none' }],
]

// Each compares both, so one run is enough.
describe.skipIf(embedded).each(SETTINGS)('The front is like Mongrel2 %s:', (_name, acts, options) => {
  const servers: Mongrel2[] = []
  const handlers: RawHandler[] = []

  beforeAll(async () => {
    for (const embedded of [false, true]) {
      const server = await startMongrel2({
        ...options,
        embedded,
        routes: { '/': options.protocol ? { protocol: options.protocol } : {} },
      })
      servers.push(server)
      handlers.push(await RawHandler.connect(server.endpoint))
    }
  })

  afterAll(async () => {
    for (const handler of handlers) handler[Symbol.dispose]()
    for (const server of servers) await server.stop()
  })

  it.each(Object.entries(acts))('%s', async (_what, act) => {
    const [theirs, ours] = await Promise.all(
      servers.map(async (server, at) => {
        const handler = handlers[at] as RawHandler
        const clients: RawClient[] = []
        const connect = () => {
          const client = new RawClient(server.port)
          clients.push(client)
          return client
        }
        const seen = await act({ handler, connect })
        for (const client of clients) client.reset()
        await settle(handler, server.port)
        return seen
      }),
    )
    expect(withoutOurs(ours)).toEqual(theirs)
  })
})

/** What was seen, without the header that only the front sends. */
function withoutOurs(seen: unknown): unknown {
  if (Array.isArray(seen)) return seen.map(withoutOurs)
  if (typeof seen !== 'object' || seen === null || seen instanceof Set) return seen
  const entries = Object.entries(seen).filter(([name]) => name !== 'SINGLE_REQUEST')
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutOurs(value)]))
}

/**
 * Reads what is still to come of an act, up to a request behind it. When a reply has arrived, so have those before it, and what they
 * brought has been sent.
 */
async function settle(handler: RawHandler, port: number): Promise<void> {
  const fence = async (path: string) => {
    const client = new RawClient(port)
    client.send(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    let request = await handler.next()
    while (request.path !== path) request = await handler.next()
    return { client, connection: request.connection }
  }
  const answered = await fence('/answered')
  await handler.reply(answered.connection, OK, '')
  await answered.client.response()
  answered.client.destroy()
  const left = await fence('/left')
  left.client.reset()
  for (let last = await handler.next(); last.path !== '@*' || last.connection !== left.connection; )
    last = await handler.next()
  handler.forget()
}
