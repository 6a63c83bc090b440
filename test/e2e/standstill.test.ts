import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type MessageConnection, type ServerWebSocket, Topic, upgradeWebSocket } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { withoutControlPort } from '../support/pacing-modes.ts'
import { serveMongrel2 } from '../support/serve.ts'

/** A client that reads at once: what it was sent, framing left out, and whether its connection has ended. */
interface Client extends Disposable {
  text: string
  ended: boolean
}

const messages = lacks('message sockets') ? {} : { also: ['@messages'] }

/** A server that can send in many ways; its WebSockets and event streams are members of a topic. */
async function setStage() {
  const mongrel2 = await startMongrel2({ routes: { '/': { rawPayload: true, ...messages } } })
  const topic = new Topic()
  const sockets: ServerWebSocket[] = []
  const streams: ReadableStreamDefaultController<Uint8Array>[] = []
  const connections: MessageConnection[] = []
  const handler = (request: Request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/events') return topic.stream(request)
    if (pathname === '/stream') {
      return new Response(new ReadableStream({ start: (controller) => void streams.push(controller) }))
    }
    const { socket, response } = upgradeWebSocket(request)
    topic.add(socket)
    sockets.push(socket)
    return response
  }
  const server = serveMongrel2(handler, {
    zeromq: withoutControlPort(mongrel2.endpoint),
    messages: { rawPayload: true, open: (connection) => void connections.push(connection), json: () => {} },
  })
  await server.ready
  return {
    mongrel2,
    topic,
    sockets,
    streams,
    connections,
    server,
    async [Symbol.asyncDispose]() {
      await server.close({ timeout: 0 })
      await mongrel2.stop()
    },
  }
}

type Stage = Awaited<ReturnType<typeof setStage>>

async function openWebSocket(port: number): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
  const client = { text: '', ended: false, [Symbol.dispose]: () => socket.terminate() }
  socket.on('message', (data) => {
    client.text += data
  })
  socket.on('close', () => {
    client.ended = true
  })
  await once(socket, 'open')
  return client
}

async function openRaw(port: number, request: string): Promise<Client> {
  const socket = connect(port, '127.0.0.1')
  const client = { text: '', ended: false, [Symbol.dispose]: () => socket.destroy() }
  let received = ''
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1')
    client.text = received.match(/text \d+;/g)?.join('') ?? ''
  })
  socket.on('close', () => {
    client.ended = true
  })
  socket.write(request)
  return client
}

const encode = (text: string) => new TextEncoder().encode(text)
const ask = (path: string) => (port: number) => openRaw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)

/** How it is sent, how long Mongrel2 stands, the clients, how many there are at the server, and how to send. */
const WAYS: [
  how: string,
  milliseconds: number,
  open: (port: number) => Promise<Client>,
  count: (stage: Stage) => number,
  send: (stage: Stage, text: string) => void,
][] = [
  [
    'socket.send',
    2000,
    openWebSocket,
    ({ topic }) => topic.size,
    ({ sockets }, text) => sockets.map((s) => s.send(text)),
  ],
  ['a topic to WebSockets', 2000, openWebSocket, ({ topic }) => topic.size, ({ topic }, text) => topic.send(text)],
  [
    'server.broadcast',
    2000,
    openWebSocket,
    ({ topic }) => topic.size,
    ({ server, sockets }, text) => server.broadcast(sockets, text),
  ],
  ['a topic to event streams', 600, ask('/events'), ({ topic }) => topic.size, ({ topic }, text) => topic.send(text)],
  [
    'a streamed response',
    600,
    ask('/stream'),
    ({ streams }) => streams.length,
    ({ streams }, text) => streams.map((s) => s.enqueue(encode(text))),
  ],
  [
    'a message socket',
    600,
    (port) => openRaw(port, '@messages {"a":1}\0'),
    ({ connections }) => connections.length,
    ({ connections }, text) => connections.map((c) => c.send(text)),
  ],
]

describe('A Mongrel2 that gets no processor time, where nobody tells what it has delivered,', () => {
  const ways = WAYS.filter(([how]) => how !== 'a message socket' || !lacks('message sockets'))

  it.each(ways)(
    'closes no client that reads, and loses nothing of what is sent by %s',
    async (_how, milliseconds, open, count, send) => {
      await using stage = await setStage()
      const { mongrel2 } = stage
      const clients = await Promise.all(Array.from({ length: 4 }, () => open(mongrel2.port)))
      await expect.poll(() => count(stage)).toBe(4)
      let sent = ''
      process.kill(mongrel2.pid, 'SIGSTOP')
      try {
        for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(10)) {
          const text = `text ${sent.length};`
          sent += text
          send(stage, text)
        }
      } finally {
        process.kill(mongrel2.pid, 'SIGCONT')
      }
      await expect
        .poll(() => clients.map(({ text, ended }) => (ended ? 'ended' : text)), { timeout: 20_000 })
        .toEqual(Array(4).fill(sent))
      for (const client of clients) client[Symbol.dispose]()
    },
  )
})
