import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LinkSource, Received } from '../../../../src/link/transport.ts'
import { ZmtpPublisher } from '../../../../src/link/zmtp/publisher.ts'
import { createZmtpSource } from '../../../../src/link/zmtp/source.ts'
import {
  parseCommand,
  parseError,
  parseReady,
  renderCommand,
  renderError,
  renderPing,
} from '../../../../src/wire/zmtp/command.ts'
import { renderMessages } from '../../../../src/wire/zmtp/frame.ts'
import { GREETING } from '../../../../src/wire/zmtp/greeting.ts'
import { ZmtpListener, type ZmtpPeer } from '../../support/zmtp-peer.ts'

const IDENTITY = 'f400bf85-4538-4f7a-8908-67e313d515c2'
const MAX_MESSAGE = 1024 * 1024
const PING = renderPing(0)
const latin1 = (text: string) => Buffer.from(text, 'latin1')

let listener: ZmtpListener
let received: string[]
let reports: string[]
const report = (error: unknown) => reports.push(error instanceof Error ? error.message : String(error))

beforeEach(async () => {
  listener = await ZmtpListener.start()
  received = []
  reports = []
})

afterEach(async () => {
  vi.useRealTimers()
  await listener[Symbol.asyncDispose]()
})

async function connectSource(): Promise<{ source: LinkSource; peer: ZmtpPeer }> {
  const source = createZmtpSource(
    listener.spec,
    IDENTITY,
    (message) => received.push(message.toString('latin1')),
    report,
    MAX_MESSAGE,
  )
  return { source, peer: await listener.accept() }
}

async function openSource(): Promise<{ source: LinkSource; peer: ZmtpPeer }> {
  const { source, peer } = await connectSource()
  peer.handshake('PUSH')
  await source.opened
  await peer.received(1)
  return { source, peer }
}

async function openPublisher(prefix = ''): Promise<{ publisher: ZmtpPublisher; peer: ZmtpPeer }> {
  const publisher = new ZmtpPublisher(listener.spec, IDENTITY, report)
  const peer = await listener.accept()
  peer.handshake('SUB')
  peer.send(renderCommand('SUBSCRIBE', latin1(prefix)))
  await publisher.opened
  return { publisher, peer }
}

it('large messages keep their bytes, whatever comes behind them', async () => {
  const kept: Buffer[] = []
  const keep = (message: Received) => kept.push(message as Buffer)
  createZmtpSource(listener.spec, IDENTITY, keep, report, MAX_MESSAGE)
  const peer = await listener.accept()
  peer.handshake('PUSH')
  const message = (n: number) => Buffer.alloc(n % 3 === 0 ? 400_000 : 20_000 * (n % 5), n)
  for (let n = 0; n < 60; n++) for (const piece of renderMessages([message(n)])) peer.send(piece)
  await expect.poll(() => kept.length).toBe(60)
  for (const [n, bytes] of kept.entries()) expect(bytes.equals(message(n)), `message ${n}`).toBe(true)
})

describe('the handshake', () => {
  it('says who we are and takes a peer that comes byte by byte', async () => {
    const { source, peer } = await connectSource()
    peer.handshake('PUSH', { bytewise: true })
    await source.opened
    const [ready] = await peer.received(1)
    const { name, data } = parseCommand(ready?.body ?? Buffer.alloc(0))
    expect(name).toBe('READY')
    expect(parseReady(data)).toEqual(
      new Map([
        ['socket-type', 'PULL'],
        ['identity', IDENTITY],
      ]),
    )
  })

  it.each<[what: string, bytes: Buffer, message: string]>([
    [
      'greets with garbage',
      latin1('HTTP/1.1 400 Bad Request\r\n'),
      'expected the greeting of ZMTP 3, got "HTTP/1.1 4"',
    ],
    ['speaks ZMTP 1.0', Buffer.from('0100', 'hex'), 'expected the greeting of ZMTP 3, got "\\u0001\\u0000"'],
    [
      'speaks ZMTP 2.0',
      Buffer.from('ff00000000000000017f01', 'hex'),
      'expected ZMTP 3.0 or later, got 2.0: use a newer libzmq',
    ],
    [
      'wants CURVE',
      latin1(GREETING.toString('latin1').replace('NULL\0', 'CURVE')),
      'expected the security mechanism NULL, got "CURVE"',
    ],
    [
      'begins with a message',
      Buffer.concat([GREETING, ...renderMessages([latin1('early')])]),
      'expected READY, got a message',
    ],
    ['begins with another command', Buffer.concat([GREETING, PING]), 'expected READY, got "PING"'],
    ['gives up', Buffer.concat([GREETING, renderError('go away')]), 'the peer gave up: "go away"'],
  ])('with one that %s fails, is reported and ends the connection', async (_what, bytes, message) => {
    const { source, peer } = await connectSource()
    peer.send(bytes)
    await expect(source.opened).rejects.toThrow(message)
    await source.closed
    await peer.ended
    expect(reports).toEqual([message])
  })

  it.each([
    ['PULL', 'PUSH', (spec: string) => createZmtpSource(spec, IDENTITY, () => {}, report, MAX_MESSAGE)],
    ['PUB', 'SUB or XSUB', (spec: string) => new ZmtpPublisher(spec, IDENTITY, report)],
  ])('of a %s with a socket that is no %s fails and tells the peer', async (ours, expected, create) => {
    const half = create(listener.spec)
    const peer = await listener.accept()
    peer.handshake('DEALER')
    await expect(half.opened).rejects.toThrow(`expected a ${expected} socket, got "DEALER"`)
    await half.closed
    const error = (await peer.received(2))[1]
    const { name, data } = parseCommand(error?.body ?? Buffer.alloc(0))
    expect([name, parseError(data)]).toEqual(['ERROR', `a ${ours} cannot talk to a DEALER`])
    expect(reports).toHaveLength(1)
  })

  it('with a peer that accepts and says nothing times out', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { source, peer } = await connectSource()
    await vi.waitUntil(() => vi.getTimerCount() > 0)
    vi.runAllTimers()
    await expect(source.opened).rejects.toMatchObject({ code: 'timeout' })
    await source.closed
    await peer.ended
    expect(reports).toEqual(['no ZMTP handshake within 5 s of connecting'])
  })

  it('with nobody there is no failure to report, nor is a peer that leaves', async () => {
    const nobody = createZmtpSource('ipc:///nowhere/send', IDENTITY, () => {}, report, MAX_MESSAGE)
    await expect(nobody.opened).rejects.toThrow('ENOENT')
    await nobody.closed
    const { source, peer } = await connectSource()
    peer.send(GREETING.subarray(0, 20))
    peer.end()
    await expect(source.opened).rejects.toMatchObject({ code: 'closed' })
    await source.closed
    expect(reports).toEqual([])
  })

  it('of a publisher is not over before the peer has subscribed, and fails when it leaves instead', async () => {
    const publisher = new ZmtpPublisher(listener.spec, IDENTITY, report)
    const peer = await listener.accept()
    peer.handshake('SUB')
    await peer.received(1)
    peer.end()
    await expect(publisher.opened).rejects.toMatchObject({ code: 'closed' })
    await publisher.closed
  })
})

describe('an open connection', () => {
  it('hands over messages of any size, and those of several parts when they are complete', async () => {
    const { peer } = await openSource()
    const large = 'l'.repeat(1_000_000)
    peer.send(...renderMessages([latin1('one'), latin1(''), latin1(large)]))
    await expect.poll(() => received).toEqual(['one', '', large])
    peer.send(Buffer.from('010161', 'hex'), PING, Buffer.from('010162', 'hex'))
    peer.send(Buffer.from('000163', 'hex'), ...renderMessages([latin1('next')]))
    await expect.poll(() => received.slice(3)).toEqual(['a', 'b', 'c', 'next'])
  })

  it('answers PING with its context and ignores what it does not know', async () => {
    const { peer } = await openSource()
    peer.send(
      renderCommand('WHATEVER', latin1('x')),
      renderCommand('SUBSCRIBE'),
      renderCommand('PING', latin1('\0\0abc')),
    )
    const pong = (await peer.received(2))[1]
    expect(parseCommand(pong?.body ?? Buffer.alloc(0))).toEqual({ name: 'PONG', data: latin1('abc') })
    expect(reports).toEqual([])
  })

  it.each<[what: string, bytes: Buffer, message: string]>([
    ['garbage', latin1('HTTP/1.1 200 OK'), "expected a frame's flags, got 0x48"],
    [
      'an oversized command',
      Buffer.from('060000000000010001', 'hex'),
      'a command of 65537 bytes is larger than the 65536 that one may have',
    ],
    ['an ERROR', renderError('enough'), 'the peer gave up: "enough"'],
    ['a command without a name', Buffer.from('040100', 'hex'), "expected a command's name"],
    ['a PING that is none', renderCommand('PING'), 'expected 2 to 18 bytes of PING, got 0'],
  ])('is closed by %s, after what came before', async (_what, bytes, message) => {
    const { source, peer } = await openSource()
    peer.send(...renderMessages([latin1('before')]), bytes, ...renderMessages([latin1('after')]))
    await source.closed
    await peer.ended
    expect(received).toEqual(['before'])
    expect(reports).toEqual([message])
  })

  it.each<[where: string, bytes: Buffer]>([
    ['a head', Buffer.from('0200', 'hex')],
    ['a body', Buffer.from('000361', 'hex')],
  ])('is just gone when its peer dies amid %s', async (_where, bytes) => {
    const { source, peer } = await openSource()
    peer.send(...renderMessages([latin1('whole')]), bytes)
    peer.end()
    await source.closed
    expect(received).toEqual(['whole'])
    expect(reports).toEqual([])
  })

  it('takes the parts of a message one by one, so that a message without an end costs nothing', async () => {
    let count = 0
    const source = createZmtpSource(listener.spec, IDENTITY, () => count++, report, MAX_MESSAGE)
    const peer = await listener.accept()
    peer.handshake('PUSH')
    await source.opened
    peer.send(Buffer.from('0100'.repeat(100_000), 'hex'))
    await expect.poll(() => count).toBe(100_000)
  })

  it('asks for signs of life and is closed when none comes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { source, peer } = await openSource()
    for (const beats of [1, 2]) {
      vi.advanceTimersByTime(10_000)
      await peer.received(1 + beats)
    }
    peer.send(renderCommand('PONG'), ...renderMessages([latin1('alive')]))
    await expect.poll(() => received).toEqual(['alive'])
    for (const beats of [3, 4, 5]) {
      vi.advanceTimersByTime(10_000)
      await peer.received(1 + beats)
    }
    expect(reports).toEqual([])
    vi.advanceTimersByTime(10_000)
    await source.closed
    expect(peer.commands).toEqual(['READY', 'PING', 'PING', 'PING', 'PING', 'PING'])
    // 60 s, in tenths: the peer gives us up by it.
    expect(peer.frames.at(-1)?.body.readUInt16BE('.PING'.length)).toBe(600)
    expect(reports).toEqual(['no sign of life within 30 s'])
  })

  it('sends no PING to a peer of ZMTP 3.0, which knows none', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { source, peer } = await connectSource()
    peer.handshake('PUSH', { minor: 0 })
    await source.opened
    vi.advanceTimersByTime(100_000)
    peer.send(PING)
    await peer.received(2)
    expect(peer.commands).toEqual(['READY', 'PONG'])
  })
})

describe('a source that is stopped', () => {
  it('hands over all that the peer still sends until it ends its own side', async () => {
    const { source, peer } = await openSource()
    peer.send(...renderMessages([latin1('before')]))
    const stopped = source.stop()
    await peer.ended
    peer.send(...renderMessages(Array.from({ length: 1000 }, (_, n) => latin1(`late ${n}`))), PING)
    peer.end()
    await stopped
    expect(received).toHaveLength(1001)
    expect(received.at(-1)).toBe('late 999')
    expect(reports).toEqual([])
  })

  it('waits no longer than a second for that end', async () => {
    const { source, peer } = await openSource()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const stopped = source.stop()
    await peer.ended
    vi.advanceTimersByTime(1000)
    await stopped
  })

  it('before it was open is closed', async () => {
    const { source } = await connectSource()
    await source.stop()
    await expect(source.opened).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('a publisher', () => {
  const bodiesOf = (peer: ZmtpPeer) => peer.frames.filter(({ command }) => !command).map(({ body }) => body.toString())

  it('sends each reply as one message of one part', async () => {
    const { publisher, peer } = await openPublisher()
    const large = Buffer.alloc(50_000, 'l')
    publisher.publish([latin1('one'), large, latin1('two')])
    publisher.publish([latin1('three')])
    await peer.received(5)
    expect(bodiesOf(peer)).toEqual(['one', large.toString(), 'two', 'three'])
    expect(peer.frames.every(({ more }) => !more)).toBe(true)
  })

  it('takes subscriptions as messages too, and sends what begins as one of them says', async () => {
    const { publisher, peer } = await openPublisher('aa')
    expect(await publisher.opened).toBe('aa')
    const value = (sender: string) => ({ sender, connectionIds: [1], payload: [latin1('x')] })
    publisher.publish([latin1('a'), latin1('aab'), value('aa'), latin1('bb1'), value('ab')])
    peer.send(
      ...renderMessages([latin1('\x01bb'), latin1('\x01bb'), latin1('\x00aa'), latin1('\x00bb'), latin1('text')]),
      PING,
    )
    await expect.poll(() => peer.commands).toContain('PONG')
    publisher.publish([latin1('aab'), latin1('bb2')])
    peer.send(renderCommand('CANCEL', latin1('bb')), PING)
    await expect.poll(() => peer.commands.filter((name) => name === 'PONG')).toHaveLength(2)
    publisher.publish([latin1('bb3')])
    peer.send(renderCommand('SUBSCRIBE'), PING)
    await expect.poll(() => peer.commands.filter((name) => name === 'PONG')).toHaveLength(3)
    publisher.publish([latin1('all')])
    await expect.poll(() => bodiesOf(peer)).toEqual(['aab', 'aa 1:1, x', 'bb2', 'all'])
  })

  it('is full while more than 4 MiB wait, and drained when nothing does', async () => {
    const { publisher, peer } = await openPublisher()
    await publisher.drained()
    peer.pause()
    const piece = Buffer.alloc(1024 * 1024, 'p')
    let sent = 0
    for (; !publisher.full; sent++) publisher.publish([piece])
    expect(sent).toBeGreaterThanOrEqual(4)
    let drained = false
    const waiting = publisher.drained().then(() => {
      drained = true
    })
    publisher.publish([latin1('last')])
    await new Promise((resolve) => setImmediate(resolve))
    expect(drained).toBe(false)
    peer.resume()
    await waiting
    expect(publisher.full).toBe(false)
    await expect.poll(() => bodiesOf(peer).at(-1)).toBe('last')
    expect(bodiesOf(peer)).toHaveLength(sent + 1)
  })

  it('delivers what it was given before it was closed with time to linger, and nothing after', async () => {
    const { publisher, peer } = await openPublisher()
    peer.pause()
    const piece = Buffer.alloc(1024 * 1024, 'p')
    for (let n = 0; n < 8; n++) publisher.publish([piece])
    publisher.close(5000)
    publisher.publish([latin1('after')])
    peer.resume()
    await peer.ended
    expect(bodiesOf(peer)).toEqual(Array(8).fill(piece.toString()))
    peer.end()
    await publisher.closed
  })

  it('that is closed, or whose peer is gone, keeps nobody waiting', async () => {
    for (const end of ['close', 'peer'] as const) {
      const { publisher, peer } = await openPublisher()
      peer.pause()
      while (!publisher.full) publisher.publish([Buffer.alloc(1024 * 1024)])
      const drained = publisher.drained()
      if (end === 'close') publisher.close()
      else peer.destroy()
      await drained
      await publisher.closed
      await publisher.drained()
      publisher.publish([latin1('nobody gets this')])
    }
    expect(reports).toEqual([])
  })
})
