import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { BreakableNetwork } from '../support/breakable-network.ts'
import { CollectingLogger } from '../support/logger.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { get, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

/** Longer than the link takes to find a path lost, in milliseconds. */
const LOOKS = 8000

it.each([
  ['zmtp', 'one process'],
  ['zmtp', 'workers'],
  ['zeromq', 'one process'],
] as const)('pulls nothing while the recv_spec cannot be reached any more, by %s in %s', async (link, processes) => {
  await using mongrel2 = await startMongrel2({ tcp: true })
  const ports = mongrel2.endpoint.split(',').map((spec) => Number(spec.split(':').at(-1)))
  await using sends = await BreakableNetwork.to(ports[0] ?? 0)
  await using receives = await BreakableNetwork.to(ports[1] ?? 0)
  const logger = new CollectingLogger()
  const zeromq = `tcp://127.0.0.1:${sends.port},tcp://127.0.0.1:${receives.port}`
  const options = { zeromq, link, logger, chroot: mongrel2.directory }
  const handler = ({ url }: Request) => new Response(new URL(url).pathname)
  const server = processes === 'workers' ? serveWithWorkers({ workers: 1, options }) : serveMongrel2(handler, options)
  await server.ready
  using early = new RawClient(mongrel2.port)
  using client = new RawClient(mongrel2.port)
  expect(await get(early, '/early')).toBe('/early')
  receives.silence()
  receives.refuse()
  expect(await logger.next('warn')).toContain('cannot reach')
  await sleep(500) // Mongrel2 has seen that nobody pulls
  const { messages } = server.stats()
  let answered = false
  const kept = get(client, '/kept').then((body) => {
    answered = true
    return body
  })
  await sleep(500)
  expect([answered, server.stats().messages]).toEqual([false, messages])
  receives.resume()
  await receives.accept()
  expect(await kept).toBe('/kept')
  await server.close()
})

it.each(['zmtp', 'zeromq'] as const)(
  'goes on while only new connections to the recv_spec are refused, by %s',
  async (link) => {
    await using mongrel2 = await startMongrel2({ tcp: true })
    const [sends = '', receives = ''] = mongrel2.endpoint.split(',')
    await using network = await BreakableNetwork.to(Number(receives.split(':').at(-1)))
    const logger = new CollectingLogger()
    const zeromq = `${sends},tcp://127.0.0.1:${network.port}`
    const server = serveMongrel2(() => new Response('served'), { zeromq, link, logger, chroot: mongrel2.directory })
    await server.ready
    using client = new RawClient(mongrel2.port)
    expect(await get(client, '/')).toBe('served') // so that all connections are there
    network.refuse()
    for (const end = Date.now() + LOOKS; Date.now() < end; await sleep(100)) {
      expect(await get(client, '/')).toBe('served')
    }
    expect(logger.lines).toEqual([])
    await server.close()
  },
)
