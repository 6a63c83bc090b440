import { once } from 'node:events'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { basicAuth } from 'hono/basic-auth'
import { bearerAuth } from 'hono/bearer-auth'
import { bodyLimit } from 'hono/body-limit'
import { every, except, some } from 'hono/combine'
import { compress } from 'hono/compress'
import { contextStorage } from 'hono/context-storage'
import { cors } from 'hono/cors'
import { csrf } from 'hono/csrf'
import { etag } from 'hono/etag'
import { HTTPException } from 'hono/http-exception'
import { ipRestriction } from 'hono/ip-restriction'
import { languageDetector } from 'hono/language'
import { logger } from 'hono/logger'
import { methodOverride } from 'hono/method-override'
import { poweredBy } from 'hono/powered-by'
import { prettyJSON } from 'hono/pretty-json'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import { timing } from 'hono/timing'
import { appendTrailingSlash, trimTrailingSlash } from 'hono/trailing-slash'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Bindings, getConnInfo, upgradeWebSocket as honoUpgrade } from '../../adapters/hono/index.ts'
import {
  type Mongrel2Server,
  type ServerWebSocket,
  type SocketErrorEvent,
  Topic,
  upgradeWebSocket,
} from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { headerOf, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

/** What happened at the sockets. */
const happened: string[] = []
const sockets: ServerWebSocket[] = []
const room = new Topic()

/** A middleware that only does something behind `next()`. */
const behind =
  (action: (c: Context) => void | Promise<void>): MiddlewareHandler =>
  async (c, next) => {
    await next()
    await action(c)
  }

const USER = { username: 'ann', password: 'secret' }
const silent = () => {}

/** Middleware that lets a handshake through, by name, and a header field that the client sees of it. */
const LEGAL: [name: string, middleware: MiddlewareHandler, field?: string][] = [
  ['cors', cors(), 'access-control-allow-origin'],
  ['secure-headers', secureHeaders(), 'x-frame-options'],
  ['logger', logger(silent)],
  ['timing', timing(), 'server-timing'],
  ['etag', etag()],
  ['compress', compress()],
  ['powered-by', poweredBy(), 'x-powered-by'],
  ['request-id', requestId(), 'x-request-id'],
  ['pretty-json', prettyJSON({ force: true })],
  ['body-limit', bodyLimit({ maxSize: 10 })],
  ['csrf', csrf()],
  ['timeout', timeout(10_000)],
  ['trim-trailing-slash', trimTrailingSlash()],
  ['append-trailing-slash', appendTrailingSlash()],
  ['context-storage', contextStorage()],
  ['language', languageDetector({ supportedLanguages: ['en'], fallbackLanguage: 'en' })],
  ['basic-auth', some(basicAuth(USER), async (_c, next) => next())],
  ['bearer-auth', except(() => true, bearerAuth({ token: 'x' }))],
  ['ip-restriction', every(ipRestriction(getConnInfo, { allowList: ['127.0.0.1', '::1'] }))],
  ['method-override', methodOverride({ app: new Hono() })],
  [
    'header-before',
    async (c, next) => {
      c.header('x-early', 'yes')
      await next()
    },
    'x-early',
  ],
  ['header', behind((c) => c.header('x-late', 'yes')), 'x-late'],
  ['headers-set', behind((c) => c.res.headers.set('x-late', 'yes')), 'x-late'],
  [
    'made-anew',
    behind((c) => {
      c.res = new Response(c.res.body, c.res)
    }),
  ],
  [
    'made-anew-by-parts',
    behind((c) => {
      const headers = new Headers(c.res.headers)
      headers.set('x-late', 'yes')
      c.res = new Response(c.res.body, { status: c.res.status, headers })
    }),
    'x-late',
  ],
  [
    'cloned',
    behind((c) => {
      c.res = c.res.clone()
    }),
  ],
]

/** Middleware that refuses a handshake behind `next()`, by name, and what the client gets. */
const REFUSING: [name: string, middleware: MiddlewareHandler, status: number, body: string, field?: string][] = [
  [
    'text',
    behind((c) => {
      c.res = c.text('You must not.', 403)
    }),
    403,
    'You must not.',
  ],
  [
    'json',
    behind((c) => {
      c.res = c.json({ error: 'Who are you?' }, 401, { 'www-authenticate': 'Basic' })
    }),
    401,
    '{"error":"Who are you?"}',
    'www-authenticate',
  ],
  [
    'redirect',
    behind((c) => {
      c.res = c.redirect('/login')
    }),
    302,
    '',
    'location',
  ],
  [
    'empty',
    behind((c) => {
      c.res = c.body(null, 403)
    }),
    403,
    '',
  ],
  [
    'response',
    behind((c) => {
      c.res = new Response('You must not.', { status: 403 })
    }),
    403,
    'You must not.',
  ],
  [
    'page',
    behind((c) => {
      c.res = c.html('<p>Log in first.</p>')
    }),
    200,
    '<p>Log in first.</p>',
  ],
  [
    'without-what-was',
    behind((c) => {
      c.res = undefined
      c.res = new Response('gone', { status: 410 })
    }),
    410,
    'gone',
  ],
  [
    'throws',
    behind(() => {
      throw new Error('behind next()')
    }),
    500,
    'Internal Server Error',
  ],
  [
    'http-exception',
    behind(() => {
      throw new HTTPException(401, { message: 'Who are you?' })
    }),
    401,
    'Who are you?',
  ],
  [
    'timeout',
    every(
      timeout(20),
      behind(() => new Promise<void>(silent)),
    ),
    504,
    'Gateway Timeout',
  ],
]

function add(app: Hono<{ Bindings: Bindings }>, path: string, middleware: MiddlewareHandler): void {
  const routes = new Hono<{ Bindings: Bindings }>()
  routes.use(middleware)
  routes.onError((error, c) =>
    error instanceof HTTPException ? error.getResponse() : c.text('Internal Server Error', 500),
  )
  routes.get(
    '/helper',
    honoUpgrade(
      () => ({
        onOpen: () => happened.push('open'),
        onMessage: ({ data }, ws) => ws.send(`echo ${data}`),
        onError: (event) => happened.push(`error ${(event as SocketErrorEvent).message}`),
        onClose: ({ code, wasClean }) => happened.push(`close ${code} ${wasClean}`),
      }),
      { idleTimeout: 10_000, perMessageDeflate: true },
    ),
  )
  routes.get('/function', (c) => {
    const { socket, response } = upgradeWebSocket(c.req.raw, { perMessageDeflate: true }, c.env)
    room.add(socket)
    sockets.push(socket)
    socket.onopen = () => happened.push('open')
    socket.onerror = ({ message }) => happened.push(`error ${message}`)
    socket.onclose = ({ code, wasClean }) => happened.push(`close ${code} ${wasClean}`)
    return response
  })
  app.route(path, routes)
}

let mongrel2: Mongrel2
let server: Mongrel2Server

beforeAll(async () => {
  const app = new Hono<{ Bindings: Bindings }>()
  for (const [name, middleware] of LEGAL) add(app, `/legal/${name}`, middleware)
  for (const [name, middleware] of REFUSING) add(app, `/refusing/${name}`, middleware)
  mongrel2 = await startMongrel2()
  server = serveMongrel2(app, { zeromq: mongrel2.endpoint })
  await server.ready
})
afterAll(async () => {
  await server.close()
  await mongrel2.stop()
})
beforeEach(() => {
  happened.length = 0
  sockets.length = 0
})

/** A handshake with the key of RFC 6455, and a frame right behind it. */
const handshake = (path: string) =>
  Buffer.concat([
    Buffer.from(
      [
        `GET ${path} HTTP/1.1`,
        'Host: localhost',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol: chat',
        'Sec-WebSocket-Extensions: permessage-deflate',
        '\r\n',
      ].join('\r\n'),
    ),
    Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x61]),
  ])

describe("A handshake behind Hono's middleware", () => {
  it.each(LEGAL)('opens: %s', async (name, _middleware, field) => {
    const client = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/legal/${name}/helper`, {
      origin: 'http://page.example',
    })
    const [[{ headers }]] = await Promise.all([once(client, 'upgrade'), once(client, 'open')])
    client.send('hello')
    expect(String((await once(client, 'message'))[0])).toBe('echo hello')
    if (field !== undefined) expect(headers).toHaveProperty(field)
    client.close(1000)
    await once(client, 'close')
    await expect.poll(() => happened).toEqual(['open', 'close 1000 true'])
  })

  it.each(
    REFUSING.flatMap((refusing) => [['helper', ...refusing] as const, ['function', ...refusing] as const])
      // It makes the response before anew, and the platform refuses the 101 that the function's says.
      .filter(([by, name]) => by === 'helper' || name !== 'redirect'),
  )('by the %s does not open: %s', async (by, name, _middleware, status, body, field) => {
    using client = new RawClient(mongrel2.port).send(handshake(`/refusing/${name}/${by}`))
    const response = await client.response()
    expect([response.status, response.body.toString()]).toEqual([status, body])
    const names = response.headers.map(([field]) => field.toLowerCase())
    expect(names.filter((field) => field.startsWith('sec-websocket-') || field === 'upgrade')).toEqual([])
    expect(headerOf(response, 'connection')).toBe('close')
    if (field !== undefined) expect(names).toContain(field)
    await client.closed
    await expect
      .poll(() => happened)
      .toEqual([`error the WebSocket did not open: its handshake was answered with ${status}`, 'close 1006 false'])
    expect([room.size, ...sockets.map(({ readyState }) => readyState)]).toEqual(by === 'helper' ? [0] : [0, 3])
    expect(server.stats()).toMatchObject({ inFlight: 0, connections: 0 })
  })
})
