import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { type Mongrel2Server, upgradeWebSocket } from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { RawWebSocket } from '../support/websocket-client.ts'
import { CASES, MAX_PAYLOAD, type WebSocketCase } from './websocket/cases.ts'

const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate'

/** What comes back, the reasons that a server gives for failing a client left out: they are its own. */
async function answers(port: number, { send, deflate }: WebSocketCase, path = '/'): Promise<string[]> {
  using client = await RawWebSocket.open(port, path, deflate ? [OFFER] : [])
  expect(client.head).toContain('101 Switching Protocols')
  expect(client.head.toLowerCase().includes('permessage-deflate')).toBe(deflate)
  return await client.answersTo(send)
}

/** As much of what came back as is expected: a failure's reason is not. */
function withoutReasons(answers: readonly string[], expected: readonly string[]): string[] {
  return answers.map((answer, at) =>
    /^close \d+$/.test(expected[at] ?? '') ? answer.replace(/ [^ ]*".*$/, '') : answer,
  )
}

/** What the server's side of the socket is told: what the client's close frame says, where one was accepted. */
function closedWith(expected: readonly string[]): number {
  const close = expected.find((answer) => answer === 'close' || /^close \d+ /.test(answer))
  if (close === undefined) return 1006
  return close === 'close' ? 1005 : Number.parseInt(close.slice('close '.length), 10)
}

describe('What a client sends, with what comes back through Mongrel2:', () => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server
  /** The codes that the sockets were closed with, by their paths. */
  const codes = new Map<string, number>()

  beforeAll(async () => {
    // Otherwise we would ask by pings of our own what the client has read.
    mongrel2 = await startMongrel2({ flowControl: true })
    server = serveMongrel2(
      (request) => {
        const { socket, response } = upgradeWebSocket(request, { maxPayload: MAX_PAYLOAD, perMessageDeflate: true })
        socket.binaryType = 'arraybuffer'
        socket.onmessage = ({ data }) => socket.send(data)
        socket.onclose = ({ code }) => codes.set(new URL(socket.url).pathname, code)
        return response
      },
      { zeromq: mongrel2.endpoint },
    )
    await server.ready
  })
  afterAll(async () => {
    await server.close()
    await mongrel2.stop()
  })

  it.each(CASES)('$name', async (entry) => {
    const path = `/${CASES.indexOf(entry)}`
    const came = await answers(mongrel2.port, entry, path)
    expect(withoutReasons(came, entry.expected)).toEqual(entry.expected)
    await expect.poll(() => codes.get(path), { interval: 5 }).toBe(closedWith(entry.expected))
  })
})

describe('What a client sends, with what comes back from ws:', () => {
  let server: WebSocketServer
  let port = 0

  beforeAll(async () => {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: MAX_PAYLOAD, perMessageDeflate: true })
    server.on('connection', (socket) => {
      socket.on('message', (data, binary) => socket.send(data, { binary }))
      socket.on('error', () => {}) // it has closed the socket
    })
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })
  afterAll(() => {
    server.close()
  })

  it.each(CASES)('$name', async (entry) => {
    const expected = entry.ws?.expected ?? entry.expected
    expect(withoutReasons(await answers(port, entry), expected)).toEqual(expected)
  })
})
