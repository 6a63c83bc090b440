import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fetch, request as send } from 'undici'
import { describe, expect, it } from 'vitest'
import type { Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { startFakeMongrel2 } from '../support/fake-mongrel2.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

type Handler = Parameters<typeof serveMongrel2>[0]

async function serve(
  mongrel2: Mongrel2,
  handler: Handler,
  options: Partial<Mongrel2Options> = {},
): Promise<Mongrel2Server> {
  const server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, ...options })
  await server.ready
  return server
}

const urlOf = (mongrel2: Mongrel2, path = '/') => `http://127.0.0.1:${mongrel2.port}${path}`
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Writes bytes on a connection of its own and reads until the other side ends it or the text is complete. */
async function exchange(
  mongrel2: Mongrel2,
  bytes: string,
  complete: (text: string) => boolean = () => false,
): Promise<string> {
  const socket = connectSocket(mongrel2.port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').write(bytes, 'latin1')
  for await (const chunk of socket) {
    text += chunk
    if (complete(text)) break
  }
  socket.destroy()
  return text
}

describe('ready', () => {
  it('waits for a Mongrel2 that is not up yet, says so once, and serves it when it comes', async () => {
    await using mongrel2 = await startMongrel2()
    await mongrel2.kill()
    const logger = new CollectingLogger()
    const server = serveMongrel2(() => new Response('here'), {
      zeromq: mongrel2.endpoint,
      chroot: mongrel2.directory,
      logger,
    })
    await using _ = server
    const warning = await logger.next('warn')
    expect(warning).toContain('waits for Mongrel2')
    expect(warning).toContain(mongrel2.endpoint)
    await mongrel2.start()
    await server.ready
    expect(await (await fetch(urlOf(mongrel2))).text()).toBe('here')
    expect(logger.warnings).toHaveLength(1)
  })

  it('rejects when the server is closed before', async () => {
    const server = serveMongrel2(() => new Response(), {
      zeromq: 'ipc:///nowhere/send,ipc:///nowhere/recv',
      logger: {},
    })
    await server.close()
    await expect(server.ready).rejects.toMatchObject({ name: 'Mongrel2Error', code: 'closed' })
  })

  it('waits for every endpoint, and each serves as soon as it can', async () => {
    await using one = await startMongrel2()
    await using two = await startMongrel2({ protocol: 'tnetstring' })
    await two.kill()
    const server = serveMongrel2(() => new Response('both'), { zeromq: [one.endpoint, two.endpoint], logger: {} })
    await using _ = server
    let ready = false
    server.ready.then(() => {
      ready = true
    })
    expect(await (await fetch(urlOf(one))).text()).toBe('both')
    expect(ready).toBe(false)
    await two.start()
    await server.ready
    expect(await (await fetch(urlOf(two))).text()).toBe('both')
  })

  it('works over tcp', async () => {
    await using mongrel2 = await startMongrel2({ tcp: true })
    await using _ = await serve(mongrel2, () => new Response('tcp'))
    expect(mongrel2.endpoint).toMatch(/^tcp:/)
    expect(await (await fetch(urlOf(mongrel2))).text()).toBe('tcp')
  })
})

describe('close', () => {
  it('answers what is in flight, waits for waitUntil, and is idempotent', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    let background = false
    const server = await serve(mongrel2, async (_request, _env, ctx) => {
      await gate.pass('request')
      ctx.waitUntil(
        gate.pass('background').then(() => {
          background = true
        }),
      )
      return new Response('answered')
    })
    const answer = fetch(urlOf(mongrel2))
    await gate.arrival('request')
    const closed = server.close()
    expect(server.close()).toBe(closed)
    gate.open('request')
    expect(await (await answer).text()).toBe('answered')
    await gate.arrival('background')
    gate.open('background')
    await closed
    expect(background).toBe(true)
  })

  it('listens until answers that need credits and bodies that arrive are complete, and refuses what comes meanwhile', async () => {
    await using mongrel2 = await startMongrel2({ flowControl: true, uploads: 'stream' })
    const bytes = Buffer.alloc(5_000_000, 'credits ')
    const gate = new Gate()
    const server = await serve(mongrel2, async (request) => {
      if (request.method === 'GET') return new Response(bytes)
      const reader = request.body?.getReader()
      let size = (await reader?.read())?.value?.length ?? 0
      await gate.pass('body')
      for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read())
        size += piece.value.length
      return new Response(String(size))
    })
    const download = new RawClient(mongrel2.port)
    download.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    download.pause()
    const upload = new RawClient(mongrel2.port)
    upload.send(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes.length}\r\n\r\n`).send(bytes)
    await gate.arrival('body')
    const closed = server.close()
    const meanwhile = await fetch(urlOf(mongrel2, '/meanwhile'))
    expect([meanwhile.status, meanwhile.headers.get('connection')]).toEqual([503, 'close'])
    download.resume()
    gate.open('body')
    expect(sha256((await download.response()).body)).toBe(sha256(bytes))
    expect((await upload.response()).body.toString()).toBe(String(bytes.length))
    await closed
    download.destroy()
    upload.destroy()
  })

  it('after its timeout aborts what is still open and closes its connections', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    let aborted: unknown
    let cancelled: unknown
    const server = await serve(mongrel2, async (request) => {
      if (request.url.endsWith('/stream')) {
        return new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(new TextEncoder().encode('begun')),
            cancel: (reason) => {
              cancelled = reason
            },
          }),
        )
      }
      request.signal.addEventListener('abort', () => {
        aborted = request.signal.reason
      })
      await gate.pass('request')
      return new Response()
    })
    const stream = await fetch(urlOf(mongrel2, '/stream'))
    const unanswered = expect(fetch(urlOf(mongrel2))).rejects.toThrow()
    await gate.arrival('request')
    await server.close({ timeout: 50 })
    await unanswered
    await expect(stream.text()).rejects.toThrow()
    expect(aborted).toMatchObject({ name: 'AbortError' })
    expect(cancelled).toMatchObject({ name: 'AbortError' })
  })

  it('comes with an aborted signal and at the end of an await using block', async () => {
    await using mongrel2 = await startMongrel2()
    const controller = new AbortController()
    const server = await serve(mongrel2, () => new Response('x'), { signal: controller.signal })
    controller.abort()
    await server.close()
    {
      await using again = await serve(mongrel2, () => new Response('again'))
      expect(await (await fetch(urlOf(mongrel2))).text()).toBe('again')
      expect(again.stats().requests).toBe(1)
    }
  })

  it.each(['zeromq', 'zmtp'] as const)('comes to its end where Mongrel2 goes in the same moment: %s', async (link) => {
    for (let n = 0; n < 20; n++) {
      const fake = await startFakeMongrel2()
      const server = serveMongrel2(() => new Response('x'), { zeromq: fake.endpoint, link, logger: {} })
      await server.ready
      const gone = fake[Symbol.asyncDispose]()
      await server.close()
      await gone
    }
  })

  it('loses no request that it has received while clients keep asking', async () => {
    await using mongrel2 = await startMongrel2()
    let called = 0
    let answered = 0
    const server = await serve(mongrel2, async () => {
      called++
      await sleep(5)
      return new Response('x')
    })
    const clients = Array.from({ length: 32 }, async () => {
      for (;;) {
        const response = await send(urlOf(mongrel2)).catch(() => undefined)
        if (response === undefined) break // nobody was there any more, and Mongrel2 was stopped
        if ((await response.body.text()) === 'x') answered++
        if (response.headers.connection === 'close') break
      }
    })
    while (answered < 500) await sleep(5)
    await server.close()
    await expect.poll(() => answered).toBe(called)
    await mongrel2.stop()
    await Promise.all(clients)
    expect(answered).toBe(called)
  })
})

describe('what is in flight', () => {
  it('is bounded: more wait, and beyond maxQueued get a 503', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    await using server = await serve(
      mongrel2,
      async (request) => {
        await gate.pass(new URL(request.url).pathname)
        return new Response('done')
      },
      { maxInFlight: 1, maxQueued: 1 },
    )
    const first = fetch(urlOf(mongrel2, '/first'))
    await gate.arrival('/first')
    const others = [fetch(urlOf(mongrel2, '/a')), fetch(urlOf(mongrel2, '/b'))]
    const refused = await Promise.race(others)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(server.stats()).toMatchObject({ inFlight: 1, requests: 1, rejected: 1 })
    gate.open('/first')
    expect((await first).status).toBe(200)
    const name = await Promise.race([gate.arrival('/a').then(() => '/a'), gate.arrival('/b').then(() => '/b')])
    gate.open(name)
    const statuses = (await Promise.all(others)).map((response) => response.status)
    expect(statuses.sort()).toEqual([200, 503])
  })

  it('does not count responses that are still streaming', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    await using server = await serve(
      mongrel2,
      () => {
        async function* body() {
          yield new TextEncoder().encode('begun, ')
          await gate.pass('rest')
          yield new TextEncoder().encode('done')
        }
        return new Response(ReadableStream.from(body()) as unknown as ReadableStream)
      },
      { maxInFlight: 1, maxQueued: 0 },
    )
    const one = await fetch(urlOf(mongrel2))
    expect(server.stats().inFlight).toBe(0)
    await gate.arrival('rest')
    gate.open('rest')
    expect(await one.text()).toBe('begun, done')
  })

  it('ends with a 504 and an aborted signal after requestTimeout, its place free again', async () => {
    await using mongrel2 = await startMongrel2()
    const logger = new CollectingLogger()
    let aborted: unknown
    await using server = await serve(
      mongrel2,
      (request) =>
        request.url.endsWith('/quick')
          ? new Response('quick')
          : new Promise((resolve) => {
              request.signal.addEventListener('abort', () => {
                aborted = request.signal.reason
                resolve(new Response('late'))
              })
            }),
      { requestTimeout: 100, maxInFlight: 1, logger },
    )
    expect((await fetch(urlOf(mongrel2))).status).toBe(504)
    expect(aborted).toMatchObject({ name: 'TimeoutError' })
    expect(logger.warnings.join()).toContain('requestTimeout')
    expect(await (await fetch(urlOf(mongrel2, '/quick'))).text()).toBe('quick')
    expect(server.stats().inFlight).toBe(0)
  })
})

describe('a connection', () => {
  it('gets pipelined answers in the order of the requests, however they were finished', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    await using _ = await serve(mongrel2, async (request) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/0') await gate.pass('/0')
      if (pathname === '/9') gate.open('/0')
      return new Response(`<${pathname}>`)
    })
    const requests = Array.from({ length: 10 }, (_value, n) => `GET /${n} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join('')
    const text = await exchange(mongrel2, requests, (so_far) => so_far.includes('</9>'))
    expect(text.match(/<\/\d>/g)?.join('')).toBe('</0></1></2></3></4></5></6></7></8></9>')
  })

  it.skipIf(lacks('kept connections'))(
    'survives more pipelined answers in one turn than Mongrel2 lets wait',
    async () => {
      await using mongrel2 = await startMongrel2()
      const gate = new Gate()
      await using _ = await serve(
        mongrel2,
        async (request) => {
          const { pathname } = new URL(request.url)
          if (pathname === '/0') await gate.pass('/0')
          if (pathname === '/39') gate.open('/0')
          return new Response(`<${pathname}>`)
        },
        { maxPipelined: 40 },
      )
      const requests = Array.from({ length: 40 }, (_value, n) => `GET /${n} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(
        '',
      )
      const text = await exchange(mongrel2, requests, (so_far) => so_far.includes('</39>'))
      expect(text.match(/<\/\d+>/g)).toHaveLength(40)
    },
  )

  it('is over when the client leaves: the signal is aborted, the stream cancelled, nothing is kept', async () => {
    await using mongrel2 = await startMongrel2()
    const gate = new Gate()
    const reasons: unknown[] = []
    await using server = await serve(mongrel2, async (request) => {
      if (request.url.endsWith('/stream')) {
        return new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(new TextEncoder().encode('begun')),
            cancel: (reason) => {
              reasons.push(reason)
              gate.open('cancelled')
            },
          }),
        )
      }
      request.signal.addEventListener('abort', () => {
        reasons.push(request.signal.reason)
        gate.open('request')
      })
      await gate.pass('request')
      return new Response('nobody reads this')
    })
    const controller = new AbortController()
    const cancelled = gate.pass('cancelled')
    const answer = fetch(urlOf(mongrel2), { signal: controller.signal })
    const stream = await fetch(urlOf(mongrel2, '/stream'), { signal: controller.signal })
    await gate.arrival('request')
    controller.abort()
    await expect(answer).rejects.toThrow()
    await expect(stream.text()).rejects.toThrow()
    await cancelled
    while (server.stats().inFlight > 0 || server.stats().connections > 0) await sleep(5)
    expect(reasons).toHaveLength(2)
    for (const reason of reasons) expect(reason).toMatchObject({ name: 'AbortError' })
  })

  it.skipIf(lacks('kept connections'))('does not abort the signal of a request that was answered', async () => {
    await using mongrel2 = await startMongrel2()
    let signal: AbortSignal | undefined
    await using server = await serve(mongrel2, (request) => {
      signal = request.signal
      return new Response('done')
    })
    const socket = connectSocket(mongrel2.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
    const { messages } = server.stats()
    socket.destroy()
    while (server.stats().messages === messages) await sleep(5) // the notice
    expect(signal?.aborted).toBe(false)
  })
})

describe.each([
  { mode: 'with flow control', flowControl: true },
  { mode: 'without flow control', flowControl: false },
])('a large response $mode', ({ flowControl }) => {
  const bytes = randomBytes(5 * 1024 * 1024)

  it('arrives whole when it is one buffer, on every request of a keep-alive connection', async () => {
    await using mongrel2 = await startMongrel2({ flowControl })
    await using server = await serve(mongrel2, () => new Response(bytes))
    for (let n = 0; n < 3; n++) {
      const body = await (await fetch(urlOf(mongrel2))).bytes()
      expect(sha256(body)).toBe(sha256(bytes))
    }
    if (flowControl) expect(server.stats().replies).toBeGreaterThan((3 * bytes.length) / 102_400)
  })

  it('arrives whole when it is a stream of a thousand small chunks, each in a turn of its own', async () => {
    await using mongrel2 = await startMongrel2({ flowControl })
    await using _ = await serve(mongrel2, () => {
      let at = 0
      return new Response(
        new ReadableStream({
          async pull(controller) {
            await new Promise((resolve) => setImmediate(resolve))
            controller.enqueue(bytes.subarray(at, at + 1024))
            at += 1024
            if (at >= 1024 * 1024) controller.close()
          },
        }),
      )
    })
    const body = await (await fetch(urlOf(mongrel2))).bytes()
    expect(sha256(body)).toBe(sha256(bytes.subarray(0, 1024 * 1024)))
  })
})

describe('what Mongrel2 says', () => {
  it.each(['json', 'tnetstring'] as const)('reaches the handler in env.mongrel2, headers as %s', async (protocol) => {
    await using mongrel2 = await startMongrel2({ protocol })
    await using _ = await serve(mongrel2, (request, { mongrel2: info }) => Response.json({ url: request.url, info }))
    const answer = (await (await fetch(urlOf(mongrel2, '/a/b?c=d'))).json()) as Record<string, unknown>
    expect(answer).toMatchObject({
      url: `http://127.0.0.1:${mongrel2.port}/a/b?c=d`,
      info: {
        pattern: '/',
        remoteAddress: '127.0.0.1',
        scheme: 'http',
        version: 'HTTP/1.1',
        connectionId: expect.any(Number),
        sender: expect.stringMatching(/^[0-9a-f-]+$/),
        headers: { METHOD: 'GET', URI: '/a/b?c=d', PATH: '/a/b', QUERY: 'c=d', REMOTE_ADDR: '127.0.0.1' },
      },
    })
  })

  it('is corrected by what a trusted proxy says, read from the right', async () => {
    await using mongrel2 = await startMongrel2({ settings: { no_clobber_xff: 1 } })
    await using _ = await serve(
      mongrel2,
      (request, { mongrel2: info }) => Response.json([request.url, info.remoteAddress, info.scheme]),
      {
        trustProxy: 2,
      },
    )
    const headers = {
      'x-forwarded-for': '6.6.6.6, 1.2.3.4, 10.0.0.1',
      'x-forwarded-proto': 'https, http',
      'x-forwarded-host': 'a.example, b.example',
    }
    expect(await (await fetch(urlOf(mongrel2, '/x'), { headers })).json()).toEqual([
      'https://a.example/x',
      '1.2.3.4',
      'https',
    ])
  })

  // Mongrel2 keeps five values of a name: what a proxy appends behind them disappears, and the client's own would be believed.
  it.skipIf(lacks('lenient parser')).each([
    ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-For: 1.2.3.4', ''],
    ['Content-Length: 5', 'Content-Length: 50', 'hello'],
  ])('five times %s is refused, whatever follows', async (line, last, body) => {
    await using mongrel2 = await startMongrel2({ settings: { no_clobber_xff: 1 } })
    await using _ = await serve(mongrel2, (_request, { mongrel2: info }) => new Response(info.remoteAddress), {
      trustProxy: 1,
    })
    const responses = await Promise.all(
      [4, 5, 6].map(async (count) => {
        using client = new RawClient(mongrel2.port)
        const fields = [...Array<string>(count - 1).fill(line), count === 4 ? line : last]
        client.send(request('/', body === '' ? 'GET' : 'POST', `${fields.join('\r\n')}\r\n`) + body)
        return (await client.response()).status
      }),
    )
    expect(responses).toEqual([200, 400, 400])
  })
})
