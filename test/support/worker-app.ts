import { EventEmitter } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { type JsonMessage, type MessageConnection, type Mongrel2Env, Topic, upgradeWebSocket } from '../../src/index.ts'
import type { LoadedApp } from '../../src/workers/worker/worker-config.ts'

/** The app of the tests with workers. `data` may say that it does not load, or name a file without which it does not. */
export default function load(data: unknown): LoadedApp {
  if (data === 'not today') throw new Error(data)
  if (typeof data === 'string' && !existsSync(data)) process.exit(7)
  return { handler: { fetch }, options: { messages: { json } } }
}

/** Says its process, and what it was told to; as many bytes as base64 does not fill up. */
function json({ data }: JsonMessage, connection: MessageConnection): void {
  connection.send(`${process.pid} ${(data as { say: string }).say}`.padEnd(30))
}

const leaked: Buffer[] = []
let token = ''

async function fetch(request: Request, env: Mongrel2Env): Promise<Response> {
  const url = new URL(request.url)
  switch (url.pathname) {
    case '/worker':
      return new Response(`${process.pid}.${threadId}`)
    case '/sleep':
      await sleep(Number(url.searchParams.get('ms')))
      return new Response(`${process.pid}.${threadId}`)
    case '/wait':
      await until(url.searchParams.get('for') ?? '')
      return new Response(`${process.pid}.${threadId}`)
    case '/ticks':
      return new Response(ReadableStream.from(ticksUntil(url.searchParams.get('for') ?? '')))
    case '/never':
      return await new Promise<Response>(() => {})
    case '/loop':
      return loop()
    case '/exit':
      return process.exit(3)
    case '/last-words':
      return new Response(lastWords(Number(url.searchParams.get('ms'))))
    case '/fail':
      throw new Error('the handler fails')
    case '/fault':
      FAULTS[url.searchParams.get('how') as Fault]()
      return new Response(`${process.pid}.${threadId}`)
    case '/leak':
      leaked.push(Buffer.alloc(Number(url.searchParams.get('bytes')), 1))
      return new Response(String(process.pid))
    case '/stream':
      return new Response(ticks(Number(url.searchParams.get('count')), Number(url.searchParams.get('ms'))))
    case '/bytes':
      return new Response(bytes(Number(url.searchParams.get('size'))))
    case '/socket':
      return socketOf(request)
    case '/defer': {
      const deferral = await env.mongrel2.defer()
      token = deferral.token
      return deferral.response
    }
    case '/token':
      return new Response(token)
    case '/topic':
      return memberOf(request)
    case '/topic/events':
      return new Topic('everybody').stream(request)
    case '/echo':
      return new Response(await request.arrayBuffer())
    default:
      return new Response(url.pathname)
  }
}

/** Ways to an error that nobody catches. */
export type Fault = keyof typeof FAULTS

const FAULTS = {
  'a throw in a timer': () =>
    void setTimeout(() => {
      throw new Error('nobody catches this')
    }),
  'a rejected promise': () => void Promise.reject(new Error('nobody catches this')),
  'an error event without a listener': () =>
    void setImmediate(() => new EventEmitter().emit('error', new Error('nobody catches this'))),
  'a throw of something that is no error': () =>
    void setImmediate(() => {
      throw 'nobody catches this'
    }),
}

function loop(): never {
  for (;;);
}

/** A WebSocket that says its worker's name, and then what it is told. */
function socketOf(request: Request): Response {
  const { socket, response } = upgradeWebSocket(request)
  socket.onopen = () => socket.send(`${process.pid}.${threadId}`)
  socket.onmessage = ({ data }) => socket.send(data)
  return response
}

const everybody = new Topic('everybody')

/** A member of a topic, who says its worker's name, and to all what it is told. */
function memberOf(request: Request): Response {
  const { socket, response } = upgradeWebSocket(request)
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => socket.send(`${process.pid}.${threadId}`)
  socket.onmessage = ({ data }) => {
    if (!(data instanceof Blob)) everybody.send(data, { event: 'told' })
  }
  everybody.add(socket)
  return response
}

/** A body that begins after a while, and is as much as its process says. */
function lastWords(milliseconds: number): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async start(controller) {
      await sleep(milliseconds)
      controller.enqueue(Buffer.from('last words'))
      // They are published in the next turn, which libzmq does in a thread of its own.
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50)
    },
  })
}

function ticks(count: number, milliseconds: number): ReadableStream<Uint8Array> {
  let sent = 0
  return new ReadableStream({
    async pull(controller) {
      if (sent > 0) await sleep(milliseconds)
      controller.enqueue(Buffer.from(`${process.pid} ${sent++}\n`))
      if (sent === count) controller.close()
    },
  })
}

/** Waits for a file. */
async function until(path: string): Promise<void> {
  while (!existsSync(path)) await sleep(10)
}

/** A body that ends when a file is there. */
async function* ticksUntil(path: string): AsyncGenerator<Uint8Array> {
  for (; ; await sleep(10)) {
    const last = existsSync(path)
    yield Buffer.from(`${process.pid}.${threadId}${last ? ' ends' : ''}\n`)
    if (last) return
  }
}

function bytes(size: number): ReadableStream<Uint8Array> {
  let left = size
  return new ReadableStream(
    {
      pull(controller) {
        const chunk = Buffer.alloc(Math.min(left, 16 * 1024), left & 0xff)
        left -= chunk.length
        controller.enqueue(chunk)
        if (left === 0) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}
