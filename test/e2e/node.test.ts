import { Hono } from 'hono'
import { fetch } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import { type Bindings, getConnInfo, mongrel2 as middleware } from '../../adapters/hono/index.ts'
import { type NodeHandler, type NodeServeOptions, type NodeServer, serveNode } from '../../adapters/node/index.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'

let server: NodeServer | undefined
let logger: CollectingLogger

afterEach(async () => {
  await server?.close({ timeout: 1000 })
  server = undefined
})

async function serve(handler: NodeHandler): Promise<string> {
  logger = new CollectingLogger()
  server = await serveNode(handler, { port: 0, host: '127.0.0.1', logger })
  return `http://127.0.0.1:${server.address.port}`
}

describe('serveNode', () => {
  it("calls a handler with Node's request and response and a context", async () => {
    const url = await serve(async (request, env, ctx) => {
      ctx.passThroughOnException()
      const keys = [Object.keys(env).sort(), Object.keys(ctx).sort(), env.mongrel2]
      return Response.json([request.method, request.url, await request.text(), env.incoming.socket.remoteAddress, keys])
    })
    const response = await fetch(`${url}/a?b`, { method: 'POST', body: 'text' })
    expect(await response.json()).toEqual([
      'POST',
      `${url}/a?b`,
      'text',
      '127.0.0.1',
      [['incoming', 'outgoing'], ['passThroughOnException', 'props', 'waitUntil'], null],
    ])
  })

  it('serves one app beside Mongrel2: getConnInfo works on both, mongrel2() says where it is needed', async () => {
    const app = new Hono<{ Bindings: Bindings }>()
    app.get('/', (c) => c.text(String(getConnInfo(c).remote.address)))
    app.get('/route', middleware(), (c) => c.text(c.var.mongrel2.pattern))
    app.get('/background', (c) => {
      c.executionCtx.waitUntil(Promise.resolve())
      return c.text('later')
    })
    await using mongrel2 = await startMongrel2()
    await using behind = serveMongrel2(app, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory })
    await behind.ready
    const urls = [`http://127.0.0.1:${mongrel2.port}`, await serve(app)]
    const answers = async (path: string) =>
      await Promise.all(
        urls.map(async (url) => {
          const response = await fetch(url + path)
          return [response.status, await response.text()]
        }),
      )
    expect(await answers('/')).toEqual([
      [200, '127.0.0.1'],
      [200, '127.0.0.1'],
    ])
    expect(await answers('/background')).toEqual([
      [200, 'later'],
      [200, 'later'],
    ])
    expect(await answers('/route')).toEqual([
      [200, '/'],
      [501, expect.stringContaining('needs Mongrel2')],
    ])
  })

  it('answers what is under way and waits for waitUntil when it is closed', async () => {
    const gate = new Gate()
    let done = false
    const url = await serve(async (_request, _env, ctx) => {
      await gate.pass('request')
      ctx.waitUntil(
        gate.pass('background').then(() => {
          done = true
        }),
      )
      return new Response('answered')
    })
    const answer = fetch(url)
    await gate.arrival('request')
    const closed = server?.close()
    expect(server?.close()).toBe(closed)
    gate.open('request')
    expect(await (await answer).text()).toBe('answered')
    await gate.arrival('background')
    gate.open('background')
    await closed
    expect(done).toBe(true)
    await expect(fetch(url)).rejects.toThrow()
  })

  it('cuts what is still open after the timeout', async () => {
    const gate = new Gate()
    const url = await serve(async () => {
      await gate.pass('request')
      return new Response()
    })
    const answer = fetch(url)
    await gate.arrival('request')
    await Promise.all([server?.close({ timeout: 50 }), expect(answer).rejects.toThrow()])
    gate.open('request')
  })

  it('logs what was given to waitUntil and fails', async () => {
    const url = await serve((_request, _env, ctx) => {
      ctx.waitUntil(Promise.reject(new Error('in the background')))
      return new Response()
    })
    await fetch(url)
    expect(await logger.next('error')).toContain('waitUntil failed: Error: in the background')
  })

  it('rejects where it cannot listen', async () => {
    const url = new URL(await serve(() => new Response()))
    await expect(serveNode(() => new Response(), { port: Number(url.port), host: url.hostname })).rejects.toMatchObject(
      {
        code: 'EADDRINUSE',
      },
    )
  })

  it.each<[handler: unknown, options: unknown, message: RegExp]>([
    [1, { port: 0 }, /the handler: expected a function/],
    [() => {}, undefined, /options: expected an object/],
    [() => {}, {}, /port: expected an integer from 0 to 65535, got undefined/],
    [() => {}, { port: 65_536 }, /port: expected/],
    [() => {}, { port: 0, host: 1 }, /host: expected/],
    [() => {}, { port: 0, hostname: 'x' }, /there is no option hostname/],
  ])('refuses %s with the options %j', async (handler, options, message) => {
    await expect(serveNode(handler as NodeHandler, options as NodeServeOptions)).rejects.toThrow(message)
  })
})
