import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { secureHeaders } from 'hono/secure-headers'
import { Pool } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { memoryInUse } from '../support/memory-in-use.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { headerOf, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

// What users of other servers have reported of theirs, with the platform's objects and with ours in their place.
describe.each([true, false])('with overrideGlobalObjects %s', (overrideGlobalObjects) => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server
  let logger: CollectingLogger
  let client: RawClient

  async function serve(handler: Parameters<typeof serveMongrel2>[0], flowControl = false): Promise<void> {
    logger = new CollectingLogger()
    mongrel2 = await startMongrel2({ flowControl })
    server = serveMongrel2(handler, {
      zeromq: mongrel2.endpoint,
      chroot: mongrel2.directory,
      overrideGlobalObjects,
      logger,
    })
    await server.ready
    client = new RawClient(mongrel2.port)
  }

  afterEach(async () => {
    client.destroy()
    await server.close({ timeout: 1000 })
    await mongrel2.stop()
  })

  async function get(path: string, ...fields: string[]) {
    client.send(`${[`GET ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`)
    return await client.response()
  }

  it('headers appended after a response was made outlive a middleware that clones it', async () => {
    const app = new Hono()
    app.use(async (c, next) => {
      await next()
      const copy = c.res.clone()
      await copy.text()
      c.res = new Response(c.res.body, c.res)
    })
    app.get('/', (c) => {
      const response = new Response('text', { headers: { 'x-given': '1' } })
      response.headers.append('x-appended', '2')
      response.headers.append('set-cookie', 'a=1')
      response.headers.append('set-cookie', 'b=2')
      c.header('x-context', '3')
      return response
    })
    await serve(app)
    const response = await get('/')
    expect([headerOf(response, 'x-given'), headerOf(response, 'x-appended')]).toEqual(['1', '2'])
    const cookies = response.headers.filter(([name]) => name.toLowerCase() === 'set-cookie')
    expect(cookies.map(([, value]) => value)).toEqual(['a=1', 'b=2'])
    expect(response.body.toString()).toBe('text')
  })

  it('a response made of another keeps its status, its status text and its headers', async () => {
    await serve(() => {
      const first = new Response('gone', { status: 410, statusText: 'Long Gone', headers: { 'x-first': 'yes' } })
      return new Response(first.body, first)
    })
    const response = await get('/')
    expect(response.statusLine).toBe('HTTP/1.1 410 Long Gone')
    expect(headerOf(response, 'x-first')).toBe('yes')
    expect(response.body.toString()).toBe('gone')
  })

  it('the objects that a handler makes responses of are not changed', async () => {
    const headers = Object.freeze({ 'Content-Type': 'text/x', 'X-One': '1' })
    const init = Object.freeze({ status: 202, headers })
    const shared = new Headers({ 'x-shared': '1' })
    await serve((request) => new Response('text', request.url.endsWith('/shared') ? { headers: shared } : init))
    for (let n = 0; n < 3; n++) {
      const response = await get('/')
      expect([response.status, headerOf(response, 'x-one'), headerOf(response, 'content-type')]).toEqual([
        202,
        '1',
        'text/x',
      ])
      expect(headerOf(await get('/shared'), 'x-shared')).toBe('1')
    }
    expect([...shared]).toEqual([['x-shared', '1']])
  })

  it('the signal is not aborted by an answer, whoever looks at it and when', async () => {
    const signals: AbortSignal[] = []
    const gate = new Gate()
    await serve(async (request) => {
      signals.push(request.signal)
      if (request.url.endsWith('/late')) setTimeout(() => signals.push(request.signal), 20)
      if (request.url.endsWith('/stream')) {
        const body = new ReadableStream({
          async pull(controller) {
            await gate.pass('stream')
            controller.enqueue(new TextEncoder().encode('streamed'))
            controller.close()
          },
        })
        return new Response(body)
      }
      return new Response('answered')
    })
    await get('/')
    await get('/late')
    client.send('GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await gate.arrival('stream')
    gate.open('stream')
    await client.response()
    await expect.poll(() => signals.length).toBe(4)
    client.destroy()
    await server.close()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false, false])
  })

  it('a body that nobody reads is not in the way of the next request', async () => {
    await serve((request) => new Response(request.method))
    for (const size of [10, 20_000, 200_000]) {
      client.send(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${size}\r\n\r\n`).send(Buffer.alloc(size))
      expect((await client.response()).body.toString()).toBe('POST')
      expect((await get('/')).body.toString()).toBe('GET')
    }
  })

  it('a body stream is not read ahead of a client that does not read', async () => {
    const chunk = 16 * 1024
    let pulled = 0
    const endless = () =>
      new ReadableStream(
        {
          pull(controller) {
            pulled++
            controller.enqueue(new Uint8Array(chunk))
          },
        },
        { highWaterMark: 0 },
      )
    await serve((request) => new Response(request.url.endsWith('/fence') ? null : endless()), true)
    client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    client.pause()
    await expect.poll(() => pulled).toBeGreaterThan(10)
    // When the sockets are full, Mongrel2 gives no more credits: a fence's answer brings the notices that were under way.
    for (let before = -1; before !== pulled; ) {
      before = pulled
      for (let n = 0; n < 20; n++) await (await fetch(`http://127.0.0.1:${mongrel2.port}/fence`)).text()
    }
    expect(pulled * chunk).toBeLessThan(32 * 1024 * 1024) // what the sockets hold, and no more than 100 KiB
  })

  it('memory does not grow with middlewares that wrap responses', async () => {
    const app = new Hono()
    app.use(cors(), compress(), etag(), secureHeaders())
    app.get('/', (c) => c.text('text '.repeat(1000)))
    await serve(app)
    const pool = new Pool(`http://127.0.0.1:${mongrel2.port}`, { connections: 16, pipelining: 1 })
    const run = async (count: number) => {
      const ask = async () => {
        while (count-- > 0) {
          const { body } = await pool.request({ path: '/', method: 'GET', headers: { 'accept-encoding': 'gzip' } })
          await body.dump()
        }
      }
      await Promise.all(Array.from({ length: 16 }, ask))
    }
    await run(6000)
    const warm = await memoryInUse()
    await run(6000)
    // What is garbage but not collected yet is no growth: it depends on what else the machine does.
    await expect.poll(async () => (await memoryInUse()) - warm).toBeLessThan(8 * 1024 * 1024)
    await pool.close()
    expect(logger.lines).toEqual([])
  }, 180_000)
})
