import { setTimeout as sleep } from 'node:timers/promises'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { HTTPException } from 'hono/http-exception'
import { timeout } from 'hono/timeout'
import { fetch } from 'undici'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { serveNode } from '../../adapters/node/index.ts'
import { Topic } from '../../src/index.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

let topic: Topic
/** How many members there were when each was added. */
const sizes: number[] = []

const KINDS = ['stream', 'next'] as const
type Kind = (typeof KINDS)[number]

/** A member's response; of a long poll, a promise of it. */
function join(kind: Kind, c: Context): Response | Promise<Response> {
  const response = topic[kind](c.req.raw, {}, c.env)
  sizes.push(topic.size)
  return response
}

type Handler = (kind: Kind, c: Context) => Response | Promise<Response>
const pass: MiddlewareHandler = (_c, next) => next()
/** Makes a member whose response nobody sends. */
const joinAnd =
  (answer: (c: Context) => Response | Promise<Response>): Handler =>
  (kind, c) => {
    void join(kind, c)
    return answer(c)
  }

/** How another response than the member's is sent, its status, a middleware and a handler. */
const WAYS: [how: string, status: number, middleware: MiddlewareHandler, handler: Handler][] = [
  ['answers otherwise', 200, pass, joinAnd((c) => c.text('other'))],
  [
    'throws',
    500,
    pass,
    joinAnd(() => {
      throw new Error('no')
    }),
  ],
  [
    'throws an HTTPException',
    403,
    pass,
    joinAnd(() => {
      throw new HTTPException(403)
    }),
  ],
  ['redirects after a while', 302, pass, joinAnd((c) => sleep(5).then(() => c.redirect('/')))],
  ['is too slow', 504, timeout(10), joinAnd(() => new Promise<Response>(() => {}))],
  [
    'replaces it in a middleware',
    403,
    async (c, next) => {
      await next()
      c.res = c.text('no', 403)
    },
    joinAnd((c) => c.text('other')),
  ],
  [
    'throws in a middleware',
    500,
    async (_c, next) => {
      await next()
      throw new Error('no')
    },
    joinAnd((c) => c.text('other')),
  ],
  ['joins twice', 200, pass, (kind, c) => joinAnd(() => joinAnd(() => c.text('other'))(kind, c))(kind, c)],
  [
    'has a request that was made anew',
    200,
    async (c, next) => {
      c.req.raw = new Request(c.req.raw, { headers: { 'x-a': 'b' } })
      await next()
    },
    joinAnd((c) => c.text('other')),
  ],
  [
    'has a request that was cloned',
    200,
    async (c, next) => {
      c.req.raw = c.req.raw.clone()
      await next()
    },
    joinAnd((c) => c.text('other')),
  ],
  ['has a request whose body is limited', 200, bodyLimit({ maxSize: 1000 }), joinAnd((c) => c.text('other'))],
]

/** What a middleware makes of an event stream. */
const REPLACING: [how: string, replace: (c: Context) => Response | undefined][] = [
  ['another', (c) => c.text('other')],
  ['one without a body', (c) => c.body(null, 204)],
  ['its clone', (c) => c.res.clone()],
  [
    'an error',
    () => {
      throw new HTTPException(401)
    },
  ],
]

const app = new Hono()
app.onError((error, c) => (error instanceof HTTPException ? error.getResponse() : c.text('failed', 500)))
for (const kind of KINDS) {
  for (const [n, [, , middleware, handler]] of WAYS.entries()) {
    app.get(`/${kind}/way/${n}`, middleware, (c) => handler(kind, c))
  }
  app.get(`/${kind}`, (c) => join(kind, c))
}
for (const [n, [, replace]] of REPLACING.entries()) {
  app.get(
    `/replaced/${n}`,
    async (c, next) => {
      await next()
      c.res = replace(c)
    },
    (c) => join('stream', c),
  )
}

beforeEach(() => {
  topic = new Topic()
  sizes.length = 0
})

describe.each(['Mongrel2', 'a socket of Node'])('Behind %s no member is left', (where) => {
  let origin: string
  let port: number
  const ends: (() => Promise<void>)[] = []

  beforeAll(async () => {
    if (where === 'Mongrel2') {
      const mongrel2 = await startMongrel2()
      ends.unshift(() => mongrel2.stop())
      const server = serveMongrel2(app, { zeromq: mongrel2.endpoint, logger: {} })
      ends.unshift(() => server.close({ timeout: 1000 }))
      await server.ready
      port = mongrel2.port
    } else {
      const server = await serveNode(app, { port: 0, host: '127.0.0.1' })
      ends.unshift(() => server.close({ timeout: 1000 }))
      port = server.address.port
    }
    origin = `http://127.0.0.1:${port}`
  })
  afterAll(async () => {
    for (const end of ends) await end()
  })

  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(origin + path, { method, redirect: 'manual' })
    await response.arrayBuffer()
    return response.status
  }
  const askOften = async (path: string, method?: string) =>
    new Set(await Promise.all(Array.from({ length: 20 }, () => ask(path, method))))

  it('of 100 HEADs for event streams', async () => {
    for (let n = 0; n < 5; n++) expect(await askOften('/stream', 'HEAD')).toEqual(new Set([200]))
    expect([sizes.length, Math.max(...sizes), topic.size]).toEqual([100, 0, 0])
  })

  it.each(KINDS)('of clients that leave before topic.%s has answered', async (kind) => {
    const clients = Array.from({ length: 20 }, () => new RawClient(port).send(request(`/${kind}`)))
    await expect.poll(() => topic.size).toBe(20)
    for (const client of clients) client.destroy()
    await expect.poll(() => topic.size).toBe(0)
  })

  describe.each(KINDS)('of topic.%s', (kind) => {
    // What Node's server makes of a request that was made anew cannot be told.
    const ways = WAYS.map(([how, status], n) => [how, status, n] as const).filter(
      ([how]) => where === 'Mongrel2' || !/made anew|cloned/.test(how),
    )
    it.each(ways)('when the app %s: %i', async (_how, status, n) => {
      expect(await askOften(`/${kind}/way/${n}`)).toEqual(new Set([status]))
      expect(Math.max(...sizes)).toBeGreaterThan(0)
      await expect.poll(() => topic.size).toBe(0)
    })
  })

  it.each(REPLACING.map(([how], n) => [how, n] as const))('when middleware makes of it %s', async (how, n) => {
    if (how !== 'its clone') await askOften(`/replaced/${n}`)
    else {
      const controller = new AbortController()
      const { signal } = controller
      const responses = await Promise.all(
        Array.from({ length: 20 }, () => fetch(`${origin}/replaced/${n}`, { signal })),
      )
      expect(topic.size).toBe(20)
      topic.send('news')
      for (const { body } of responses) {
        expect(Buffer.from((await body?.getReader().read())?.value ?? []).toString()).toBe('data: news\n\n')
      }
      controller.abort()
    }
    expect(Math.max(...sizes)).toBeGreaterThan(0)
    await expect.poll(() => topic.size).toBe(0)
  })
})
