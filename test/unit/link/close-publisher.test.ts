import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Subscriber } from 'zeromq'
import { closePublisher, PathWatch } from '../../../src/link/path-watch.ts'
import type { LinkPublisher } from '../../../src/link/transport.ts'
import { TRANSPORTS } from '../../../src/link/transports.ts'
import { BreakableNetwork } from '../../support/breakable-network.ts'

const IDENTITY = 'f400bf85-4538-4f7a-8908-67e313d515c2'
/** More than the system takes of a connection that nobody reads, and libzmq of one. */
const LARGE = 20_000_000
/** Longer than it takes to find a path lost, in milliseconds. */
const LOOKS = 8000
/** As long as replies may still be delivered, in milliseconds. */
const LINGER = 5000

let subscriber: Subscriber
let network: BreakableNetwork
let publisher: LinkPublisher
let path: PathWatch
let arrived: Promise<Buffer[]>

describe.each(['zmtp', 'zeromq'] as const)('closing a publisher, by %s', (link) => {
  beforeEach(async () => {
    subscriber = new Subscriber()
    subscriber.subscribe()
    await subscriber.bind('tcp://127.0.0.1:*')
    arrived = subscriber.receive()
    arrived.catch(() => {})
    network = await BreakableNetwork.to(Number(subscriber.lastEndpoint?.split(':').at(-1)))
    const spec = `tcp://127.0.0.1:${network.port}`
    publisher = TRANSPORTS[link].createPublisher(spec, IDENTITY, () => {})
    path = new PathWatch(spec, publisher)
    await publisher.opened
    await publisher.answer()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })

  afterEach(async () => {
    vi.useRealTimers()
    path.close()
    publisher.close()
    subscriber.close()
    await network[Symbol.asyncDispose]()
  })

  function loseThePath(): void {
    network.silence()
    network.refuse()
  }

  it('delivers what was published', async () => {
    publisher.publish([Buffer.from('a reply')])
    await closePublisher(publisher, path)
    expect(String((await arrived)[0])).toBe('a reply')
  })

  it('does not wait for a path that is lost where nothing waits to be sent', async () => {
    loseThePath()
    path.used()
    await vi.advanceTimersByTimeAsync(LOOKS)
    await path.lost
    publisher.publish([Buffer.from('a reply')])
    await closePublisher(publisher, path)
  })

  it('waits for a path that is lost no longer than replies may still be delivered', async () => {
    loseThePath()
    // More than one send, since libzmq has room for some.
    for (let n = 0; n < 600; n++) publisher.publish([Buffer.alloc(n === 0 ? LARGE : 1)])
    const closed = closePublisher(publisher, path)
    await vi.advanceTimersByTimeAsync(LOOKS)
    await vi.advanceTimersByTimeAsync(LINGER)
    await closed
  })
})
