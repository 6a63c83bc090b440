import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Push, Subscriber, XSubscriber } from 'zeromq'
import type { LinkPublisher, LinkSource } from '../../../src/link/transport.ts'
import { TRANSPORTS } from '../../../src/link/transports.ts'
import { CUT_MESSAGE } from '../../../src/wire/message.ts'

const IDENTITY = 'f400bf85-4538-4f7a-8908-67e313d515c2'
const COUNT = 20_000
const MAX_MESSAGE = 20_000_000

let directory: string
let received: Buffer[]
let reports: unknown[]
let open: { close(): void }[]
const report = (error: unknown) => reports.push(error)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'zmtp-'))
  received = []
  reports = []
  open = []
})

afterEach(async () => {
  for (const socket of open) socket.close()
  await rm(directory, { recursive: true, force: true })
  expect(reports).toEqual([])
})

/** Keeps a socket until the test is over. */
function keep<T extends { close(): void }>(socket: T): T {
  open.push(socket)
  return socket
}

/** Reads whatever arrives at a socket: libzmq takes a new connection's place among them only while a socket is used. */
function readAll(socket: Subscriber | XSubscriber): Buffer[] {
  const arrived: Buffer[] = []
  const read = async () => {
    for await (const parts of socket) arrived.push(...parts)
  }
  read().catch(() => {}) // the test is over
  return arrived
}

/** Publishes a reply in a send of its own: libzmq looks only at the first of several. */
async function publishAlone(publisher: LinkPublisher, reply: string): Promise<void> {
  publisher.publish([Buffer.from(reply)])
  await publisher.drained()
}

/** Messages of many sizes, each its own number first. */
function numbered(count: number): Buffer[] {
  return Array.from({ length: count }, (_, n) => Buffer.from(`${n} ${'x'.repeat((n * 7) % 600)}`))
}

async function listenTo(socket: Push | Subscriber | XSubscriber, address: string): Promise<string> {
  await socket.bind(address)
  return socket.lastEndpoint ?? address
}

describe.each([
  ['zmtp', TRANSPORTS.zmtp],
  ['zeromq', TRANSPORTS.zeromq],
] as const)('on a libzmq socket, %s', (_name, transport) => {
  const specs: [what: string, address: () => string, spec: (bound: string) => string][] = [
    ['ipc', () => `ipc://${directory}/s`, (bound) => bound],
    ['ipc by a relative path', () => `ipc://${directory}/s`, () => `ipc://${relative(process.cwd(), directory)}/s`],
    ['tcp', () => 'tcp://127.0.0.1:*', (bound) => bound],
    ['tcp by a host name', () => 'tcp://127.0.0.1:*', (bound) => bound.replace('127.0.0.1', 'localhost')],
    ['tcp over IPv6', () => 'tcp://[::1]:*', (bound) => bound],
  ]

  it.each(specs)('pulls and publishes over %s', async (_what, address, spec) => {
    const ipv6 = address().includes('[')
    const push = keep(new Push({ ipv6 }))
    const pushSpec = spec(await listenTo(push, address()))
    const source = keep(
      transport.createSource(pushSpec, IDENTITY, (message) => received.push(message as Buffer), report, MAX_MESSAGE),
    )
    await source.opened
    await push.send('a message')
    await expect.poll(() => received.map(String)).toEqual(['a message'])
    source.close()
    push.close()
    await source.closed

    const subscriber = keep(new Subscriber({ ipv6 }))
    subscriber.subscribe()
    const arrived = readAll(subscriber)
    const publisher = keep(transport.createPublisher(spec(await listenTo(subscriber, address())), IDENTITY, report))
    expect(await publisher.opened).toBe('')
    publisher.publish([Buffer.from('a reply')])
    await expect.poll(() => arrived.map(String)).toEqual(['a reply'])
  })

  async function startSource(): Promise<{ push: Push; source: LinkSource }> {
    const push = keep(new Push({ sendHighWaterMark: 0 }))
    const spec = await listenTo(push, `ipc://${directory}/push`)
    const source = keep(
      transport.createSource(spec, IDENTITY, (message) => received.push(message as Buffer), report, MAX_MESSAGE),
    )
    await source.opened
    return { push, source }
  }

  /** Starts a publisher on a socket that subscribes to a prefix. */
  async function startPublisher(
    subscriber: Subscriber,
    prefix = '',
  ): Promise<{ publisher: LinkPublisher; arrived: Buffer[] }> {
    subscriber.subscribe(prefix)
    const spec = await listenTo(keep(subscriber), `ipc://${directory}/sub`)
    const publisher = keep(transport.createPublisher(spec, IDENTITY, report))
    const arrived = readAll(subscriber)
    expect(await publisher.opened).toBe(prefix)
    return { publisher, arrived }
  }

  it('pulls thousands of messages in their order, whole', async () => {
    const { push } = await startSource()
    const messages = numbered(COUNT)
    for (const message of messages) await push.send(message)
    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(COUNT)
    expect(Buffer.concat(received).equals(Buffer.concat(messages))).toBe(true)
  })

  it('pulls frames of 255 and 256 bytes, of 20 MB and of none, and messages of several parts', async () => {
    const { push } = await startSource()
    const parts = [255, 256, 20_000_000, 0, 65_536].map((size) => Buffer.alloc(size, size))
    for (const part of parts) await push.send(part)
    await push.send(parts)
    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(2 * parts.length)
    expect(Buffer.concat(received).equals(Buffer.concat([...parts, ...parts]))).toBe(true)
  })

  it('cuts what is too long and goes on', async () => {
    const { push } = await startSource()
    const messages = ['before', 'x'.repeat(MAX_MESSAGE + CUT_MESSAGE + 1), 'after'].map((text) => Buffer.from(text))
    for (const message of messages) await push.send(message)
    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(3)
    expect(received.map(({ length }) => length)).toEqual([6, CUT_MESSAGE, 5])
  })

  it('when a source is stopped, hands over what has been sent and takes no more', async () => {
    const { push, source } = await startSource()
    for (let n = 0; n < 500; n++) await push.send(String(n))
    await expect.poll(() => received.length).toBeGreaterThan(0)
    await source.stop()
    await source.closed
    expect(received.map(String)).toEqual(Array.from({ length: 500 }, (_, n) => String(n)))
  })

  it('publishes thousands of replies in their order, whole, more than the peer takes at once', async () => {
    const { publisher, arrived } = await startPublisher(new Subscriber({ receiveHighWaterMark: 10 }))
    const replies = [...numbered(COUNT), Buffer.alloc(255, 'a'), Buffer.alloc(256, 'b'), Buffer.alloc(20_000_000, 'c')]
    for (let at = 0; at < replies.length; at += 64) publisher.publish(replies.slice(at, at + 64))
    await publisher.drained()
    await expect.poll(() => arrived.length, { timeout: 20_000 }).toBe(replies.length)
    expect(Buffer.concat(arrived).equals(Buffer.concat(replies))).toBe(true)
  })

  it('delivers what was published just before it was closed with time to linger', async () => {
    const { publisher, arrived } = await startPublisher(new Subscriber())
    const replies = numbered(500)
    publisher.publish(replies)
    await publisher.drained()
    publisher.close(5000)
    await publisher.closed
    await expect.poll(() => arrived.length).toBe(500)
    expect(arrived).toEqual(replies)
  })

  it('tells the prefix that was subscribed to and sends only what begins with it', async () => {
    const { publisher, arrived } = await startPublisher(new Subscriber(), 'm2')
    for (const reply of ['m1 no', 'm2 yes', 'm', 'm2']) await publishAlone(publisher, reply)
    await expect.poll(() => arrived.map(String)).toEqual(['m2 yes', 'm2'])
  })

  it('takes the subscriptions and cancellations of an XSUB, one by one', async () => {
    const subscriber = keep(new XSubscriber())
    const spec = await listenTo(subscriber, `ipc://${directory}/sub`)
    const publisher = keep(transport.createPublisher(spec, IDENTITY, report))
    const arrived = readAll(subscriber)
    await subscriber.send('\x01a')
    expect(await publisher.opened).toBe('a')
    /** What arrives of two replies, up to the second. */
    const round = async (first: string, second: string) => {
      arrived.length = 0
      for (const reply of [first, second]) await publishAlone(publisher, reply)
      await expect.poll(() => arrived.map(String)).toContain(second)
      return arrived.map(String)
    }
    expect(await round('b', 'a')).toEqual(['a'])
    await subscriber.send('\x01b')
    await expect.poll(() => round('b', 'a')).toEqual(['b', 'a'])
    await subscriber.send('\x00a')
    await expect.poll(() => round('a', 'b')).toEqual(['b'])
  })
})
