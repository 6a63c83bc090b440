import { createHash, randomBytes } from 'node:crypto'
import { fetch } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FetchHandler, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { Gate } from '../support/gate.ts'
import { idleKill } from '../support/idle-kill.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { PACING_MODES, type PacingModeCase, pacedBy } from '../support/pacing-modes.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { SlowClient } from '../support/slow-client.ts'
import { steadyBody, steadyDigest } from '../support/steady-body.ts'

const KIB = 1024
const MIB = 1024 * KIB
const WINDOW = 102_400
const IDLE_KILL = idleKill(2)

let mongrel2: Mongrel2
let server: Mongrel2Server
let logger: CollectingLogger
let gate: Gate
const clients: Disposable[] = []

beforeEach(() => {
  logger = new CollectingLogger()
  gate = new Gate()
})

afterEach(async () => {
  for (const client of clients.splice(0)) client[Symbol.dispose]()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

async function serve(
  { config, zeromq }: Pick<PacingModeCase, 'config' | 'zeromq'>,
  handler: FetchHandler,
  options: Partial<Mongrel2Options> = {},
  more: Mongrel2TestOptions = {},
): Promise<void> {
  mongrel2 = await startMongrel2({ ...config, ...more })
  server = serveMongrel2(handler, { zeromq: zeromq(mongrel2), chroot: mongrel2.directory, logger, ...options })
  await server.ready
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

function connectSlowly(rate?: number): SlowClient {
  const client = new SlowClient(mongrel2.port, rate === undefined ? {} : { rate })
  clients.push(client)
  return client
}

const isThere = ({ mode }: PacingModeCase) => mode !== 'controlPort' || !lacks('control port')
const [CREDITS, CONTROL_PORT, ESTIMATE] = PACING_MODES as [PacingModeCase, PacingModeCase, PacingModeCase]
const url = (path: string) => `http://127.0.0.1:${mongrel2.port}${path}`
const pathOf = (request: Request) => new URL(request.url).pathname
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const encode = (text: string) => new TextEncoder().encode(text)

/** Resolves with a number once it has not changed for so many milliseconds. */
async function still(value: () => number, milliseconds = 500): Promise<number> {
  let last = value()
  let since = performance.now()
  await expect
    .poll(
      () => {
        if (value() !== last) since = performance.now()
        last = value()
        return performance.now() - since
      },
      { timeout: 20_000 },
    )
    .toBeGreaterThan(milliseconds)
  return last
}

describe.each(PACING_MODES.filter(isThere))('a stream paced by $mode', ({ mode, config, zeromq }) => {
  const EVENTS = 12
  const events = () =>
    new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          for (let event = 0; event < EVENTS; event++) {
            await gate.pass(`event ${event}`)
            controller.enqueue(encode(`data: ${event}\n\n`))
          }
          controller.close()
        },
      },
      { highWaterMark: 0 },
    )

  it('arrives event by event: each is read before the next is produced', async () => {
    await serve({ config, zeromq }, () => new Response(events(), { headers: { 'content-type': 'text/event-stream' } }))
    const response = await fetch(url('/'))
    expect(server.stats().pacing).toEqual(pacedBy(mode, 1))
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    for (let event = 0; event < EVENTS; event++) {
      await gate.arrival(`event ${event}`)
      gate.open(`event ${event}`)
      let text = ''
      while (!text.endsWith('\n\n')) text += Buffer.from((await reader.read()).value ?? []).toString()
      expect(text).toBe(`data: ${event}\n\n`)
    }
    expect(await reader.read()).toMatchObject({ done: true })
  })

  it('reaches a quick and a slow client intact, every chunk of it small', async () => {
    const size = 4 * MIB
    await serve({ config, zeromq }, () => new Response(steadyBody(size, KIB)))
    const quick = connectSlowly().get()
    const slow = connectSlowly(2 * MIB).get()
    const whole = { status: 200, bytes: size, sha256: steadyDigest(size, KIB) }
    if (!lacks('kept connections')) await expect.poll(() => server.stats().pacing).toEqual(pacedBy(mode, 2))
    expect(await quick.response()).toMatchObject(whole)
    expect(await slow.response()).toMatchObject(whole)
  })

  it('is produced no further ahead of its client than maxBufferedBytes', async () => {
    let produced = 0
    const chunk = 64 * KIB
    const maxBufferedBytes = MIB
    const body = () =>
      steadyBody(1024 * MIB, chunk, (before) => {
        produced = before
      })
    await serve({ config, zeromq }, () => new Response(body()), { maxBufferedBytes, minClientRate: KIB })
    const client = connectSlowly().stop().get()
    await expect.poll(() => produced).toBeGreaterThan(0)
    await still(() => produced)
    const held = produced - server.stats().bytesOut
    // What was produced and not published; the chunk that is being written comes on top.
    expect(held).toBeLessThanOrEqual(mode === 'credits' ? WINDOW + chunk : maxBufferedBytes + chunk)
    expect(held).toBeGreaterThan(0)
    client.destroy()
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('is cancelled with an AbortError when its client leaves', async () => {
    const reasons: unknown[] = []
    const open = () =>
      new ReadableStream({
        start: (controller) => controller.enqueue(encode('begun')),
        cancel: (reason) => void reasons.push(reason),
      })
    let signal: AbortSignal | undefined
    await serve({ config, zeromq }, (request) => {
      signal = request.signal
      return new Response(open())
    })
    const controller = new AbortController()
    await fetch(url('/'), { signal: controller.signal })
    expect([reasons, signal?.aborted]).toEqual([[], false])
    controller.abort()
    await expect.poll(() => reasons).toHaveLength(1)
    expect(reasons[0]).toBeInstanceOf(DOMException)
    expect(reasons[0]).toMatchObject({ name: 'AbortError', message: expect.stringContaining('client left') })
    expect(signal?.reason).toBe(reasons[0])
    expect(server.stats()).toMatchObject({ connections: 0, pacing: pacedBy(mode, 0) })
  })

  it('is cancelled with an AbortError when the server closes with a timeout, and its client sees it cut short', async () => {
    const reasons: unknown[] = []
    const endless = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(Buffer.alloc(KIB)),
        cancel: (reason) => void reasons.push(reason),
      })
    await serve({ config, zeromq }, () => new Response(endless()))
    const client = connectSlowly().get()
    await expect.poll(() => client.bytes).toBeGreaterThan(0)
    await server.close({ timeout: 50 })
    expect(reasons).toHaveLength(1)
    expect(reasons[0]).toBeInstanceOf(DOMException)
    expect(reasons[0]).toMatchObject({ name: 'AbortError' })
    // With flow control Mongrel2 writes no further until somebody pulls its notice of what it has written.
    if (mode === 'credits') server = serveMongrel2(() => new Response(), { zeromq: mongrel2.endpoint, logger })
    await expect(client.response()).rejects.toThrow('the connection ended')
  })
})

describe('with credits', () => {
  it("a producer is asked for no more than fits Mongrel2's window while its client does not read", async () => {
    let pulls = 0
    const body = () =>
      steadyBody(64 * MIB, 10 * KIB, () => {
        pulls++
      })
    await serve(CREDITS, () => new Response(body()))
    const client = connectSlowly().stop().get()
    await expect.poll(() => pulls).toBeGreaterThan(0)
    const stalled = await still(() => pulls)
    const { bytesOut } = server.stats()
    expect(stalled * 10 * KIB - bytesOut).toBeLessThanOrEqual(WINDOW + 10 * KIB)
    client.resume()
    expect(await client.response()).toMatchObject({ bytes: 64 * MIB, sha256: steadyDigest(64 * MIB, 10 * KIB) })
    expect(pulls).toBe(Math.ceil((64 * MIB) / (10 * KIB)))
  })

  it.skipIf(lacks('kept connections'))(
    'large buffers are cut to fit, and the balance is kept over the requests of a connection',
    async () => {
      const bytes = randomBytes(5 * MIB)
      await serve(CREDITS, () => new Response(bytes))
      const client = connectSlowly(32 * MIB)
      for (let request = 0; request < 5; request++) {
        const { replies } = server.stats()
        const answer = client.get().response()
        await expect.poll(() => server.stats().pacing).toEqual(pacedBy('credits', 1))
        expect(await answer).toMatchObject({ bytes: bytes.length, sha256: sha256(bytes) })
        expect(server.stats().replies - replies).toBeGreaterThan(bytes.length / WINDOW)
      }
    },
  )

  it('answers to requests that a client pipelines without reading wait for it, all of them right', async () => {
    const bytes = randomBytes(90_000)
    await serve(CREDITS, () => new Response(bytes), { maxPipelined: 4 })
    const client = connectSlowly().stop()
    client.send(get('/').repeat(100))
    await expect.poll(() => server.stats().bytesOut).toBeGreaterThan(0)
    await still(() => server.stats().bytesOut)
    client.resume()
    for (let answer = 0; answer < 100; answer++) {
      expect(await client.response()).toMatchObject({ bytes: bytes.length, sha256: sha256(bytes) })
    }
  })
})

describe('a client that reads less than minClientRate', () => {
  const size = 32 * MIB
  // No client reads as much, so the estimate is wrong about every one.
  const options = { minClientRate: 1024 * MIB, maxBufferedBytes: MIB / 4 }

  it('has its stream cut short where nobody tells what it has read, with a warning that names flow control and the control port', async () => {
    const reasons: unknown[] = []
    const body = () => {
      const steady = steadyBody(size, 10 * KIB).getReader()
      return new ReadableStream({
        pull: async (controller) => controller.enqueue((await steady.read()).value),
        cancel: (reason) => void reasons.push(reason),
      })
    }
    await serve(ESTIMATE, () => new Response(body()), options)
    const client = connectSlowly().stop().get()
    await expect
      .poll(() => logger.warnings)
      .toContainEqual(expect.stringMatching(/cut short .* download\.flow_control, .* control port/))
    await expect.poll(() => reasons).toEqual([expect.objectContaining({ name: 'AbortError' })])
    await expect(client.resume().response()).rejects.toThrow()
  })

  it.each([CREDITS, CONTROL_PORT].filter(isThere))('gets all of it with $mode, without a warning', async (mode) => {
    await serve(mode, () => new Response(steadyBody(size, 10 * KIB)), options)
    const client = connectSlowly().stop().get()
    await expect.poll(() => server.stats().bytesOut).toBeGreaterThan(0)
    expect(await still(() => server.stats().bytesOut, 1500)).toBeLessThan(size)
    client.resume()
    expect(await client.response()).toMatchObject({ bytes: size, sha256: steadyDigest(size, 10 * KIB) })
    expect(logger.warnings).toEqual([])
  })
})

describe('without anybody who tells what a client has read', () => {
  it('a stream that can only go on slowly warns, and names flow control and the control port', async () => {
    await serve(ESTIMATE, () => new Response(steadyBody(64 * MIB, 64 * KIB)), { maxBufferedBytes: MIB })
    connectSlowly().get()
    const warning = await logger.next('warn')
    expect(warning).toContain('slows a stream down')
    expect(warning).toContain('download.flow_control')
    expect(warning).toContain('control port')
  })

  it.each([CREDITS, CONTROL_PORT].filter(isThere))(
    'the same stream is carried with $mode, without a warning',
    async (mode) => {
      const size = 64 * MIB
      await serve(mode, () => new Response(steadyBody(size, 64 * KIB)), { maxBufferedBytes: MIB })
      expect(await connectSlowly().get().response()).toMatchObject({
        bytes: size,
        sha256: steadyDigest(size, 64 * KIB),
      })
      expect(logger.warnings).toEqual([])
    },
  )
})

describe('a client that leaves', () => {
  it.skipIf(lacks('kept connections'))(
    'aborts the requests not answered in full, never the finished ones, and what they answer then is dropped',
    async () => {
      const signals = new Map<string, AbortSignal>()
      await serve(ESTIMATE, async (request) => {
        const path = pathOf(request)
        signals.set(path, request.signal)
        if (path !== '/finished') await gate.pass(path)
        return new Response(path)
      })
      const client = connect()
      await client.send(get('/finished')).response()
      client.send(get('/one') + get('/two'))
      await Promise.all([gate.arrival('/one'), gate.arrival('/two')])
      client.destroy()
      await expect.poll(() => signals.get('/one')?.aborted).toBe(true)
      expect([...signals].map(([path, { aborted }]) => [path, aborted])).toEqual([
        ['/finished', false],
        ['/one', true],
        ['/two', true],
      ])
      for (const path of ['/one', '/two']) {
        const reason: unknown = signals.get(path)?.reason
        expect(reason).toBeInstanceOf(DOMException)
        expect(reason).toMatchObject({ name: 'AbortError' })
      }
      const { replies } = server.stats()
      gate.open('/one')
      gate.open('/two')
      await expect.poll(() => server.stats().inFlight).toBe(0)
      // Answered later by the same publisher, so whatever the others had to say has gone out before.
      expect(await (await fetch(url('/finished'))).text()).toBe('/finished')
      expect(server.stats().replies).toBe(replies + 1)
    },
  )
})

describe('pipelined requests', () => {
  it('run at once and are answered in their order, streams included', async () => {
    const order: string[] = []
    await serve(ESTIMATE, async (request) => {
      const path = pathOf(request)
      await gate.pass(path)
      order.push(path)
      return path.startsWith('/stream') ? new Response(steadyBody(100 * KIB, KIB)) : new Response(path)
    })
    const paths = ['/0', '/stream1', '/2', '/stream3', '/4', '/stream5']
    const client = connectSlowly()
    client.send(paths.map(get).join(''))
    await Promise.all(paths.map((path) => gate.arrival(path)))
    expect(server.stats().inFlight).toBe(paths.length)
    for (const path of paths.toReversed()) {
      gate.open(path)
      await expect.poll(() => order).toContain(path)
    }
    for (const path of paths) {
      const stream = path.startsWith('/stream')
      expect(await client.response()).toMatchObject({
        sha256: stream ? steadyDigest(100 * KIB, KIB) : sha256(encode(path)),
      })
    }
    expect(order).toEqual(paths.toReversed())
  })

  it('run up to maxPipelined, the rest wait, and each that is answered lets one more run', async () => {
    const started: string[] = []
    await serve(ESTIMATE, async (request) => {
      const path = pathOf(request)
      started.push(path)
      await gate.pass(path)
      return new Response(path)
    })
    const paths = Array.from({ length: 40 }, (_, number) => `/${number}`)
    const client = connect().send(paths.map(get).join(''))
    await gate.arrival('/15')
    connect().send(get('/other'))
    await gate.arrival('/other') // came behind them, so they have all come
    gate.open('/other')
    expect(started.filter((path) => path !== '/other')).toEqual(paths.slice(0, 16))
    for (const [number, path] of paths.entries()) {
      await gate.arrival(path)
      gate.open(path)
      expect((await client.response()).body.toString()).toBe(path)
      const next = paths[number + 16]
      if (next !== undefined) await gate.arrival(next)
      expect(started.length).toBeLessThanOrEqual(number + 18)
    }
  })
})

describe('a connection on which nothing happens', () => {
  /** Resolves when Mongrel2 has ended a connection that it could end as idle since its opening. */
  async function idleKill(): Promise<void> {
    const bystander = connect().send(get('/bystander'))
    await bystander.response()
    await bystander.closed
  }

  const handler: FetchHandler = async (request) => {
    const path = pathOf(request)
    if (path !== '/bystander') await gate.pass(path)
    return new Response(path)
  }

  it.skipIf(lacks('idle kill'))('stays open while a request of it is, though Mongrel2 ends others', async () => {
    await serve(ESTIMATE, handler, { keepAliveInterval: 500 }, { settings: IDLE_KILL })
    const client = connect().send(get('/poll'))
    await gate.arrival('/poll')
    await idleKill()
    await idleKill()
    gate.open('/poll')
    expect((await client.response()).body.toString()).toBe('/poll')
  })

  it.skipIf(lacks('idle kill'))('would be ended by Mongrel2 without a word of ours', async () => {
    let signal: AbortSignal | undefined
    const looking: FetchHandler = (request, env, ctx) => {
      if (pathOf(request) === '/poll') signal = request.signal
      return handler(request, env, ctx)
    }
    await serve(ESTIMATE, looking, { keepAliveInterval: 2_000_000_000 }, { settings: IDLE_KILL })
    const client = connect().send(get('/poll'))
    await gate.arrival('/poll')
    await client.closed
    const { messages, replies } = server.stats()
    expect([signal?.aborted, server.stats().connections]).toEqual([false, 1])
    gate.open('/poll')
    // The answer brings the notice that did not come of itself.
    await expect
      .poll(() => server.stats())
      .toMatchObject({ replies: replies + 1, messages: messages + 1, connections: 0 })
  })

  it.skipIf(lacks('idle kill'))(
    'that Mongrel2 has ended is found by the next sign of life, and its request aborted',
    async () => {
      const signals: AbortSignal[] = []
      const looking: FetchHandler = (request, env, ctx) => {
        signals.push(request.signal)
        return handler(request, env, ctx)
      }
      await serve(ESTIMATE, looking, { keepAliveInterval: 8000 }, { settings: IDLE_KILL })
      const polls = Array.from({ length: 3 }, (_, number) => connect().send(get(`/${number}`)))
      await Promise.all(polls.map((_, number) => gate.arrival(`/${number}`)))
      await Promise.all(polls.map((client) => client.closed))
      await expect.poll(() => server.stats().connections).toBe(0)
      for (const { aborted, reason } of signals) expect([aborted, reason.name]).toEqual([true, 'AbortError'])
    },
  )

  it.skipIf(lacks('idle kill'))(
    'that Mongrel2 has ended amid a stream that its client does not read is found too',
    async () => {
      let reason: unknown
      const body = () => {
        const steady = steadyBody(1024 * MIB, 64 * KIB).getReader()
        return new ReadableStream({
          pull: async (controller) => controller.enqueue((await steady.read()).value),
          cancel: (given) => {
            reason = given
          },
        })
      }
      await serve(CREDITS, () => new Response(body()), { keepAliveInterval: 8000 }, { settings: IDLE_KILL })
      connectSlowly().stop().get()
      await expect.poll(() => server.stats().connections).toBe(1)
      await expect.poll(() => server.stats().connections).toBe(0)
      expect(reason).toMatchObject({ name: 'AbortError' })
    },
  )

  it('costs a sign of life for up to 128 of its kind in each reply', async () => {
    await serve(ESTIMATE, handler, { keepAliveInterval: 500 })
    const polls = Array.from({ length: 300 }, (_, number) => connect().send(get(`/${number}`)))
    await Promise.all(polls.map((_, number) => gate.arrival(`/${number}`)))
    const { replies, bytesOut } = server.stats()
    await expect.poll(() => server.stats().replies).toBe(replies + 3)
    await expect.poll(() => server.stats().replies).toBe(replies + 6)
    expect(server.stats()).toMatchObject({ bytesOut, connections: 300 })
    for (const [number] of polls.entries()) gate.open(`/${number}`)
    for (const [number, client] of polls.entries()) {
      expect((await client.response()).body.toString()).toBe(`/${number}`)
    }
  })
})
