import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import type { FetchHandler, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { type FakeMongrel2, startFakeMongrel2 } from '../support/fake-mongrel2.ts'
import {
  DONE,
  FORMS,
  IN_CHUNKS,
  LARGE,
  PLAIN,
  START,
  STORED_LENGTHS,
  UNCLEAR,
  VICTIM,
} from '../support/forged-uploads.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { headerOf, RawClient, type RawResponse } from '../support/raw-client.ts'
import { REFUSED } from '../support/refused-requests.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { forgetTouchedFiles, touchedFiles } from '../support/touched-files.ts'
import { netstring, PROTOCOLS, renderRequest, SENDER } from '../unit/support/message.ts'

vi.mock('../../src/runtime/process/node-fs.ts', async () => (await import('../support/touched-files.ts')).nodeFs)

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
let gate: Gate
/** The paths that the handler was called for, but for the one that asks whether it still serves. */
let called: string[]
/** Stands still, so that warnings are said once a test, and a second further in the next one. */
let clock: MockInstance<() => number>
let now = 0
const clients: RawClient[] = []

beforeEach(() => {
  logger = new CollectingLogger()
  gate = new Gate()
  called = []
  now += 1000
  clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
})

afterEach(() => {
  clock.mockRestore()
  for (const client of clients.splice(0)) client.destroy()
})

/** A handler behind a Mongrel2, for the tests of a describe block. After each of them a new client has to be served. */
function serveBehindMongrel2(...of: Parameters<typeof serve>): void {
  beforeAll(() => serve(...of))
  afterEach(fence)
  afterAll(stop)
}

async function serve(
  handler: FetchHandler,
  options: Omit<Mongrel2Options, 'zeromq'> = {},
  config: Mongrel2TestOptions = {},
): Promise<void> {
  mongrel2 = await startMongrel2(config)
  server = serveMongrel2(recording(handler), {
    zeromq: mongrel2.endpoint,
    chroot: mongrel2.directory,
    logger: currentLogger,
    ...options,
  })
  await server.ready
}

async function stop(): Promise<void> {
  await server?.close({ timeout: 1000 })
  await mongrel2?.stop()
}

/** Passes lines on to the test's own logger. */
const currentLogger = {
  warn: (line: string) => logger.warn(line),
  error: (line: string) => logger.error(line),
}

function recording(handler: FetchHandler): FetchHandler {
  return (request, env, ctx) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/fence') return new Response('served')
    called.push(pathname)
    return handler(request, env, ctx)
  }
}

const echo: FetchHandler = async (request) =>
  new Response(`${request.method} ${sha256(Buffer.from(await request.arrayBuffer()))}`)

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** Everything that Mongrel2 sent before has been received when this is answered: there is one queue, in order. */
async function fence(): Promise<void> {
  const response = await connect().send('GET /fence HTTP/1.1\r\nHost: localhost\r\n\r\n').response()
  expect(response.body.toString()).toBe('served')
}

/** A request; the body is as it is given, whatever the fields say. */
function request(line: string, fields: readonly string[], body: string | Uint8Array = ''): Buffer {
  const head = [`${line} HTTP/1.1`, ...fields, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)])
}

/** Sends requests in one write, the first of which ends the connection, and returns the one response that may come. */
async function onlyResponse(...requests: readonly Uint8Array[]): Promise<RawResponse> {
  const client = connect().send(Buffer.concat(requests))
  const response = await client.response()
  // The others are answered, too: nothing is smuggled past a parser that knows where they begin.
  if (lacks('kept connections')) return response
  expect(headerOf(response, 'connection')).toBe('close')
  expect((await client.readToEnd()).toString('latin1')).toBe('')
  return response
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

const HOST = 'Host: localhost'

describe.skipIf(lacks('lenient parser')).each(PROTOCOLS)(
  'A request that is not plain, with headers as %s,',
  (protocol) => {
    serveBehindMongrel2(echo, {}, { protocol })

    it.each(REFUSED)('%j, is a 400, and what is smuggled behind it is never handled', async (fields, reason, body) => {
      const { messages, rejected } = server.stats()
      const smuggled = request('GET /smuggled', [HOST])
      const response = await onlyResponse(request('POST /refused', fields, body), smuggled, smuggled)
      expect([response.status, response.body.toString()]).toEqual([400, `${reason}\n`])
      await fence()
      expect(called).toEqual([])
      // It did arrive: each message but the fence's was refused or dropped.
      const after = server.stats()
      expect(after.messages - messages).toBeGreaterThanOrEqual(4)
      expect(after.rejected - rejected).toBeGreaterThanOrEqual(3)
      expect(logger.lines).toEqual([])
      await expect.poll(() => readdirSync(join(mongrel2.directory, 'tmp'))).toEqual([])
    })

    it.each(STORED_LENGTHS)('of a length %j that makes Mongrel2 store its body, leaves no file', async (length) => {
      const { status } = await onlyResponse(request('POST /', [`Content-Length: ${length}`], LARGE))
      expect(status).toBe(400)
      await fence()
      await expect.poll(() => readdirSync(join(mongrel2.directory, 'tmp'))).toEqual([])
      expect(called).toEqual([])
      expect(logger.lines).toEqual([])
    })

    it('in HTTP/1.0 needs no Host', async () => {
      const client = connect().send('GET /old HTTP/1.0\r\n\r\n')
      expect((await client.response()).status).toBe(200)
      expect(called).toEqual(['/old'])
    })
  },
)

describe('Forged upload headers', () => {
  serveBehindMongrel2(async (request) => {
    const digest = sha256(Buffer.from(await request.arrayBuffer()))
    if (new URL(request.url).pathname === '/held') await gate.pass('held')
    return new Response(digest)
  })

  const SECRET = 'the secret of another'

  /** Links of such a name, to a file within the chroot and to one outside. */
  const LINKS = ['tmp/mongrel2.upload.LINKin', 'tmp/mongrel2.upload.LINKex']
  let outside: string
  let paths: string[]

  beforeAll(async () => {
    outside = await mkdtemp(join(tmpdir(), 'outside-'))
    const file = join(outside, 'mongrel2.upload.a1B2c3')
    writeFileSync(file, SECRET)
    writeFileSync(join(mongrel2.directory, VICTIM), SECRET)
    for (const [at, link] of LINKS.entries()) {
      symlinkSync(at === 0 ? 'mongrel2.upload.VICTIM' : file, join(mongrel2.directory, link))
    }
    paths = [
      VICTIM,
      join(mongrel2.directory, VICTIM),
      ...LINKS,
      `tmp/../../${basename(outside)}/mongrel2.upload.a1B2c3`,
      file,
      '/etc/passwd',
      'tmp/mongrel2.upload.nobody',
      '',
    ]
  })

  beforeEach(() => {
    forgetTouchedFiles()
  })

  afterEach(async () => {
    await fence()
    await expect.poll(files).toEqual([...LINKS, VICTIM].map((path) => basename(path)).sort())
    for (const path of [join(mongrel2.directory, VICTIM), join(outside, 'mongrel2.upload.a1B2c3')]) {
      expect(readFileSync(path, 'utf8')).toBe(SECRET)
    }
  })

  afterAll(() => rm(outside, { recursive: true }))

  const files = () => readdirSync(join(mongrel2.directory, 'tmp')).sort()
  /** The same without the files that Mongrel2 made. */
  const touchedOfForged = () => {
    const own = new RegExp(`^${mongrel2.directory}/tmp/mongrel2\\.upload\\.\\w{6}$`)
    return touchedFiles().filter((path) => !own.test(String(path)) || /VICTIM|LINK/.test(String(path)))
  }

  describe.each(PLAIN)('on a request %s', (_what, framing, body) => {
    it.each(FORMS)('as %s are a 400 and a close, with one warning, and no file is touched', async (_form, fields) => {
      for (const path of paths) {
        const forged = request('POST /forged', [HOST, ...framing, ...fields(path)], body)
        const response = await onlyResponse(forged, forged)
        expect([path, response.status]).toEqual([path, 400])
        expect(response.body.toString()).toBe('Upload headers are not for clients to send\n')
      }
      await fence()
      expect(called).toEqual([])
      expect(touchedFiles()).toEqual([])
      expect(logger.lines).toEqual([
        {
          level: 'warn',
          line: expect.stringMatching(/^mongrel2-fetch refused forged upload headers from 127\.0\.0\.1 for \/forged: /),
        },
      ])
    })
  })

  describe.skipIf(lacks('lenient parser')).each(UNCLEAR)('on a request %s', (_what, framing) => {
    it.each(FORMS)('as %s are a 400 and a close, and no file is touched', async (_form, fields) => {
      for (const path of paths) {
        const forged = request('POST /forged', [HOST, ...framing, ...fields(path)])
        expect([path, (await onlyResponse(forged, forged)).status]).toEqual([path, 400])
      }
      await fence()
      expect(called).toEqual([])
      expect(touchedFiles()).toEqual([])
    })
  })

  describe.skipIf(lacks('stored uploads')).each([
    ['a length', [`Content-Length: ${LARGE.length}`], LARGE],
    ['chunks', ['Transfer-Encoding: chunked'], IN_CHUNKS],
  ])('on a body that Mongrel2 stores, with %s,', (_what, framing, body) => {
    it.each(FORMS.filter(([form]) => form.startsWith('start')))(
      'as %s are overwritten by Mongrel2: the body is its own',
      async (_form, fields) => {
        for (const path of paths) {
          const client = connect().send(request('POST /real', [HOST, ...framing, ...fields(path)], body))
          expect((await client.response()).body.toString()).toBe(sha256(LARGE))
        }
        expect(called).toEqual(paths.map(() => '/real'))
        expect(touchedOfForged()).toEqual([])
        expect(logger.lines).toEqual([])
      },
    )

    it.each(FORMS.filter(([form]) => !form.startsWith('start')))(
      'as %s are a 400 and a close, with one warning, and only its own file is deleted',
      async (_form, fields) => {
        for (const path of paths) {
          const forged = request('POST /forged', [HOST, ...framing, ...fields(path)], body)
          expect([path, (await onlyResponse(forged)).status]).toEqual([path, 400])
        }
        await fence()
        expect(called).toEqual([])
        expect(touchedOfForged()).toEqual([])
        expect(logger.lines).toEqual([
          { level: 'warn', line: expect.stringMatching(/names another file than|expected one .* at most one/) },
        ])
      },
    )
  })

  describe.skipIf(lacks('stored uploads'))('that name the file of another client’s upload', () => {
    /** Requests that look like the start and the end of it, in one write. */
    const pair = (framing: readonly string[], path: string) => [
      request('POST /forged', [HOST, ...framing, `${START}: ${path}`]),
      request('POST /forged', [HOST, ...framing, `${START}: ${path}`, `${DONE}: ${path}`]),
    ]
    const handshake = (path: string) =>
      request('GET /forged', [
        HOST,
        ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...[`Content-Length: ${LARGE.length}`, `${START}: ${path}`, `${DONE}: ${path}`],
      ])
    /** It has the headers of the handshake and no body. */
    const EMPTY_FRAME = Buffer.from([0x81, 0x80, 1, 2, 3, 4])

    const ATTACKS: [how: string, status: number, requests: (path: string) => Uint8Array[]][] = [
      ...[...PLAIN.slice(0, 2), ...UNCLEAR].map(([what, framing]): [string, number, (path: string) => Uint8Array[]] => [
        `two requests ${what}`,
        400,
        (path) => pair(framing, path),
      ]),
      ['a request without a Host and one behind it', 400, (path) => [request('GET /', []), ...pair([], path)]],
      ['a WebSocket’s handshake and an empty frame', 400, (path) => [handshake(path), EMPTY_FRAME, EMPTY_FRAME]],
    ]

    it.each(ATTACKS)('by %s neither read nor delete it', async (_how, status, requests) => {
      const before = files()
      const upload = connect().send(request('POST /held', [HOST, `Content-Length: ${LARGE.length}`]))
      upload.send(LARGE.subarray(0, 30_000))
      await expect.poll(() => files().length, { interval: 5 }).toBe(before.length + 1)
      const path = `tmp/${files().find((name) => !before.includes(name))}`
      const attack = async () => {
        const { rejected } = server.stats()
        expect((await onlyResponse(...requests(path))).status).toBe(status)
        await fence()
        expect(server.stats().rejected - rejected).toBeGreaterThanOrEqual(2)
        expect(files()).toContain(basename(path))
      }
      await attack() // while it is stored
      expect(called).toEqual([])
      upload.send(LARGE.subarray(30_000))
      await gate.arrival('held')
      await attack() // while it is handled
      gate.open('held')
      expect((await upload.response()).body.toString()).toBe(sha256(LARGE))
      expect(called).toEqual(['/held'])
      const file = join(mongrel2.directory, path)
      await expect.poll(touchedFiles).toEqual([file, file]) // opened and deleted once, in the end
    })
  })
})

it.skipIf(lacks('kept connections'))(
  'Forged upload headers of a streamed body, behind a request that was refused, delete no file',
  async () => {
    await serve(echo, {}, { uploads: 'stream' })
    try {
      const name = 'tmp/mongrel2.upload.VICTIM'
      writeFileSync(join(mongrel2.directory, name), 'secret')
      const forged = [`X-Mongrel2-Upload-Start: ${name}`, `X-Mongrel2-Upload-Done: ${name}`]
      const body = request('POST /forged', [HOST, 'Transfer-Encoding: chunked', ...forged], IN_CHUNKS)
      const { rejected } = server.stats()
      expect((await onlyResponse(request('GET /', []), body)).status).toBe(400)
      await fence()
      expect(server.stats().rejected - rejected).toBe(2)
      await server.close() // which waits for what is deleted
      expect(readFileSync(join(mongrel2.directory, name), 'utf8')).toBe('secret')
      expect(called).toEqual([])
    } finally {
      await stop()
    }
  },
)

describe.skipIf(lacks('stored uploads'))('The file of an upload', () => {
  // Without permission to read for anybody, as where Mongrel2 runs as another user and keeps files for itself.
  serveBehindMongrel2(echo, {}, { settings: { 'upload.temp_store_mode': '0200' } })

  it('that may not be read is a 500 and a warning with the path that was tried and the option that may be wrong', async () => {
    const client = connect()
    const root = process.geteuid?.() === 0
    if (root) process.seteuid?.(statSync(mongrel2.directory).uid) // root may read everything
    try {
      client.send(request('POST /unreadable', [HOST, `Content-Length: ${LARGE.length}`], LARGE))
      const response = await client.response()
      expect([response.status, response.body.toString()]).toEqual([500, 'The upload cannot be read\n'])
      await client.closed
    } finally {
      if (root) process.seteuid?.(0)
    }
    const [name = ''] = readdirSync(join(mongrel2.directory, 'tmp'))
    expect(called).toEqual([])
    expect(logger.lines).toEqual([{ level: 'warn', line: expect.stringMatching(/EACCES.* option chroot, /) }])
    expect(logger.warnings[0]).toContain(join(mongrel2.directory, 'tmp', name))
  })
})

describe('What a client can write that is no plain request', () => {
  const signals = new Map<string, AbortSignal>()
  serveBehindMongrel2(
    async (request) => {
      const { pathname } = new URL(request.url)
      signals.set(pathname, request.signal)
      if (pathname.startsWith('/held')) await gate.pass(pathname)
      return new Response(`${request.method} ${pathname}`)
    },
    {},
    { routes: { '/': { also: ['@', '<x'] } } },
  )

  /** A message of a JSON socket, as Flash and others sent it. */
  const socketMessage = (path: string, json: string) => Buffer.from(`${path} ${json}\0`)

  it.skipIf(lacks('lenient parser')).each(['JSON', 'XML', 'WEBSOCKET'])(
    'a request of the method %s is a request like any other',
    async (method) => {
      const client = connect()
      for (const body of ['', 'hello']) {
        client.send(request(`${method} /method`, [HOST, `Content-Length: ${body.length}`], body))
        expect((await client.response()).body.toString()).toBe(`${method} /method`)
      }
      expect(called).toEqual(['/method', '/method'])
    },
  )

  it.skipIf(lacks('message sockets'))('a target that is no path is a 400, though there is a route for it', async () => {
    const smuggled = request('GET /smuggled', [HOST])
    const response = await onlyResponse(request('GET @*', [HOST, 'METHOD: JSON', 'FLAGS: 0x81']), smuggled)
    expect([response.status, response.body.toString()]).toEqual([400, 'The target is no path\n'])
    await fence()
    expect(called).toEqual([])
  })

  it('a WebSocket’s handshake that the handler does not accept is answered and closed, and the frames behind it are dropped', async () => {
    const handshake = request('GET /socket', [
      HOST,
      ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ])
    const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, ...Buffer.from('hi')])
    const close = Buffer.from([0x88, 0x80, 0, 0, 0, 0])
    const response = await onlyResponse(handshake, frame, close)
    expect([response.status, response.body.toString()]).toEqual([200, 'GET /socket'])
    await fence()
    expect(called).toEqual(['/socket'])
  })

  it.skipIf(lacks('message sockets')).each<[what: string, message: Buffer]>([
    ['a JSON socket', socketMessage('@chat', '{"a":1}')],
    ['a forged disconnect notice', socketMessage('@*', '{"type":"disconnect"}')],
    ['a forged credits notice', socketMessage('@*', '{"type":"credits"}')],
    ['an XML socket', Buffer.from('<x a="b">text</x>\0')],
  ])('the message of %s closes its connection without a word', async (_what, message) => {
    const { rejected } = server.stats()
    const client = connect().send(Buffer.concat([message, message, request('GET /smuggled', [HOST])]))
    expect((await client.readToEnd()).toString()).toBe('')
    await fence()
    expect(server.stats().rejected - rejected).toBe(3)
    expect(called).toEqual([])
    expect(logger.lines).toEqual([])
  })

  it.skipIf(lacks('message sockets')).each(['disconnect', 'credits'])(
    'a forged %s notice ends nobody’s request but its own client’s',
    async (type) => {
      const other = connect().send(request('GET /held/other', [HOST]))
      await gate.arrival('/held/other')
      const own = connect().send(request('GET /held/own', [HOST]))
      await gate.arrival('/held/own')
      own.send(socketMessage('@*', JSON.stringify({ type })))
      expect((await own.readToEnd()).toString()).toBe('')
      expect(signals.get('/held/own')?.aborted).toBe(true)
      gate.open('/held/own')
      await fence()
      expect(signals.get('/held/other')?.aborted).toBe(false)
      gate.open('/held/other')
      expect((await other.response()).body.toString()).toBe('GET /held/other')
    },
  )
})

describe('A handler', () => {
  const encoder = new TextEncoder()
  /** A body that begins, and fails once the test has seen that it did. */
  const failing = () =>
    new ReadableStream({
      start: (controller) => controller.enqueue(encoder.encode('begun')),
      pull: async () => {
        await gate.pass('body')
        throw new Error('secret')
      },
    })

  serveBehindMongrel2(
    (request) => {
      switch (new URL(request.url).pathname) {
        case '/rejects':
          return Promise.reject(new Error('secret'))
        case '/throws-nothing':
          throw undefined
        case '/fails':
          return new Response(failing())
        case '/fails-with-length':
          return new Response(failing(), { headers: { 'content-length': '100' } })
        default:
          throw new Error('secret')
      }
    },
    {
      onError: (error, request) => {
        const { pathname } = new URL(request.url)
        if (pathname === '/on-error') return new Response(`${error}`, { status: 418 })
        if (pathname === '/on-error-fails') throw new Error('another secret')
        return undefined
      },
    },
  )

  it.each([
    ['throws', '/throws', [/the handler failed on GET http:\/\/localhost\/throws: Error: secret/]],
    ['rejects', '/rejects', [/the handler failed on GET http:\/\/localhost\/rejects: Error: secret/]],
    ['throws nothing', '/throws-nothing', [/the handler failed .*: undefined$/]],
    [
      'throws and whose onError does too',
      '/on-error-fails',
      [/onError failed: Error: another secret/, /the handler failed .*: Error: secret/],
    ],
  ])('that %s is a 500 without details, logged once; its connection goes on', async (_how, path, logged) => {
    const client = connect()
    client.send(request(`GET ${path}`, [HOST]))
    const response = await client.response()
    expect([response.status, response.body.toString()]).toEqual([500, 'Internal Server Error'])
    expect(JSON.stringify(response.headers)).not.toContain('secret')
    expect(logger.lines).toEqual(logged.map((line) => ({ level: 'error', line: expect.stringMatching(line) })))
    client.send(request('GET /fence', [HOST]))
    expect((await client.response()).body.toString()).toBe('served')
  })

  it('that throws is answered for by onError, and nothing is logged', async () => {
    const client = connect().send(request('GET /on-error', [HOST]))
    const response = await client.response()
    expect([response.status, response.body.toString()]).toEqual([418, 'Error: secret'])
    expect(logger.lines).toEqual([])
  })

  it.skipIf(lacks('kept connections')).each([
    ['in chunks', '/fails', '5\r\nbegun\r\n'],
    ['with a length', '/fails-with-length', 'begun'],
  ])(
    'whose body fails after the head, %s, leaves a body that is visibly broken, logged once',
    async (_how, path, body) => {
      const { replies } = server.stats()
      const client = connect().send(Buffer.concat([request(`GET ${path}`, [HOST]), request('GET /behind', [HOST])]))
      await gate.arrival('body')
      await expect.poll(() => server.stats().replies, { interval: 5 }).toBe(replies + 1) // the head is out
      gate.open('body')
      const [head = '', ...rest] = (await client.readToEnd()).toString().split('\r\n\r\n')
      expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
      expect(rest.join('\r\n\r\n')).toBe(body)
      expect(logger.errors.filter((line) => line.includes('closed a connection during a response'))).toEqual([
        expect.stringMatching(/Error: secret/),
      ])
    },
  )
})

describe('What no Mongrel2 sends', () => {
  let fake: FakeMongrel2

  beforeEach(async () => {
    fake = await startFakeMongrel2()
    server = serveMongrel2(recording(echo), { zeromq: fake.endpoint, logger: currentLogger })
    await server.ready
  })

  afterEach(async () => {
    await server.close({ timeout: 1000 })
    await fake[Symbol.asyncDispose]()
  })

  const VALID = PROTOCOLS.map((protocol) => renderRequest({ protocol, method: 'POST', body: 'hello', target: '/a' }))
  const envelope = (headers: string | Uint8Array, body: string | Uint8Array = netstring('')) =>
    Buffer.concat([Buffer.from(`${SENDER} 7 / `), Buffer.from(headers), Buffer.from(body)])
  /** A list in a list, and so on. */
  const nested = (depth: number) => {
    let text = '0:~'
    for (let level = 0; level < depth; level++) text = `${text.length}:${text}]`
    return text
  }
  const dictionary = (pairs: string) => `${pairs.length}:${pairs}}`

  const GARBAGE: [what: string, messages: () => readonly Buffer[]][] = [
    ['nothing', () => [Buffer.alloc(0)]],
    [
      'text',
      () => ['\0', ' ', '   ', 'x', 'nonsense', 'a b c', 'GET / HTTP/1.1\r\n\r\n'].map((text) => Buffer.from(text)),
    ],
    ['every byte', () => Array.from({ length: 256 }, (_, byte) => Buffer.alloc(100, byte))],
    ['a megabyte', () => [Buffer.alloc(1024 * 1024, 'x'), envelope('999999:', Buffer.alloc(1024 * 1024, '1'))]],
    ['messages cut short', () => VALID.flatMap((valid) => Array.from(valid, (_, length) => valid.subarray(0, length)))],
    ['messages with something behind', () => VALID.map((valid) => Buffer.concat([valid, Buffer.from('0:,')]))],
    [
      'wrong lengths',
      () =>
        ['', '-1', '03', '1', '4', '999999999', '9999999999', '3 ', '0x3', '1e9'].map((length) =>
          envelope(`${length}:{a},`),
        ),
    ],
    [
      'a wrong length of the body',
      () => ['0', '4', '6', '05', '', '-5'].map((length) => envelope(netstring('{}'), `${length}:hello,`)),
    ],
    ['other types', () => ['2:{}#', '4:true!', '0:~', '0:]', '1:1^', '2:{}x'].map((headers) => envelope(headers))],
    ['a body of another type', () => ['0:~', '0:}', '1:1#'].map((body) => envelope(netstring('{}'), body))],
    ['deep tnetstrings', () => [18, 1000, 20_000].map((depth) => envelope(dictionary(`1:a,${nested(depth)}`)))],
    [
      'tnetstrings of wrong values',
      () =>
        ['1:a,', '1:1#1:b,', '1:a,1:1#', '1:a,4:true!', '1:a,0:~', '1:a,4:1:1#]', '1:a,2:xx,x'].map((pairs) =>
          envelope(dictionary(pairs)),
        ),
    ],
    [
      'bad JSON',
      () =>
        [
          '',
          '{',
          '{}}',
          '[]',
          '"a"',
          'null',
          '1',
          '{a:1}',
          '{"a":1}',
          '{"a":null}',
          '{"a":{}}',
          '{"a":[1]}',
          "{'a':'b'}",
          '\xff',
          '{"a":"\\x"}',
          `${'['.repeat(100_000)}`,
        ].map((json) => envelope(netstring(json))),
    ],
    [
      'wrong envelopes',
      () =>
        ['a_b 1 / ', 'a.b 1 / ', ' 1 / ', 'a x / ', 'a -1 / ', 'a 1.5 / ', 'a 12345678901 / ', 'a  / ', 'a 1  '].map(
          (text) => Buffer.concat([Buffer.from(text), netstring('{}'), netstring('')]),
        ),
    ],
  ]

  it.each(GARBAGE)(
    'is counted, dropped and warned of once, and the next message is served: %s',
    async (_what, messages) => {
      const garbage = messages()
      for (const message of garbage) await fake.send(message)
      await fake.send(renderRequest({ connectionId: 99, target: '/next' }))
      await expect.poll(() => fake.received(99), { interval: 5 }).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
      expect(called).toEqual(['/next'])
      expect(server.stats()).toMatchObject({ malformed: garbage.length, messages: garbage.length + 1, requests: 1 })
      expect(fake.replies.map(({ targets }) => targets)).toEqual(['99'])
      expect(logger.lines).toEqual([
        { level: 'warn', line: expect.stringMatching(/^mongrel2-fetch dropped a malformed message, /) },
      ])
      expect(logger.warnings[0]?.length).toBeLessThan(600)
    },
  )

  it('does no harm amid the parts of one ZeroMQ message', async () => {
    const valid = renderRequest({ connectionId: 1, target: '/one' })
    await fake.send(Buffer.from('x'), valid, Buffer.alloc(0), renderRequest({ connectionId: 2, target: '/two' }))
    await expect.poll(() => fake.received(2), { interval: 5 }).toMatch(/200 OK/)
    expect(called).toEqual(['/one', '/two'])
    expect(server.stats()).toMatchObject({ malformed: 2, messages: 4 })
  })

  it('is warned of once a second, with the first 80 bytes escaped and with how many more there were', async () => {
    const malformed = async (count: number) => expect.poll(() => server.stats().malformed, { interval: 5 }).toBe(count)
    await fake.send(Buffer.from(`\x1b[31m\\\r\n\0\xff ${'x'.repeat(100)}`, 'latin1'))
    await malformed(1)
    const shown = `\\x1b[31m\\\\\\x0d\\x0a\\x00\\xff ${'x'.repeat(69)}... (111 bytes)`
    expect(logger.warnings).toHaveLength(1)
    expect(logger.warnings[0]?.endsWith(`: ${shown}`)).toBe(true)
    now += 999
    for (let n = 0; n < 3; n++) await fake.send(Buffer.from('more'))
    await malformed(4)
    expect(logger.warnings).toHaveLength(1)
    now += 1
    await fake.send(Buffer.from('last'))
    await malformed(5)
    expect(logger.warnings).toHaveLength(2)
    expect(logger.warnings[1]).toMatch(/: last \(and 3 more like it\)$/)
  })

  it.each<[what: string, headers: Record<string, string | undefined>, body: string]>([
    ['shorter than its length', { 'content-length': '6' }, 'hello'],
    ['longer than its length', { 'content-length': '4' }, 'hello'],
    ['without a length', { 'content-length': undefined }, 'hello'],
    ['of no bytes with a length', { 'content-length': '5' }, ''],
    ['in chunks and in the message', { 'content-length': undefined, 'transfer-encoding': 'chunked' }, 'hello'],
    ['in chunks that were not stored', { 'content-length': undefined, 'transfer-encoding': 'chunked' }, ''],
  ])('is a 400 and a close, and the next message is served: a body %s', async (_what, headers, body) => {
    await fake.send(renderRequest({ connectionId: 5, method: 'POST', headers, body }))
    await fake.send(renderRequest({ connectionId: 5, target: '/smuggled' }))
    await fake.send(renderRequest({ connectionId: 6, target: '/next' }))
    await expect.poll(() => fake.received(6), { interval: 5 }).toMatch(/200 OK/)
    expect(fake.received(5)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n.*\r\n\r\nBody and length disagree\n$/s)
    expect(fake.closed(5)).toBe(true)
    expect(called).toEqual(['/next'])
    expect(server.stats()).toMatchObject({ malformed: 0, rejected: 2 })
    expect(logger.lines).toEqual([])
  })
})
