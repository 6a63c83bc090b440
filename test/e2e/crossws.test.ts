import { on, once } from 'node:events'
import { defineWebSocketHandler, getRequestIP, H3 } from 'h3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { type CrosswsApp, crossws } from '../../adapters/crossws/index.ts'
import type { Mongrel2Server } from '../../src/index.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { get, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
const clients: WebSocket[] = []

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  logger = new CollectingLogger()
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

async function serve(app: CrosswsApp): Promise<void> {
  server = serveMongrel2(app, { zeromq: mongrel2.endpoint, logger })
  await server.ready
}

/** A client, whose messages are kept until they are asked for. */
class Client {
  readonly socket: WebSocket
  readonly #messages: AsyncIterator<unknown[]>

  constructor(path: string, protocols: string[] = [], options: ClientOptions = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${mongrel2.port}${path}`, protocols, options)
    this.#messages = on(this.socket, 'message')
    clients.push(this.socket)
  }

  async next(): Promise<string> {
    return String((await this.#messages.next()).value?.[0])
  }
}

/** The status that a handshake is answered with. */
async function refused(path: string): Promise<number> {
  const { socket } = new Client(path)
  const [, { statusCode }] = await once(
    socket.on('error', () => {}),
    'unexpected-response',
  )
  return statusCode
}

describe('An H3 app by crossws', () => {
  it('has its WebSockets and its routes served', async () => {
    const closes: unknown[] = []
    const app = new H3()
    app.get('/', (event) => `hello, ${getRequestIP(event)}`)
    app.get(
      '/chat/:room',
      defineWebSocketHandler({
        upgrade: (request) => ({
          headers: { 'set-cookie': 'room=1', 'x-room': new URL(request.url).pathname },
          protocol: request.headers.get('sec-websocket-protocol') ?? '',
        }),
        open(peer) {
          peer.subscribe('all')
          peer.send(`welcome, ${peer.remoteAddress}`)
        },
        message(peer, said) {
          if (said.rawData instanceof ArrayBuffer) peer.send(`${said.uint8Array().length} bytes`)
          else peer.publish('all', said.json())
        },
        close(_peer, details) {
          closes.push(details)
        },
      }),
    )
    const served = crossws(app)
    await serve(served)

    using http = new RawClient(mongrel2.port)
    expect(await get(http, '/')).toBe('hello, 127.0.0.1')

    const one = new Client('/chat/1', ['v1'], { headers: { 'x-real-ip': '203.0.113.1' } })
    const [{ headers }] = await once(one.socket, 'upgrade')
    expect(await one.next()).toBe('welcome, 127.0.0.1')
    expect([headers['set-cookie'], headers['x-room'], one.socket.protocol]).toEqual([['room=1'], '/chat/1', 'v1'])
    one.socket.send(Buffer.from('bytes'))
    expect(await one.next()).toBe('5 bytes')

    const two = new Client('/chat/1')
    expect(await two.next()).toBe('welcome, 127.0.0.1')
    two.socket.send(JSON.stringify({ from: 'two' }))
    expect(await one.next()).toBe('{"from":"two"}')
    served.publish('all', 'from the server')
    expect(await Promise.all([one.next(), two.next()])).toEqual(['from the server', 'from the server'])

    two.socket.close(4001, 'enough')
    await expect.poll(() => closes).toEqual([{ code: 4001, reason: 'enough' }])
    expect(served.peers.get('/chat/1')?.size).toBe(1)
    expect(logger.lines).toEqual([])
  })

  it('refuses handshakes by its hook and by its routes', async () => {
    const app = new H3()
    app.get(
      '/private',
      defineWebSocketHandler({
        upgrade: () => new Response('members only', { status: 403 }),
      }),
    )
    await serve(crossws(app))
    expect(await refused('/private')).toBe(403)
    expect(await refused('/nowhere')).toBe(404)
    using http = new RawClient(mongrel2.port)
    expect((await http.send('GET /private HTTP/1.1\r\nHost: localhost\r\n\r\n').response()).status).toBe(426)
  })
})

describe('crossws', () => {
  it('takes hooks for every handshake, and passes all else to the handler', async () => {
    const hooks = {
      message: (peer: { send(data: unknown): void }, said: { text(): string }) => peer.send(`echo ${said.text()}`),
    }
    await serve(crossws(() => new Response('from the handler'), { hooks }))
    using http = new RawClient(mongrel2.port)
    expect(await get(http, '/')).toBe('from the handler')
    const client = new Client('/anywhere')
    await once(client.socket, 'open')
    client.socket.send('text')
    expect(await client.next()).toBe('echo text')
  })

  it('takes hooks that are resolved from the request', async () => {
    const resolve = (request: Request) => ({
      open: (peer: { send(data: unknown): void }) => peer.send(new URL(request.url).pathname),
    })
    await serve(crossws(() => new Response(), { resolve }))
    expect(await new Client('/resolved').next()).toBe('/resolved')
  })
})
