import { utimesSync } from 'node:fs'
import { afterEach, expect, it, vi } from 'vitest'
import { Link } from '../../../src/link/link.ts'
import type { Receive, Transport } from '../../../src/link/transport.ts'
import { TRANSPORTS } from '../../../src/link/transports.ts'
import { renderCommand } from '../../../src/wire/zmtp/command.ts'
import { renderMessages } from '../../../src/wire/zmtp/frame.ts'
import { CollectingLogger } from '../../support/logger.ts'
import { mostExternalMemory } from '../support/external-memory.ts'
import { ZmtpListener } from '../support/zmtp-peer.ts'

const IDENTITY = 'f400bf85-4538-4f7a-8908-67e313d515c2'

afterEach(() => {
  vi.useRealTimers()
})

it('tries again where something answers that is no Mongrel2, and says so once until one does', async () => {
  await using listener = await ZmtpListener.start()
  const logger = new CollectingLogger()
  const endpoint = { sendSpec: 'ipc:///nowhere', recvSpec: listener.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, logger, () => ({ receive: () => {}, lost: () => {} }))
  const running = link.run(() => {})
  for (let attempt = 0; attempt < 3; attempt++) {
    const peer = await listener.accept()
    peer.send(Buffer.from('SSH-2.0-OpenSSH'))
    await peer.ended
  }
  expect(logger.errors).toEqual([
    `mongrel2-fetch: a socket to ipc:///nowhere,${listener.spec} failed: expected the greeting of ZMTP 3, got "SSH-2.0-Op"`,
  ])
  const other = await listener.accept()
  other.handshake('PUSH')
  await other.ended
  await expect.poll(() => logger.errors).toHaveLength(2)
  expect(logger.errors[1]).toContain('expected a SUB or XSUB socket, got "PUSH"')
  await link.stop()
  await running
})

it('pulls nothing before replies can be delivered, and ends the epoch when one half is lost', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  const logger = new CollectingLogger()
  const events: string[] = []
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, logger, (_publisher, prefix) => {
    events.push(`begin ${prefix}`)
    return { receive: (message) => events.push(String(message)), lost: () => events.push('lost') }
  })
  const running = link.run(() => events.push('ready'))
  let pulled = false
  const pulling = sends.accept().then((peer) => {
    pulled = true
    return peer
  })
  const subscriber = await receives.accept()
  subscriber.handshake('SUB')
  await subscriber.received(1)
  expect(pulled).toBe(false)
  subscriber.send(renderCommand('SUBSCRIBE', Buffer.from('m2')))
  const pusher = await pulling
  pusher.handshake('PUSH')
  await expect.poll(() => events).toEqual(['begin m2', 'ready'])
  pusher.send(Buffer.from('000161', 'hex'))
  await expect.poll(() => events).toEqual(['begin m2', 'ready', 'a'])
  pusher.destroy()
  await expect.poll(() => events.at(-1)).toBe('lost')
  await subscriber.ended
  expect(await logger.next('warn')).toContain('lost Mongrel2')
  await receives.accept() // the next life
  await link.stop()
  await running
})

it('connects again when another Mongrel2 took the address over meanwhile, so that it knows which one it serves', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  const epochs: string[] = []
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, {}, (_publisher, _prefix, socketId, succession) => {
    epochs.push(socketId === undefined ? 'unknown' : succession)
    return { receive: () => {}, lost: () => {} }
  })
  const running = link.run(() => {})
  const subscribe = async (change: () => void) => {
    const subscriber = await receives.accept()
    change()
    subscriber.handshake('SUB')
    subscriber.send(renderCommand('SUBSCRIBE', Buffer.alloc(0)))
    return subscriber
  }
  // The socket of another Mongrel2 has another time, or another number.
  const former = await subscribe(() => utimesSync(receives.spec.slice('ipc://'.length), 1, 1))
  await former.ended
  expect(epochs).toEqual([])
  await subscribe(() => {})
  await sends.accept()
  expect(epochs).toEqual(['other'])
  await link.stop()
  await running
})

it('pulls nothing while the recv_spec accepts connections but says nothing', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, {}, () => ({ receive: () => {}, lost: () => {} }))
  const running = link.run(() => {})
  for (let attempt = 0; attempt < 3; attempt++) {
    const silent = await receives.accept()
    await vi.advanceTimersByTimeAsync(5000)
    await silent.ended
    await vi.advanceTimersByTimeAsync(1000)
  }
  const subscriber = await receives.accept()
  subscriber.handshake('SUB')
  subscriber.send(renderCommand('SUBSCRIBE', Buffer.alloc(0)))
  await sends.accept()
  expect(sends.connections).toBe(1)
  await link.stop()
  await running
})

it('drops nothing of what it had to pull before Mongrel2 subscribed, however long that takes', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const events: string[] = []
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, {}, () => ({
    receive: (message) => events.push(String(message)),
    lost: () => events.push('lost'),
  }))
  const running = link.run(() => events.push('ready'))
  const subscriber = await receives.accept()
  subscriber.handshake('SUB')
  await subscriber.received(1)
  // The link has to know of the handshake before its time runs.
  await expect.poll(() => vi.advanceTimersByTime(1000) && sends.connections).toBe(1)
  const pusher = await sends.accept()
  pusher.handshake('PUSH')
  pusher.send(...renderMessages([Buffer.from('a')]))
  await pusher.pong()
  await vi.advanceTimersByTimeAsync(60_000)
  subscriber.send(renderCommand('SUBSCRIBE', Buffer.alloc(0)))
  await expect.poll(() => events).toEqual(['a', 'ready'])
  vi.useRealTimers()
  pusher.end()
  subscriber.end()
  await link.stop()
  await link.close()
  await running
})

it('pulls nothing from a Mongrel2 when the one that subscribed is gone', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  const events: string[] = []
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, {}, () => ({
    receive: (message) => events.push(String(message)),
    lost: () => events.push('lost'),
  }))
  const running = link.run(() => events.push('ready'))
  const subscriber = await receives.accept()
  subscriber.handshake('SUB')
  subscriber.send(renderCommand('SUBSCRIBE'))
  subscriber.end()
  const pusher = await sends.accept()
  await subscriber.ended
  pusher.handshake('PUSH')
  pusher.send(Buffer.from('000161', 'hex'))
  await pusher.ended
  expect(events).toEqual(['lost'])
  await receives.accept() // the next attempt
  await link.stop()
  await running
})

it('pulls nothing before its epoch says that messages can be dealt with, and begins anew when Mongrel2 goes before', async () => {
  await using sends = await ZmtpListener.start()
  await using receives = await ZmtpListener.start()
  const logger = new CollectingLogger()
  const acceptances: (() => void)[] = []
  let lost = 0
  let pulled = false
  const endpoint = { sendSpec: sends.spec, recvSpec: receives.spec, maxMessageSize: 1024 }
  const link = new Link(endpoint, TRANSPORTS.zmtp, IDENTITY, logger, () => ({
    acceptsMessages: new Promise<void>((resolve) => {
      acceptances.push(resolve)
    }),
    receive: () => {},
    lost: () => {
      lost++
    },
  }))
  const running = link.run(() => {})
  const pulling = sends.accept().then((peer) => {
    pulled = true
    return peer
  })
  for (const epoch of [1, 2]) {
    const subscriber = await receives.accept()
    subscriber.handshake('SUB')
    subscriber.send(renderCommand('SUBSCRIBE', Buffer.alloc(0)))
    await expect.poll(() => acceptances.length).toBe(epoch)
    if (epoch === 2) break
    subscriber.destroy()
    await expect.poll(() => lost).toBe(1)
  }
  expect(pulled).toBe(false)
  acceptances[1]?.()
  const pusher = await pulling
  pusher.handshake('PUSH')
  await link.stop()
  await link.close()
  await running
})

it('messages that nobody keeps fill no memory', async () => {
  let receive: Receive = () => {}
  const never = new Promise<never>(() => {})
  const transport: Transport = {
    createPublisher: () => ({
      ...{ connected: Promise.resolve(), opened: Promise.resolve(''), closed: never, full: false, handedOver: true },
      ...{ drained: async () => {}, answer: () => never, publish: () => {}, close: () => {} },
    }),
    createSource: (_spec, _identity, take) => {
      receive = take
      return { opened: Promise.resolve(), closed: never, stop: async () => {}, close: () => {} }
    },
  }
  const endpoint = { sendSpec: 'ipc:///nowhere', recvSpec: 'ipc:///nowhere', maxMessageSize: 1024 }
  let received = 0
  const epoch = { receive: () => received++, lost: () => {} }
  const link = new Link(endpoint, transport, IDENTITY, {}, () => epoch)
  await new Promise<void>((ready) => void link.run(ready))
  expect(await mostExternalMemory(1024 * 1024, () => receive(Buffer.allocUnsafeSlow(1024 * 1024)))).toBeLessThan(16)
  expect(received).toBe(200)
  await link.stop()
})
