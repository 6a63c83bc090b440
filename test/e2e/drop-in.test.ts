import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { getConnInfo } from '@hono/node-server/conninfo'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { afterEach, describe, expect, it } from 'vitest'
import type { LinkOption, Mongrel2Handler, Mongrel2Server, ServedRequest } from '../../src/index.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { get, RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

/** Made before any server starts, as modules that an app imports do. */
const platform = { Request, Response, Headers, fetch, clone: Request.prototype.clone, text: Request.prototype.text }
class ExtendedRequest extends Request {
  readonly given = this.headers.get('x-given')
}
class ExtendedResponse extends Response {}

const GIVEN = 'x-given: 1'

async function described(request: Request): Promise<string> {
  return `${request.method} x-given: ${request.headers.get('x-given')} ${await request.text()}`
}

/** Uses of what was kept; each says what it has found in the request. */
const KEPT: Record<string, (request: Request) => Response | Promise<Response>> = {
  'extended Request': async (request) => new Response(await described(new ExtendedRequest(request))),
  'extended Request with an init': async (request) =>
    new Response(await described(new ExtendedRequest(request.url, request))),
  Request: async (request) => new Response(await described(new platform.Request(request))),
  'clone of the prototype': async (request) => new Response(await described(platform.clone.call(request))),
  'text of the prototype': async (request) =>
    new Response(`${request.method} ${GIVEN} ${await platform.text.call(request)}`),
  fetch: (request) => platform.fetch(request),
  Headers: async (request) => {
    const value = new platform.Headers(request.headers).get('x-given')
    return new Response(`${request.method} x-given: ${value} ${await request.text()}`)
  },
  'extended Response': async (request) => new ExtendedResponse(await described(request)),
  'Response of another': async (request) => {
    const inner = new Response(await described(request), { headers: { 'x-inner': '1' } })
    return new platform.Response(inner.body, inner)
  },
  'Response cloned by the prototype': async (request) =>
    platform.Response.prototype.clone.call(new Response(await described(request))),
  instanceof: async (request) => {
    const holds = request instanceof platform.Request && new Response() instanceof platform.Response
    return new Response(holds ? await described(request) : 'no instance')
  },
}

// What apps that were written for other servers rely on.
describe.each<LinkOption>(['zmtp', 'zeromq'])('on the link %s', (link) => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server
  let logger: CollectingLogger

  async function serve(handler: Mongrel2Handler, options: { overrideGlobalObjects?: boolean } = {}): Promise<void> {
    logger = new CollectingLogger()
    mongrel2 = await startMongrel2()
    server = serveMongrel2(handler, {
      zeromq: mongrel2.endpoint,
      chroot: mongrel2.directory,
      link,
      logger,
      ...options,
    })
    await server.ready
  }

  afterEach(async () => {
    await server.close({ timeout: 1000 })
    await mongrel2.stop()
  })

  async function ask(target: string): Promise<string> {
    using client = new RawClient(mongrel2.port)
    return await get(client, target)
  }

  it('streams of text reach the client as UTF-8', async () => {
    const app = new Hono()
    app.get('/stream', () => {
      const texts = ['caf\u00e9 ', '', '\u{1f600}', '!']
      const body: ReadableStream = new ReadableStream<string>({
        async pull(controller) {
          await new Promise((resolve) => setImmediate(resolve))
          const text = texts.shift()
          if (text === undefined) controller.close()
          else controller.enqueue(text)
        },
      })
      return new Response(body)
    })
    app.get('/events', (c) => streamSSE(c, (stream) => stream.writeSSE({ data: 'caf\u00e9' })))
    await serve(app)
    expect(await ask('/stream')).toBe('caf\u00e9 \u{1f600}!')
    expect(await ask('/events')).toBe('data: caf\u00e9\n\n')
    expect(logger.lines).toEqual([])
  })

  it.each([false, true])('tells the client’s address, overrideGlobalObjects %s', async (overrideGlobalObjects) => {
    const app = new Hono()
    app.get('/', (c) => {
      const { remote } = getConnInfo(c)
      const { ip } = c.req.raw as ServedRequest
      return c.json({ ...remote, ip })
    })
    await serve(app, { overrideGlobalObjects })
    expect(JSON.parse(await ask('/'))).toEqual({ address: '127.0.0.1', addressType: 'IPv4', ip: '127.0.0.1' })
  })

  it('a target in absolute form with the authority of the Host is its path', async () => {
    await serve((request) => new Response(request.url))
    expect(await ask('http://localhost/a?b')).toBe('http://localhost/a?b')
    expect(await ask('http://LOCALHOST:80/a')).toBe('http://localhost/a')
    expect(await ask('http://localhost')).toBe('http://localhost/')
    expect(await ask('http://evil.example/a')).toBe('http://localhost//evil.example/a')
    expect(await ask('//evil.example/a')).toBe('http://localhost//evil.example/a')
    using client = new RawClient(mongrel2.port)
    const old = await client.send(request('http://localhost/a', 'GET', '', '1.0')).response()
    expect(old.body.toString()).toBe('http://localhost/a')
  })
})

describe.each([false, true])(
  'An app that has kept the platform’s objects, with overrideGlobalObjects %s,',
  (override) => {
    it('is served as on any server', async () => {
      const origin = createServer(async (incoming, outgoing) => {
        outgoing.end(`${incoming.method} x-given: ${incoming.headers['x-given']} ${await text(incoming)}`)
      }).listen(0, '127.0.0.1')
      await once(origin, 'listening')
      await using mongrel2 = await startMongrel2()
      const logger = new CollectingLogger()
      await using server = serveMongrel2(
        (request) => KEPT[request.headers.get('x-use') ?? '']?.(request) ?? new Response(),
        {
          zeromq: mongrel2.endpoint,
          overrideGlobalObjects: override,
          logger,
        },
      )
      await server.ready
      using client = new RawClient(mongrel2.port)
      const { port } = origin.address() as AddressInfo
      for (const use of Object.keys(KEPT)) {
        const fields = [`Host: 127.0.0.1:${port}`, `X-Use: ${use}`, 'X-Given: 1', 'Content-Length: 4']
        client.send(`PUT / HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\nbody`)
        expect([use, (await client.response()).body.toString()]).toEqual([use, `PUT ${GIVEN} body`])
      }
      expect(logger.lines).toEqual([])
      origin.close()
    })
  },
)
