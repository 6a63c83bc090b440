import { getConnInfo } from '@hono/node-server/conninfo'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { afterEach, describe, expect, it } from 'vitest'
import type { LinkOption, Mongrel2Handler, Mongrel2Server, ServedRequest } from '../../src/index.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { get, RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

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
