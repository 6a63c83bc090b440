import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { canMakeNetworks, Network } from '../support/network.ts'
import { get, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

/** Longer than an attempt to reach Mongrel2 takes, in milliseconds. */
const ATTEMPT = 12_000
/** Longer than the link waits for a sign of life of Mongrel2, in milliseconds. */
const SILENCE = 45_000
/** Requests that are sent within a while, and those of them that may have been pulled before the cut was noticed. */
const SENT = 45
const PULLED = 8
/** How long a request may take once Mongrel2 can be reached, in milliseconds: the system asks ever more rarely. */
const HANGS = 60_000

let network: Network
let mongrel2: Mongrel2
let clients: RawClient[]
let servers: { close(options: { timeout: number }): Promise<void> }[]

// Mongrel2 is on a machine of its own, and a firewall between loses what goes to and from its recv_spec.
describe.skipIf(!canMakeNetworks).each([
  ['zmtp', 'one process'],
  ['zmtp', 'workers'],
  ['zeromq', 'one process'],
  ['zeromq', 'workers'],
] as const)('with Mongrel2 on another machine, by %s in %s', (link, processes) => {
  beforeEach(async () => {
    clients = []
    servers = []
    network = new Network(3)
    mongrel2 = await startMongrel2({ network })
  })

  afterEach(async () => {
    for (const client of clients) client.destroy()
    await Promise.all(servers.map((server) => server.close({ timeout: 1000 })))
    await mongrel2.stop()
    network[Symbol.dispose]()
  })

  function serve(): { ready: Promise<void> } {
    const options = { zeromq: mongrel2.endpoint, link, logger: new CollectingLogger() }
    const server =
      processes === 'workers'
        ? serveWithWorkers({ workers: 2, options })
        : serveMongrel2(() => new Response('served'), options)
    servers.push(server)
    return server
  }

  /** Sends so many requests within a time; each resolves with how it ended. */
  async function send(count: number, duration: number): Promise<Promise<string>[]> {
    const outcomes: Promise<string>[] = []
    for (let n = 0; n < count; n++) {
      const client = new RawClient(mongrel2.port, mongrel2.host)
      clients.push(client)
      const answer = get(client, '/worker').then(
        () => 'answered',
        () => 'closed',
      )
      outcomes.push(answer)
      await sleep(duration / count)
    }
    return outcomes
  }

  async function outcomesOf(requests: Promise<string>[]): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    const late = sleep(HANGS, 'hangs', { ref: false })
    for (const outcome of await Promise.all(requests.map((request) => Promise.race([request, late])))) {
      counts[outcome] = (counts[outcome] ?? 0) + 1
    }
    return counts
  }

  it('answers what was sent before the recv_spec could be reached', async () => {
    network.drop(network.third)
    const { ready } = serve()
    const requests = await send(20, ATTEMPT)
    network.pass(network.third)
    await ready
    expect(await outcomesOf(requests)).toEqual({ answered: 20 })
  }, 120_000)

  it('answers what was sent soon after it could not be reached any more', async () => {
    await serve().ready
    expect(await outcomesOf(await send(1, 1))).toEqual({ answered: 1 })
    network.drop(network.third)
    const requests = await send(SENT, SILENCE)
    network.pass(network.third)
    const { answered = 0 } = await outcomesOf(requests)
    expect(answered).toBeGreaterThanOrEqual(SENT - PULLED)
  }, 180_000)

  it('answers what was sent while it could not be reached for a short while', async () => {
    await serve().ready
    expect(await outcomesOf(await send(1, 1))).toEqual({ answered: 1 })
    network.drop(network.third)
    const requests = await send(12, ATTEMPT)
    network.pass(network.third)
    expect(await outcomesOf(requests)).toEqual({ answered: 12 })
  }, 120_000)
})
