import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BreakableNetwork } from '../support/breakable-network.ts'
import { lacks } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { BrokenResponseError, get, RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

let mongrel2: Mongrel2
let networks: BreakableNetwork[]
let server: { readonly ready: Promise<void>; close(options: { timeout: number }): Promise<void> }
let logger: CollectingLogger
let clients: RawClient[]

beforeEach(async () => {
  logger = new CollectingLogger()
  clients = []
  mongrel2 = await startMongrel2({ tcp: true })
  const ports = mongrel2.endpoint.split(',').map((spec) => Number(spec.split(':').at(-1)))
  networks = await Promise.all(ports.map((port) => BreakableNetwork.to(port)))
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await server.close({ timeout: 1000 })
  for (const network of networks) await network[Symbol.asyncDispose]()
  await mongrel2.stop()
})

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** @param host An address of this machine: its loopback, where a life has a name, or one that tells nothing. */
async function serve(processes: string, host: string): Promise<void> {
  const zeromq = networks.map(({ port }) => `tcp://${host}:${port}`).join()
  const handler = async (incoming: Request) => {
    const { pathname } = new URL(incoming.url)
    return pathname === '/never' ? await new Promise<Response>(() => {}) : new Response(pathname)
  }
  const options = { zeromq, chroot: mongrel2.directory, logger }
  server = processes === 'workers' ? serveWithWorkers({ workers: 1, options }) : serveMongrel2(handler, options)
  await server.ready
}

/** The link loses Mongrel2, which lives on, and finds it again. */
async function loseMongrel2(): Promise<void> {
  for (const network of networks) network.break()
  expect(await logger.next('warn')).toContain('lost Mongrel2')
  for (const network of networks) network.mend()
  // What Mongrel2 deals in the moment of the loss is lost.
  const ask = () => Promise.race([get(connect(), '/found').catch(String), sleep(500, 'no answer')])
  await expect.poll(ask, { timeout: 20_000 }).toBe('/found')
}

describe.each(['one process', 'workers'])('a Mongrel2 that is lost and lives on, in %s,', (processes) => {
  it('has the connections closed whose requests were open, when it is known for the same', async () => {
    await serve(processes, '127.0.0.1')
    const open = connect().send(request('/never'))
    const idle = connect()
    expect(await get(idle, '/idle')).toBe('/idle')
    await loseMongrel2()
    await open.closed
    expect(open.bytesRead).toBe(0)
    // A worker that cannot answer any more has its own closed, if that still arrives.
    if (processes !== 'workers') expect(await get(idle, '/still-idle')).toBe('/still-idle')
  })

  it.skipIf(lacks('kept connections'))(
    'has a connection closed whose request was open when it sends another, where it may be the same',
    async () => {
      await serve(processes, '0.0.0.0')
      const open = connect().send(request('/never'))
      const idle = connect()
      expect(await get(idle, '/idle')).toBe('/idle')
      await loseMongrel2()
      expect(open.ended).toBe(false)
      open.send(request('/second'))
      await expect(open.response()).rejects.toThrow(BrokenResponseError)
      expect(open.bytesRead).toBe(0)
      // A worker that cannot answer any more has its own closed, if that still arrives.
      if (processes !== 'workers') expect(await get(idle, '/still-idle')).toBe('/still-idle')
    },
  )
})
