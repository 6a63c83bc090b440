import { createHash } from 'node:crypto'
import { type EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, type Dispatcher, fetch, request } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Mongrel2Dispatcher, type Mongrel2DispatcherOptions } from '../../adapters/undici/index.ts'
import type { FetchHandler, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { freePort } from '../support/free-port.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { serveMongrel2 } from '../support/serve.ts'

const MIB = 1024 * 1024
const URL = 'http://handler.example'

let directory: string
let dispatcher: Mongrel2Dispatcher
let server: Mongrel2Server | undefined
let logger: CollectingLogger

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'undici-'))
  logger = new CollectingLogger()
})

afterEach(async () => {
  await dispatcher.destroy()
  await server?.close({ timeout: 1000 })
  rmSync(directory, { recursive: true })
})

async function serve(
  handler: FetchHandler,
  options: Partial<Mongrel2DispatcherOptions> = {},
  serverOptions: Partial<Mongrel2Options> = {},
): Promise<void> {
  const zeromq = `ipc://${directory}/send,ipc://${directory}/recv`
  dispatcher = new Mongrel2Dispatcher({ zeromq, logger, ...options })
  server = serveMongrel2(handler, { zeromq, logger, ...serverOptions })
  await server.ready
}

function bytesOf(size: number): Buffer<ArrayBuffer> {
  return Buffer.alloc(size, 'bytes that repeat only now and then, ')
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

it('A body is read by a task of waitUntil when the answer is complete', async () => {
  let read: unknown
  await serve((request, _env, ctx) => {
    const reading = request.arrayBuffer()
    ctx.waitUntil(
      reading.then((bytes) => {
        read = sha256(Buffer.from(bytes))
      }),
    )
    return new Response('taken')
  })
  const body = bytesOf(3 * MIB)
  const response = await fetch(URL, { method: 'POST', body, dispatcher })
  expect(await response.text()).toBe('taken')
  await expect.poll(() => read).toBe(sha256(body))
})

describe.each(['json', 'tnetstring'] as const)('fetch with a Mongrel2Dispatcher, headers as %s,', (protocol) => {
  it('calls a handler: method, URL, fields and body one way, status, fields and body the other', async () => {
    await serve(
      async (request, { mongrel2 }) =>
        new Response(`${request.method} ${request.url} ${await request.text()}`, {
          status: 201,
          headers: [
            ['set-cookie', 'a=1'],
            ['set-cookie', 'b=2'],
            ['x-from', `${mongrel2.remoteAddress} ${request.headers.get('x-to')}`],
          ],
        }),
      { protocol },
    )
    const headers = { 'x-to': 'caf\xe9' }
    const response = await fetch(`${URL}/a/b?c=d`, { method: 'PUT', body: 'text', headers, dispatcher })
    expect(response.status).toBe(201)
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(response.headers.get('x-from')).toBe('127.0.0.1 caf\xe9')
    expect(await response.text()).toBe(`PUT ${URL}/a/b?c=d text`)
  })
})

describe('fetch with a Mongrel2Dispatcher', () => {
  it('knows every host, and https as the scheme', async () => {
    await serve((request) => new Response(request.url))
    const urls = ['http://a.example/', 'https://b.example/x', 'http://127.0.0.1:8080/y']
    const texts = await Promise.all(urls.map(async (url) => (await fetch(url, { dispatcher })).text()))
    expect(texts).toEqual(urls)
  })

  it.each(['HEAD', 'GET'])('reads answers without a body to %s', async (method) => {
    await serve((request) => new Response(null, { status: request.url.endsWith('/204') ? 204 : 304 }))
    for (const status of [204, 304]) {
      const response = await fetch(`${URL}/${status}`, { method, dispatcher })
      expect([response.status, await response.text()]).toEqual([status, ''])
    }
  })

  it.each([false, true])('streams both ways, with flow control: %s', async (flowControl) => {
    const gate = new Gate()
    await serve((request) => new Response(request.body), { flowControl })
    async function* body() {
      for (const name of ['one', 'two', 'three']) {
        yield Buffer.from(name)
        await gate.pass(name)
      }
    }
    const response = await fetch(URL, { method: 'POST', body: body(), duplex: 'half', dispatcher })
    const pieces: string[] = []
    for await (const piece of response.body ?? []) {
      pieces.push(Buffer.from(piece).toString())
      const name = pieces.at(-1) ?? ''
      await gate.arrival(name) // the next is not sent before this one is back
      gate.open(name)
    }
    expect(pieces).toEqual(['one', 'two', 'three'])
  })

  it.each([false, true])('carries megabytes both ways, with flow control: %s', async (flowControl) => {
    await serve((request) => new Response(request.body), { flowControl })
    for (const body of [bytesOf(20_000), bytesOf(5 * MIB)]) {
      const response = await fetch(URL, { method: 'POST', body, dispatcher })
      expect(sha256(await response.bytes())).toBe(sha256(body))
    }
  })

  it('slows a response that nobody reads', async () => {
    let pulled = 0
    await serve(
      (request) =>
        request.url.endsWith('/fence')
          ? new Response()
          : new Response(
              new ReadableStream(
                {
                  pull(controller) {
                    pulled++
                    controller.enqueue(new Uint8Array(10_000))
                  },
                },
                { highWaterMark: 0 },
              ),
            ),
      { flowControl: true },
    )
    const { body } = await request(URL, { dispatcher })
    for (let before = -1; before !== pulled; ) {
      before = pulled
      for (let n = 0; n < 20; n++) await (await fetch(`${URL}/fence`, { dispatcher })).text()
    }
    expect(pulled).toBeLessThan(100)
    body.destroy()
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it('is a client that leaves when it is aborted', async () => {
    const gate = new Gate()
    let signal: AbortSignal | undefined
    await serve(async (request) => {
      signal = request.signal
      await gate.pass('request')
      return new Response()
    })
    const controller = new AbortController()
    const answer = fetch(URL, { signal: controller.signal, dispatcher })
    await gate.arrival('request')
    expect(signal?.aborted).toBe(false)
    controller.abort()
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
    await expect.poll(() => signal?.aborted).toBe(true)
    gate.open('request')
  })

  it('fails when the connection is closed amid a body', async () => {
    const gate = new Gate()
    await serve(() => {
      async function* body() {
        yield new Uint8Array(10)
        await gate.pass('failure')
        throw new Error('lost')
      }
      return new Response(ReadableStream.from(body()))
    })
    const response = await fetch(URL, { dispatcher })
    await gate.arrival('failure')
    gate.open('failure')
    await expect(response.text()).rejects.toThrow()
  })

  it('answers 100 requests at once', async () => {
    await serve((request) => new Response(request.url.slice(URL.length)))
    const paths = Array.from({ length: 100 }, (_, n) => `/${n}`)
    const texts = await Promise.all(paths.map(async (path) => (await fetch(URL + path, { dispatcher })).text()))
    expect(texts).toEqual(paths)
  })

  it('waits for a handler that is not there yet', async () => {
    const zeromq = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
    dispatcher = new Mongrel2Dispatcher({ zeromq })
    const answer = fetch(URL, { dispatcher })
    server = serveMongrel2(() => new Response('late'), { zeromq })
    expect(await (await answer).text()).toBe('late')
  })
})

describe('A Mongrel2Dispatcher', () => {
  it('waits for what is under way when it is closed, and takes nothing more', async () => {
    const gate = new Gate()
    await serve(async () => {
      await gate.pass('request')
      return new Response('answered')
    })
    const answer = fetch(URL, { dispatcher })
    await gate.arrival('request')
    const closed = dispatcher.close()
    await expect(fetch(URL, { dispatcher })).rejects.toThrow()
    gate.open('request')
    expect(await (await answer).text()).toBe('answered')
    await closed
    await dispatcher.close()
  })

  it('ends what is under way when it is destroyed', async () => {
    const gate = new Gate()
    await serve(async () => {
      await gate.pass('request')
      return new Response()
    })
    const answer = fetch(URL, { dispatcher })
    await gate.arrival('request')
    await Promise.all([dispatcher.destroy(), expect(answer).rejects.toThrow()])
    gate.open('request')
  })

  it('fails requests where its addresses cannot be bound, saying why', async () => {
    dispatcher = new Mongrel2Dispatcher({ zeromq: 'ipc:///nowhere/send,ipc:///nowhere/recv' })
    await expect(fetch(URL, { dispatcher })).rejects.toMatchObject({ cause: { code: 'ENOENT' } })
  })

  describe('emits what an Agent of undici does', () => {
    /** Everything that a dispatcher emits: the event, the origin, the targets, the error. */
    function eventsOf(emitter: EventEmitter): string[] {
      const events: string[] = []
      for (const event of ['connect', 'disconnect', 'connectionError', 'drain']) {
        emitter.on(event, (origin: globalThis.URL, targets: readonly object[], error?: Error) => {
          const names = targets.map((target) => (target === emitter ? 'itself' : target.constructor.name))
          // We are an Agent around an Agent.
          const path = names.filter((name) => name !== 'Agent').join(' ')
          events.push(`${event} ${origin.protocol} ${path} ${error?.name ?? 'no error'}`)
        })
      }
      return events
    }

    async function visit(url: string, visitor: Dispatcher, events: string[]): Promise<void> {
      const bodies = Array.from({ length: 3 }, async () => (await fetch(url, { dispatcher: visitor })).text())
      expect(await Promise.all(bodies)).toEqual(['hello', 'hello', 'hello'])
      expect(await (await fetch(`${url}/last`, { dispatcher: visitor })).text()).toBe('hello')
      await expect.poll(() => events.some((event) => event.startsWith('disconnect'))).toBe(true)
      await visitor.destroy()
    }

    it('when it connects and is disconnected', async () => {
      await serve(({ url }) => new Response('hello', { headers: url.endsWith('/last') ? { connection: 'close' } : {} }))
      const ours = eventsOf(dispatcher)
      await visit(URL, dispatcher, ours)

      const peer = createServer((request, response) => {
        response.setHeader('connection', request.url === '/last' ? 'close' : 'keep-alive').end('hello')
      }).listen(0, '127.0.0.1')
      await once(peer, 'listening')
      const agent = new Agent()
      const theirs = eventsOf(agent)
      await visit(`http://127.0.0.1:${(peer.address() as AddressInfo).port}`, agent, theirs)
      peer.close()
      // How many connections there are is a matter of time.
      expect(new Set(ours)).toEqual(new Set(theirs))
      expect(ours).toContain('connect http: itself Pool Client no error')
      expect(ours).toContain('disconnect http: itself Pool Client ClientDestroyedError')
    })

    it('when it cannot connect', async () => {
      dispatcher = new Mongrel2Dispatcher({ zeromq: 'ipc:///nowhere/send,ipc:///nowhere/recv' })
      const ours = eventsOf(dispatcher)
      await expect(fetch(URL, { dispatcher })).rejects.toThrow()

      const agent = new Agent()
      const theirs = eventsOf(agent)
      await expect(fetch(`http://127.0.0.1:${await freePort()}`, { dispatcher: agent })).rejects.toThrow()
      await agent.destroy()
      expect(ours).toContain('connectionError http: itself Pool Client Error')
      expect(ours).toEqual(theirs)
    })
  })

  it.each<[what: unknown, message: RegExp]>([
    [undefined, /options: expected an object/],
    [{}, /zeromq: expected 'SEND_SPEC,RECV_SPEC'/],
    [{ zeromq: 'ipc://a' }, /zeromq: expected 'SEND_SPEC,RECV_SPEC'/],
    [{ zeromq: 'ipc://a,ipc://b,ipc://c' }, /zeromq: expected/],
    [{ zeromq: { sendSpec: 'a', recvSpec: 'b' } }, /sendSpec: expected tcp:/],
    [{ zeromq: 'ipc://a,ipc://b', protocol: 'xml' }, /protocol: expected 'json' or 'tnetstring', got "xml"/],
    [{ zeromq: 'ipc://a,ipc://b', uploads: 'none' }, /there is no option uploads/],
  ])('refuses the options %j', (options, message) => {
    dispatcher = new Mongrel2Dispatcher({ zeromq: `ipc://${directory}/a,ipc://${directory}/b` })
    expect(() => new Mongrel2Dispatcher(options as Mongrel2DispatcherOptions)).toThrow(message)
  })
})
