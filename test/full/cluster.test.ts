import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { createKeyPair } from '../../src/index.ts'
import { ClusterNode } from '../support/cluster-node.ts'
import { loadWorkers } from '../support/load-workers.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { canMakeNetworks, Network } from '../support/network.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const MAIN = createKeyPair()
const KEYS = [createKeyPair(), createKeyPair()]

let networks: Network[]
let mongrel2: Mongrel2
let server: WorkersServer
let logger: CollectingLogger
let nodes: ClusterNode[]

/** How long a request may take to end, in milliseconds. That is not how long it should: the machine may be busy. */
const HANGS = 15_000

function within<T>(request: Promise<T>): Promise<T | 'hangs'> {
  return Promise.race([request, sleep(HANGS, 'hangs' as const, { ref: false })])
}

// Two machines, as far as the network goes, and this one with Mongrel2 and the main node.
describe.skipIf(!canMakeNetworks)('with two nodes in networks of their own', () => {
  beforeEach(async () => {
    logger = new CollectingLogger()
    networks = [new Network(1), new Network(2)]
    const here = networks[0]?.here ?? ''
    mongrel2 = await startMongrel2({ tcp: here })
    startMain(`tcp://${here}:0`)
    await server.ready
    nodes = networks.map((_, number) => startNode(number))
    await nodesReady(2)
  })

  afterEach(async () => {
    await server.close({ timeout: 1000 })
    for (const node of nodes) await node[Symbol.asyncDispose]()
    await mongrel2.stop()
    for (const network of networks) network[Symbol.dispose]()
  })

  function startMain(listen: string): void {
    server = serveWithWorkers({
      workers: 1,
      cluster: { listen, keys: MAIN, nodes: KEYS.map(({ publicKey }) => publicKey) },
      options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger },
    })
  }

  function startNode(number: number): ClusterNode {
    const main = `tcp://${MAIN.publicKey}@${networks[0]?.here}:${server.clusterPort}`
    const [keys, network] = [KEYS[number], networks[number]]
    if (keys === undefined || network === undefined) throw new Error('no such node')
    return new ClusterNode({ main, keys }, network.name)
  }

  async function nodesReady(count: number): Promise<void> {
    const ready = () => server.stats().workers.filter(({ node, state }) => node !== '' && state === 'ready').length
    await expect.poll(ready, { timeout: 30_000 }).toBe(count)
  }

  function expectEnded(outcomes: Awaited<ReturnType<typeof loadWorkers>>): void {
    console.log(outcomes)
    expect({ wrong: outcomes.wrong, hangs: outcomes.hangs }).toEqual({ wrong: 0, hangs: 0 })
    expect(outcomes.answered).toBeGreaterThan(64)
  }

  it('ends every request of 64 clients while one line is cut and mended again and again', async () => {
    const until = performance.now() + 30_000
    const load = loadWorkers(mongrel2.port, 30_000, { within })
    let cuts = 0
    while (performance.now() < until - 8000) {
      const network = networks[cuts++ % 2]
      network?.cut()
      await sleep(4000)
      network?.mend()
      await nodesReady(2)
    }
    expectEnded(await load)
    expect(cuts).toBeGreaterThan(1)
    expect(logger.errors.filter((line) => line.includes('lost node'))).toHaveLength(cuts)
    await expect.poll(() => server.stats().connections).toBe(0)
  }, 120_000)

  it('ends every request of 64 clients when a line is cut for less than it takes to be found, and fails none', async () => {
    const load = loadWorkers(mongrel2.port, 10_000, { within })
    for (let cuts = 0; cuts < 4; cuts++) {
      networks[cuts % 2]?.cut()
      await sleep(300)
      networks[cuts % 2]?.mend()
      await sleep(1500)
    }
    const outcomes = await load
    expectEnded(outcomes)
    expect([outcomes.refused, outcomes.closed]).toEqual([0, 0])
    expect(logger.errors).toEqual([])
  }, 60_000)

  it('ends every request of 64 clients while nodes are killed and started anew', async () => {
    const until = performance.now() + 20_000
    const load = loadWorkers(mongrel2.port, 20_000, { within })
    let kills = 0
    while (performance.now() < until - 5000) {
      const number = kills++ % 2
      await nodes[number]?.kill()
      nodes[number] = startNode(number)
      await nodesReady(2)
    }
    expectEnded(await load)
    expect(kills).toBeGreaterThan(2)
    await expect.poll(() => server.stats().connections).toBe(0)
  }, 120_000)

  it('fails no request of 64 clients while nodes leave and join, and all is reloaded', async () => {
    const until = performance.now() + 15_000
    const load = loadWorkers(mongrel2.port, 15_000, { within })
    let departures = 0
    while (performance.now() < until - 5000) {
      const number = departures++ % 2
      await nodes[number]?.kill('SIGTERM')
      nodes[number] = startNode(number)
      await nodesReady(2)
      await server.reload()
    }
    const outcomes = await load
    expectEnded(outcomes)
    expect([outcomes.refused, outcomes.closed]).toEqual([0, 0])
    expect(logger.errors).toEqual([])
  }, 120_000)

  it('has both back after the main node was started anew', async () => {
    const listen = `tcp://${networks[0]?.here}:${server.clusterPort}`
    for (let round = 0; round < 3; round++) {
      await server.close()
      startMain(listen)
      await nodesReady(2)
    }
    const outcomes = await loadWorkers(mongrel2.port, 2000, { within })
    expect(outcomes).toEqual({ answered: outcomes.answered, refused: 0, closed: 0, wrong: 0, hangs: 0 })
  }, 120_000)
})
