import { once } from 'node:events'
import { Hono } from 'hono'
import { hc } from 'hono/client'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { createMiddleware } from 'hono/factory'
import { secureHeaders } from 'hono/secure-headers'
import type { WSContext } from 'hono/ws'
import { fetch } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Bindings, upgradeWebSocket } from '../../adapters/hono/index.ts'
import type { Mongrel2Server, ServerWebSocket } from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'

const happened: string[] = []
const contexts: WSContext<ServerWebSocket>[] = []
const thrown: unknown[] = []

const rewrap = createMiddleware(async (c, next) => {
  await next()
  c.res = new Response(c.res.body, c.res)
  c.header('x-rewrapped', 'yes')
})

const app = new Hono<{ Bindings: Bindings }>()
  .use('/dressed/*', cors(), secureHeaders(), etag(), rewrap)
  .get(
    '/echo/:name',
    upgradeWebSocket((c) => {
      const name = c.req.param('name')
      return {
        onOpen: (_event, ws) => {
          contexts.push(ws)
          happened.push(`${name} open ${ws.readyState} ${ws.url?.href} ${ws.protocol}`)
        },
        onMessage: ({ data }, ws) => {
          if (data === 'close') ws.close(4000, 'as you wish')
          else if (typeof data === 'string') ws.send(`${name}: ${data}`)
          else if (data instanceof ArrayBuffer) ws.send(new Uint8Array(data).reverse())
        },
        onClose: ({ code, reason, wasClean }) => happened.push(`${name} close ${code} ${reason} ${wasClean}`),
        onError: () => happened.push(`${name} error`),
      }
    }),
  )
  .get('/echo/:name', (c) => c.text('this is no handshake'))
  .get(
    '/dressed/echo',
    upgradeWebSocket(() => ({ onMessage: ({ data }, ws) => ws.send(String(data)) })),
  )
  .get(
    '/options',
    upgradeWebSocket(() => ({}), { maxPayload: 3, origin: ['http://page.example'] }),
  )
  .get('/direct', (c) => upgradeWebSocket(c, { onMessage: (_event, ws) => ws.send('direct') }))
  .get(
    '/throws',
    upgradeWebSocket(
      () => ({
        onMessage: async (_event, ws) => {
          ws.send('before')
          throw new Error('in onMessage')
        },
      }),
      { onError: (error) => thrown.push(error) },
    ),
  )

let mongrel2: Mongrel2
let server: Mongrel2Server

beforeAll(async () => {
  mongrel2 = await startMongrel2()
  server = serveMongrel2(app, { zeromq: mongrel2.endpoint })
  await server.ready
})
afterAll(async () => {
  await server.close()
  await mongrel2.stop()
})

const urlOf = (path: string) => `ws://127.0.0.1:${mongrel2.port}${path}`

async function connect(path: string, protocols: string[] = [], origin?: string): Promise<WebSocket> {
  const client = new WebSocket(urlOf(path), protocols, origin === undefined ? {} : { origin })
  await once(client, 'open')
  return client
}

async function answer(client: WebSocket, message: string | Buffer): Promise<string | Buffer> {
  client.send(message)
  const [data, binary] = await once(client, 'message')
  return binary ? data : String(data)
}

describe('upgradeWebSocket of mongrel2-fetch/hono', () => {
  it('calls the events with a context, text as a string and bytes as an ArrayBuffer', async () => {
    const client = await connect('/echo/ann', ['chat', 'other'])
    expect(client.protocol).toBe('chat')
    expect(await answer(client, 'hello')).toBe('ann: hello')
    expect(await answer(client, Buffer.from([1, 2, 3]))).toEqual(Buffer.from([3, 2, 1]))
    expect(contexts.at(-1)?.raw?.url).toBe(urlOf('/echo/ann'))
    const ended = once(client, 'close')
    client.send('close')
    expect(String(await ended)).toBe('4000,as you wish')
    await expect
      .poll(() => happened)
      .toEqual([`ann open 1 ${urlOf('/echo/ann')} chat`, 'ann close 4000 as you wish true'])
    expect(contexts.at(-1)?.readyState).toBe(3)
  })

  it('tells onError and onClose what a broken client did', async () => {
    happened.length = 0
    const client = await connect('/echo/bob')
    client.on('error', () => {})
    client.send(Buffer.alloc(2 * 1024 * 1024))
    expect((await once(client, 'close'))[0]).toBe(1009)
    await expect
      .poll(() => happened)
      .toEqual([`bob open 1 ${urlOf('/echo/bob')} `, 'bob error', 'bob close 1006  false'])
  })

  it('works with the client of hono/client', async () => {
    const webSocket = (url: string | URL) => new WebSocket(url)
    // The client's types speak of the browser's WebSocket.
    const client = hc<typeof app>(`http://127.0.0.1:${mongrel2.port}`, { webSocket: webSocket as never })
    const socket = client.echo[':name'].$ws({ param: { name: 'cyd' } }) as unknown as WebSocket
    await once(socket, 'open')
    expect(await answer(socket, 'hi')).toBe('cyd: hi')
    socket.close()
  })

  it('goes through middleware that makes the response anew, with the header fields it sets', async () => {
    const client = new WebSocket(urlOf('/dressed/echo'))
    const [[response]] = await Promise.all([once(client, 'upgrade'), once(client, 'open')])
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'x-frame-options': 'SAMEORIGIN',
      'x-rewrapped': 'yes',
    })
    expect(await answer(client, 'dressed')).toBe('dressed')
    client.close()
  })

  it('passes its options on', async () => {
    const client = await connect('/options', [], 'http://page.example')
    client.on('error', () => {})
    client.send('four')
    expect((await once(client, 'close'))[0]).toBe(1009)
    const stranger = new WebSocket(urlOf('/options'), { origin: 'http://evil.example' })
    stranger.on('error', () => {})
    expect((await once(stranger, 'unexpected-response'))[1].statusCode).toBe(403)
  })

  it('can be called in a handler', async () => {
    const client = await connect('/direct')
    expect(await answer(client, 'x')).toBe('direct')
    client.close()
  })

  it('lets the next handler answer what is no handshake', async () => {
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}/echo/dan`)
    expect([response.status, await response.text()]).toEqual([200, 'this is no handshake'])
  })

  it('tells the option onError what an event throws, and goes on', async () => {
    const client = await connect('/throws')
    expect(await answer(client, '1')).toBe('before')
    expect(await answer(client, '2')).toBe('before')
    await expect.poll(() => thrown).toEqual([new Error('in onMessage'), new Error('in onMessage')])
    client.close()
  })
})
