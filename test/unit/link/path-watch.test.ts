import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Subscriber } from 'zeromq'
import { PathWatch } from '../../../src/link/path-watch.ts'
import { TRANSPORTS } from '../../../src/link/transports.ts'
import { BreakableNetwork } from '../../support/breakable-network.ts'
import { freePort } from '../../support/free-port.ts'

/** Longer than two looks take, in milliseconds. */
const LOOKS = 12_000
const IDENTITY = 'f400bf85-4538-4f7a-8908-67e313d515c2'

afterEach(() => {
  vi.useRealTimers()
})

it('does not wait for the next look when it is closed during one', async () => {
  const spec = `tcp://127.0.0.1:${await freePort()}`
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const publisher = TRANSPORTS.zmtp.createPublisher(spec, IDENTITY, () => {})
  const watch = new PathWatch(spec, publisher)
  const found = watch.found()
  watch.close()
  await found
  await publisher.closed
  expect(vi.getTimerCount()).toBe(0)
})

describe.each(['zmtp', 'zeromq'] as const)('a path to a libzmq socket, by %s', (link) => {
  let subscriber: Subscriber
  let network: BreakableNetwork
  let publisher: ReturnType<typeof TRANSPORTS.zmtp.createPublisher>
  let watch: PathWatch

  beforeEach(async () => {
    subscriber = new Subscriber()
    subscriber.subscribe()
    await subscriber.bind('tcp://127.0.0.1:*')
    void subscriber.receive().catch(() => {}) // libzmq takes connections only while a socket is used
    network = await BreakableNetwork.to(Number(subscriber.lastEndpoint?.split(':').at(-1)))
    const spec = `tcp://127.0.0.1:${network.port}`
    publisher = TRANSPORTS[link].createPublisher(spec, IDENTITY, () => {})
    watch = new PathWatch(spec, publisher)
    await publisher.opened
    await publisher.answer()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })

  afterEach(async () => {
    watch.close()
    publisher.close()
    subscriber.close()
    await network[Symbol.asyncDispose]()
  })

  it('is good while Mongrel2 answers, though new connections are refused', async () => {
    network.refuse()
    await watch.found()
    await publisher.answer()
  })

  it('is good while new connections are accepted, though nothing answers on those that there are', async () => {
    network.silence()
    const found = watch.found()
    await vi.advanceTimersByTimeAsync(1000)
    await found
  })

  it('is lost when nothing answers and new connections are refused', async () => {
    network.silence()
    network.refuse()
    watch.used()
    await vi.advanceTimersByTimeAsync(LOOKS)
    await watch.lost
  })

  it('is found lost without messages while it is watched always', async () => {
    watch.always()
    await vi.advanceTimersByTimeAsync(2000)
    await publisher.answer()
    network.silence()
    network.refuse()
    await vi.advanceTimersByTimeAsync(LOOKS)
    await watch.lost
  })

  it('is found again when what was silent goes on, though new connections are refused', async () => {
    network.silence()
    network.refuse()
    watch.used()
    await vi.advanceTimersByTimeAsync(LOOKS)
    await watch.lost
    const found = watch.found()
    network.resume()
    await found
  })
})
