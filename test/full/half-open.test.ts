import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { canMakeNetworks, Network } from '../support/network.ts'
import { get, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

/** Longer than each side waits for a sign of life of the other, in milliseconds. */
const SILENCE = 75_000
const REQUESTS = 25

async function ask(mongrel2: Mongrel2, milliseconds: number): Promise<string> {
  using client = new RawClient(mongrel2.port, mongrel2.host)
  const answer = get(client, '/').catch(() => 'closed')
  return await Promise.race([answer, sleep(milliseconds, 'hangs', { ref: false })])
}

describe.skipIf(!canMakeNetworks)('a network that loses every packet for a while', () => {
  it.each(['zmtp', 'zeromq'] as const)(
    'leaves no connection to which Mongrel2 deals requests in vain: %s',
    async (link) => {
      using network = new Network(link === 'zmtp' ? 5 : 6)
      await using mongrel2 = await startMongrel2({ network })
      const logger = new CollectingLogger()
      const server = serveMongrel2(() => new Response('served'), { zeromq: mongrel2.endpoint, link, logger })
      await server.ready
      await sleep(11_000) // the first sign of life has been asked for
      const pairs = [network.second, network.third]
      for (const pair of pairs) network.drop(pair)
      // What Mongrel2 deals to a connection that it believes in is lost with it; by this the system asks it ever more rarely.
      await ask(mongrel2, SILENCE)
      for (const pair of pairs) network.pass(pair)
      await expect.poll(() => ask(mongrel2, 5000), { timeout: 60_000 }).toBe('served')
      const outcomes = await Promise.all(Array.from({ length: REQUESTS }, () => ask(mongrel2, 15_000)))
      expect(outcomes.filter((outcome) => outcome !== 'served')).toEqual([])
      await server.close()
    },
    180_000,
  )
})
