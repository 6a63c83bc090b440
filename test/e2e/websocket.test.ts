import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fetch } from 'undici'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import {
  type EndpointInput,
  type Mongrel2Options,
  type ServerWebSocket,
  type UpgradeWebSocketOptions,
  upgradeWebSocket,
} from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { Gate } from '../support/gate.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { RawWebSocket } from '../support/websocket-client.ts'
import { clientFrame, describeFrame } from '../support/websocket-frames.ts'
import { exchangeMessages, PACINGS, startPaced } from '../support/websocket-volume.ts'
import { describeClose } from '../unit/support/sockets.ts'

interface Sockets {
  readonly port: number
  readonly server: ReturnType<typeof serveMongrel2>
  /** Those that were accepted. */
  readonly sockets: ServerWebSocket[]
  /** How they were closed. */
  readonly closes: string[]
}

/** Accepts every handshake and calls `use` with each socket. */
function serveSockets(
  zeromq: EndpointInput,
  port: number,
  use: (socket: ServerWebSocket) => void,
  options: UpgradeWebSocketOptions = {},
  serverOptions: Partial<Mongrel2Options> = {},
): Sockets {
  const sockets: ServerWebSocket[] = []
  const closes: string[] = []
  const server = serveMongrel2(
    (request) => {
      const { socket, response } = upgradeWebSocket(request, options)
      sockets.push(socket)
      socket.binaryType = 'arraybuffer'
      socket.addEventListener('close', (event) => closes.push(describeClose(event)))
      use(socket)
      return response
    },
    { zeromq, ...serverOptions },
  )
  return { port, server, sockets, closes }
}

const echo = (socket: ServerWebSocket) => {
  socket.onmessage = ({ data }) => socket.send(data)
}

async function connect(
  port: number,
  ...more: ConstructorParameters<typeof WebSocket> extends [unknown, ...infer Rest] ? Rest : never
) {
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, ...more)
  await once(client, 'open')
  return client
}

/** How `ws` as the client saw the end. */
async function endOf(client: WebSocket): Promise<string> {
  const [code, reason] = await once(client, 'close')
  return `${code} ${reason}`
}

describe('A WebSocket', () => {
  it.each([false, true])(
    'carries text and bytes both ways, with global objects replaced: %s',
    async (overrideGlobalObjects) => {
      await using mongrel2 = await startMongrel2({ protocol: 'tnetstring' })
      const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, echo, {}, { overrideGlobalObjects })
      await using _ = server
      await server.ready
      const client = await connect(mongrel2.port)
      for (const message of ['text ü', Buffer.from([0, 255, 10]), '']) {
        client.send(message)
        const [data, binary] = await once(client, 'message')
        expect([binary, Buffer.from(data)]).toEqual([typeof message !== 'string', Buffer.from(message)])
      }
      client.close(3456, 'enough')
      expect(await endOf(client)).toBe('3456 enough')
      await expect.poll(() => closes).toEqual(['close 3456 "enough" clean'])
    },
  )

  it('is closed by us with a code and a reason', async () => {
    await using mongrel2 = await startMongrel2()
    const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, (socket) => {
      socket.onmessage = () => socket.close(4001, 'not here')
    })
    await using _ = server
    await server.ready
    const client = await connect(mongrel2.port)
    client.send('may I?')
    expect(await endOf(client)).toBe('4001 not here')
    await expect.poll(() => closes).toEqual(['close 4001 "not here" clean'])
  })

  it('has the subprotocol, header fields and extension that were agreed upon', async () => {
    await using mongrel2 = await startMongrel2()
    const { server, sockets } = serveSockets(mongrel2.endpoint, mongrel2.port, echo, {
      protocol: 'v2',
      headers: { 'x-room': 'seven', 'set-cookie': 'a=b' },
      perMessageDeflate: { threshold: 0 },
    })
    await using _ = server
    await server.ready
    const client = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/rooms?n=7`, ['v1', 'v2'])
    const [[response]] = await Promise.all([once(client, 'upgrade'), once(client, 'open')])
    expect(response.headers).toMatchObject({ 'x-room': 'seven', 'set-cookie': ['a=b'] })
    expect([client.protocol, client.extensions]).toEqual(['v2', 'permessage-deflate'])
    expect(sockets.map(({ protocol, url }) => [protocol, url])).toEqual([
      ['v2', `ws://127.0.0.1:${mongrel2.port}/rooms?n=7`],
    ])
    client.send('x'.repeat(5000))
    expect(String((await once(client, 'message'))[0])).toBe('x'.repeat(5000))
    client.close()
  })

  it('is refused by any other response, and the connection is closed', async () => {
    await using mongrel2 = await startMongrel2()
    await using server = serveMongrel2(
      (request) => {
        if (request.headers.get('upgrade') === null) return new Response('hello')
        return new Response('members only', { status: 401, headers: { 'www-authenticate': 'Basic' } })
      },
      { zeromq: mongrel2.endpoint },
    )
    await server.ready
    const client = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/`)
    client.on('error', () => {}) // it gets no 101
    const [, response] = await once(client, 'unexpected-response')
    expect([response.statusCode, response.headers.connection]).toEqual([401, 'close'])
    expect(await (await fetch(`http://127.0.0.1:${mongrel2.port}/`)).text()).toBe('hello')
  })

  it('delivers what came before the 101, in its order', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    await using server = serveMongrel2(
      async (request) => {
        await gate.pass('handshake')
        const { socket, response } = upgradeWebSocket(request)
        echo(socket)
        return response
      },
      { zeromq: mongrel2.endpoint },
    )
    await server.ready
    const opening = RawWebSocket.open(
      mongrel2.port,
      '/',
      [],
      Buffer.concat(['1', '2', '3'].map((text) => clientFrame(1, text))),
    )
    await gate.arrival('handshake')
    await expect.poll(() => server.stats().messages).toBe(4)
    gate.open('handshake')
    using client = await opening
    await client.answersTo(clientFrame(1, '4'))
    const texts = ['text "1"', 'text "2"', 'text "3"', 'text "4"']
    expect(client.frames.map(describeFrame).slice(0, 4)).toEqual(texts)
  })

  it('closes with 1006 when the client vanishes, and when Mongrel2 does', async () => {
    await using mongrel2 = await startMongrel2()
    const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, echo, {}, { logger: {} })
    await using _ = server
    await server.ready
    const [first, second] = [await connect(mongrel2.port), await connect(mongrel2.port)]
    first.terminate()
    await expect.poll(() => closes).toEqual(['close 1006 ""'])
    second.on('error', () => {})
    await mongrel2.kill()
    await expect.poll(() => closes).toEqual(['close 1006 ""', 'close 1006 ""'])
  })

  it('is pinged and closed with 1001 when its client is silent for idleTimeout', async () => {
    await using mongrel2 = await startMongrel2()
    const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, echo, { idleTimeout: 2000 })
    await using _ = server
    await server.ready
    const lively = await connect(mongrel2.port) // ws answers pings
    using silent = await RawWebSocket.open(mongrel2.port)
    await silent.until(() => false)
    expect(silent.frames.map(({ opcode }) => opcode)).toEqual([9, 8])
    expect(silent.frames[1]?.payload.readUInt16BE()).toBe(1001)
    expect(closes).toEqual(['close 1006 ""'])
    lively.send('still here')
    expect(String((await once(lively, 'message'))[0])).toBe('still here')
    lively.close()
  })

  it.skipIf(lacks('idle kill'))('outlives Mongrel2’s own idle time, however long nothing happens', async () => {
    const settings = {
      'limits.min_ping': 1,
      'limits.min_read_rate': 300,
      'limits.min_write_rate': 300,
      'limits.tick_timer': 1,
    }
    await using mongrel2 = await startMongrel2({ settings })
    const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, echo, {}, { keepAliveInterval: 300 })
    await using _ = server
    await server.ready
    const clients = await Promise.all(Array.from({ length: 200 }, () => connect(mongrel2.port)))
    await sleep(5000)
    expect(closes).toEqual([])
    for (const client of clients) client.send('still here')
    await Promise.all(clients.map((client) => once(client, 'message')))
    for (const client of clients) client.terminate()
  })

  it('is told 1001 when the server closes, and waited for', async () => {
    await using mongrel2 = await startMongrel2()
    const { server, closes } = serveSockets(mongrel2.endpoint, mongrel2.port, echo)
    await server.ready
    const polite = await connect(mongrel2.port)
    using rude = await RawWebSocket.open(mongrel2.port)
    const ended = endOf(polite)
    await server.close()
    expect(await ended).toBe('1001 ')
    await rude.until(() => false)
    expect(rude.frames.map(({ opcode, payload }) => [opcode, payload.toString('hex')])).toEqual([[8, '03e9']])
    expect(closes).toEqual(['close 1001 "" clean', 'close 1006 ""'])
  })
})

describe.each(PACINGS)('Paced by %s, 10,000 messages', (pacing) => {
  const COUNT = 10_000
  const expected = Array.from({ length: COUNT }, (_, n) => `message ${n}`)

  it.each([
    ['sent in one turn arrive in their order at a quick client', COUNT, 0],
    ['sent in one turn arrive in their order at a slow client', COUNT, 500],
    ['sent in a hundred turns arrive in their order at a quick client', 100, 0],
    ['sent in a hundred turns arrive in their order at a slow client', 100, 500],
  ])('%s', async (_how, perTurn, pause) => {
    const { mongrel2, zeromq } = await startPaced(pacing)
    await using _m = mongrel2
    const { server, closes } = serveSockets(zeromq, mongrel2.port, (socket) => {
      socket.onopen = async () => {
        for (let n = 0; n < COUNT; n++) {
          if (n % perTurn === 0) await new Promise((resolve) => setImmediate(resolve))
          socket.send(`message ${n}`)
        }
      }
    })
    await using _s = server
    await server.ready
    const client = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/`)
    const came: string[] = []
    client.on('message', (data) => came.push(String(data)))
    await once(client, 'open')
    if (pause > 0) {
      client.pause()
      setTimeout(() => client.resume(), pause)
    }
    await expect.poll(() => came.length).toBe(COUNT)
    expect(came).toEqual(expected)
    expect(closes).toEqual([])
    client.close()
    await once(client, 'close')
  })
})

describe('400 messages of up to 300 KB each way at once, fragments and pings among them,', () => {
  it.each(PACINGS)('arrive whole and in their order, paced by %s', async (pacing) => {
    const { arrived, sent } = await exchangeMessages(400, pacing)
    expect(arrived).toEqual(sent)
  })

  it('arrive whole and in their order, compressed', async () => {
    const { arrived, sent } = await exchangeMessages(400, 'estimate', { perMessageDeflate: true })
    expect(arrived).toEqual(sent)
  })
})
