import { Hono } from 'hono'
import type { GetConnInfo } from 'hono/conninfo'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type Bindings, getConnInfo, mongrel2 } from '../../../adapters/hono/index.ts'
import type { MessageInfo, Mongrel2Env } from '../../../src/index.ts'

function environment(info: Partial<MessageInfo> = {}): Mongrel2Env {
  return {
    mongrel2: {
      sender: 'a-sender',
      connectionId: 7,
      pattern: '/',
      remoteAddress: '192.0.2.7',
      scheme: 'http',
      version: 'HTTP/1.1',
      headers: { METHOD: 'GET' },
      defer: () => Promise.reject(new Error('nobody defers here')),
      ...info,
    },
  }
}

describe('mongrel2()', () => {
  it('puts what Mongrel2 says about the request into c.var.mongrel2', async () => {
    const app = new Hono().get('/', mongrel2(), (c) => c.json(c.var.mongrel2))
    const env = environment()
    const { defer: _, ...facts } = env.mongrel2
    expect(await (await app.request('/', {}, env)).json()).toEqual(facts)
  })

  it('lets later handlers use it without a middleware of theirs', async () => {
    const app = new Hono()
    app.use(mongrel2())
    app.get('/', (c) => c.text(String(c.get('mongrel2' as never) === c.env?.['mongrel2' as never])))
    expect(await (await app.request('/', {}, environment())).text()).toBe('true')
  })

  it.each([
    ['without an environment', undefined],
    ['with that of another server', { incoming: {} }],
  ])('answers 501 with a text that says what to do %s', async (_where, env) => {
    const app = new Hono().get('/', mongrel2(), () => {
      throw new Error('not reached')
    })
    const response = await app.request('/', {}, env)
    expect(response.status).toBe(501)
    expect(await response.text()).toBe(
      'This route needs Mongrel2: serve the app with serveMongrel2() of mongrel2-fetch.\n',
    )
  })

  it('types c.var and c.env', () => {
    const app = new Hono<{ Bindings: Bindings }>()
    app.get('/', mongrel2(), (c) => {
      expectTypeOf(c.var.mongrel2).toEqualTypeOf<MessageInfo>()
      expectTypeOf(c.env.mongrel2).toEqualTypeOf<MessageInfo>()
      return c.text(c.env.mongrel2.remoteAddress)
    })
    app.get('/plain', (c) => {
      // @ts-expect-error there is no such variable without the middleware
      return c.text(c.var.mongrel2.remoteAddress)
    })
    expectTypeOf<Bindings>().toEqualTypeOf<Mongrel2Env>()
  })
})

describe('getConnInfo', () => {
  const app = new Hono<{ Bindings: Bindings }>().get('/', (c) => c.json(getConnInfo(c)))

  it.each([
    ['192.0.2.7', { address: '192.0.2.7', addressType: 'IPv4', transport: 'tcp' }],
    ['2001:db8::7', { address: '2001:db8::7', addressType: 'IPv6', transport: 'tcp' }],
    ['unknown', { address: 'unknown', transport: 'tcp' }],
  ])('tells the address %s', async (remoteAddress, remote) => {
    expect(await (await app.request('/', {}, environment({ remoteAddress }))).json()).toEqual({ remote })
  })

  it.each([
    [
      { remoteAddress: '192.0.2.7', remotePort: 1234 },
      { address: '192.0.2.7', port: 1234, addressType: 'IPv4', transport: 'tcp' },
    ],
    [{}, { transport: 'tcp' }],
  ])('tells what a socket of Node knows: %j', async (socket, remote) => {
    expect(await (await app.request('/', {}, { incoming: { socket } })).json()).toEqual({ remote })
  })

  it('throws where the app runs on another server, saying so', async () => {
    let thrown: unknown
    app.onError((error, c) => {
      thrown = error
      return c.text('failed', 500)
    })
    await app.request('/', {}, {})
    expect(String(thrown)).toMatch(/expected a request from Mongrel2 or Node/)
  })

  it("has the type of Hono's interface", () => {
    expectTypeOf(getConnInfo).toEqualTypeOf<GetConnInfo>()
  })
})
