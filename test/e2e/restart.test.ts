import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, fetch } from 'undici'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { XPublisher } from 'zeromq'
import type { Mongrel2Server } from '../../src/index.ts'
import { closeReply, renderReply } from '../../src/wire/reply.ts'
import { lacks } from '../support/embedded.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
let gate: Gate
let agent: Agent
let signals: Map<string, AbortSignal>

beforeEach(async () => {
  logger = new CollectingLogger()
  gate = new Gate()
  agent = new Agent({ connections: 64, pipelining: 1 })
  signals = new Map()
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await agent.destroy()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

async function serve(handler: (request: Request, name: string) => Promise<Response>): Promise<void> {
  server = serveMongrel2((request) => handler(request, new URL(request.url).pathname), {
    zeromq: mongrel2.endpoint,
    chroot: mongrel2.directory,
    logger,
  })
  await server.ready
}

/** The body of an answer, or undefined where the connection ended without one. */
async function get(path: string): Promise<string | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}${path}`, { dispatcher: agent })
    return await response.text()
  } catch {
    return undefined
  }
}

it('resumes by itself, aborts what came before and gives nobody an answer to another life', async () => {
  await serve(async (request, name) => {
    signals.set(name, request.signal)
    await gate.pass(name)
    return new Response(name)
  })
  const before = get('/before')
  await gate.arrival('/before')
  await mongrel2.restart({ signal: 'SIGKILL' })
  expect(await before).toBeUndefined()

  // The new life numbers its connections from 1 again: this one has the number that the one before had.
  const after = get('/after')
  await gate.arrival('/after')
  expect(signals.get('/before')?.aborted).toBe(true)
  expect(signals.get('/before')?.reason).toMatchObject({ name: 'AbortError' })
  expect(signals.get('/after')?.aborted).toBe(false)
  gate.open('/before')
  await sleep(50) // an answer that goes astray would have left by now
  gate.open('/after')
  expect(await after).toBe('/after')
})

it('sends nothing to a Mongrel2 that was restarted while this process could not notice', async () => {
  await serve(async (_request, name) => {
    if (name === '/blocks') {
      // The event loop stands still, libzmq's threads do not: whatever reconnects by itself has done so by the end.
      mongrel2.killSync()
      mongrel2.startSync()
      spawnSync('sleep', ['1.5'])
    }
    return new Response(name)
  })
  expect(await get('/first')).toBe('/first')
  await agent.destroy()
  agent = new Agent({ connections: 64, pipelining: 1 })
  expect(await get('/blocks')).toBeUndefined()
  let after: string | undefined
  // It may still be starting.
  while (after === undefined) after = await get('/after')
  expect(after).toBe('/after')
})

it('answers each request with its own answer or none while Mongrel2 is killed again and again', async () => {
  await serve(async (_request, name) => {
    if (name.endsWith('7')) await sleep(30)
    return new Response(name)
  })
  let stop = false
  const wrong: string[] = []
  let right = 0
  let none = 0
  const clients = Array.from({ length: 64 }, async (_, client) => {
    for (let n = 0; !stop; n++) {
      const path = `/${client}/${n}`
      const body = await get(path)
      if (body === path) right++
      else if (body === undefined) {
        none++
        await sleep(20)
      } else wrong.push(`${path} got ${body}`)
    }
  })
  for (let life = 0; life < 5; life++) {
    const before = right
    while (right < before + 500) await sleep(10)
    await mongrel2.restart({ signal: life % 2 === 0 ? 'SIGKILL' : 'SIGTERM' })
  }
  const before = right
  while (right < before + 500) await sleep(10)
  stop = true
  await Promise.all(clients)
  expect(wrong).toEqual([])
  expect(none).toBeGreaterThan(0)
  expect(server.stats().malformed).toBe(0)
})

it.skipIf(lacks('blocked by a notice'))(
  'serves where the one before it left Mongrel2 with a notice that nobody took, which keeps it from all else',
  async () => {
    const [, recvSpec = ''] = mongrel2.endpoint.split(',')
    /** Whether Mongrel2 subscribes, to replies of a publisher that has one for a client that is gone. */
    const subscribes = async (): Promise<boolean> => {
      const publisher = new XPublisher({ receiveTimeout: 500 })
      try {
        publisher.connect(recvSpec)
        await publisher.receive()
        await publisher.send(renderReply(closeReply('34f9ceee-cd52-4b7f-b197-88bf2f0ec370', [12_345])))
        return true
      } catch {
        return false
      } finally {
        publisher.close()
      }
    }
    await expect.poll(subscribes).toBe(false)
    await serve(async (_request, name) => new Response(name))
    expect(await get('/after')).toBe('/after')
  },
)
