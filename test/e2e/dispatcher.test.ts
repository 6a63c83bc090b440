import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { WebSocket } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { WorkersOptions } from '../../src/cluster/options.ts'
import type { WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import { lacks } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { BrokenResponseError, get, headerOf, RawClient, type RawResponse, request } from '../support/raw-client.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'
import type { Fault } from '../support/worker-app.ts'

let mongrel2: Mongrel2
let server: WorkersServer
let logger: CollectingLogger
let clients: RawClient[]

beforeEach(() => {
  logger = new CollectingLogger()
  clients = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await server.close({ timeout: 1000 })
  await mongrel2.stop()
})

async function start(options: Partial<WorkersOptions> = {}, settings: Mongrel2TestOptions = {}): Promise<void> {
  mongrel2 = await startMongrel2(settings)
  const { options: more, ...rest } = options
  server = serveWithWorkers({
    workers: 2,
    ...rest,
    options: { chroot: mongrel2.directory, logger, ...more, zeromq: mongrel2.endpoint },
  })
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

/** The process of the one worker that has a request in its hands. */
async function busyWorker(): Promise<number> {
  const pid = () => server.stats().workers.find(({ inFlight }) => inFlight > 0)?.pid
  await expect.poll(pid).toBeDefined()
  return Number(pid())
}

/** Resolves when so many workers are ready. */
async function workersReady(count: number): Promise<void> {
  const ready = () => server.stats().workers.filter(({ state }) => state === 'ready').length
  await expect.poll(ready, { timeout: 30_000 }).toBe(count)
}

function blockFor(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

describe('clients that send a body slowly', () => {
  it('keep nobody else out, whoever deals and answers', async () => {
    const options = { maxInFlight: 4, maxQueued: 4, bodyTimeout: 1000, zeromq: [] }
    await start({ workers: 1, options }, { uploads: 'stream' })
    await server.ready
    // Without a byte of the body, the first nine messages are the requests. Then the embedded front sends notices of those refused.
    const slow = Array.from({ length: 9 }, () => connect().send(request('/echo', 'POST', 'Content-Length: 300000\r\n')))
    await expect.poll(() => server.stats().messages).toBeGreaterThanOrEqual(9)
    // The worker has reported which of them wait for their bodies.
    await expect.poll(() => server.stats().queued).toBe(0)
    expect(await Promise.all([1, 2, 3].map(() => get(connect(), '/other')))).toEqual(['/other', '/other', '/other'])
    const statuses = await Promise.all(slow.map(async (client) => (await client.response()).status))
    expect(new Set(statuses)).toEqual(new Set([408, 503]))
    expect(statuses.filter((status) => status === 408).length).toBeGreaterThanOrEqual(4)
  })
})

describe('connections', () => {
  it.skipIf(lacks('kept connections'))(
    'go to one worker after another, stay there, go where the least is, and are forgotten when they are idle',
    async () => {
      await start({ threads: 2 })
      await server.ready
      const met = new Set<string>()
      for (let number = 0; number < 4; number++) {
        using client = new RawClient(mongrel2.port)
        met.add(await get(client, '/worker'))
      }
      expect(met.size).toBe(4)
      const opened = Array.from({ length: 8 }, connect)
      const first = await Promise.all(opened.map((client) => get(client, '/sleep?ms=300')))
      const second = await Promise.all(opened.map((client) => get(client, '/worker')))
      expect(second).toEqual(first)
      const names = [...new Set(first)]
      expect(names.map((name) => first.filter((other) => other === name).length)).toEqual([2, 2, 2, 2])
      await expect.poll(() => server.stats().connections).toBe(0)
      expect(server.stats().workers.map(({ connections }) => connections)).toEqual([0, 0])
    },
  )

  it('get pipelined answers in order', async () => {
    await start()
    await server.ready
    const client = connect()
    client.send(['/sleep?ms=100', '/one', '/two'].map((target) => request(target)).join(''))
    const bodies = [await client.response(), await client.response(), await client.response()]
    expect(bodies.slice(1).map(({ body }) => body.toString())).toEqual(['/one', '/two'])
  })

  it('bring stored and streamed bodies to the worker that began them', async () => {
    await start({ threads: 2 }, { uploads: 'stream' })
    await server.ready
    const body = Buffer.alloc(300_000, 'upload ')
    const echoes = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const client = connect()
        client.send(request('/echo', 'POST', `Content-Length: ${body.length}\r\n`)).send(body)
        return (await client.response()).body.equals(body)
      }),
    )
    expect(echoes).toEqual(Array(8).fill(true))
  })
})

describe('WebSockets', () => {
  /** A WebSocket, the messages that have come over it, and the code that it was closed with. */
  async function open(): Promise<{ socket: WebSocket; messages: string[]; closed: Promise<number> }> {
    const socket = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/socket`)
    const messages: string[] = []
    socket.onmessage = ({ data }) => messages.push(String(data))
    const closed = new Promise<number>((resolve) => {
      socket.onclose = ({ code }) => resolve(code)
    })
    await expect.poll(() => messages.length).toBe(1)
    return { socket, messages, closed }
  }

  it('have their messages in order, on whatever worker, and end with theirs alone', async () => {
    await start({ threads: 2 })
    await server.ready
    const sockets = await Promise.all(Array.from({ length: 16 }, open))
    expect(new Set(sockets.map(({ messages }) => messages[0])).size).toBe(4)
    const sent = Array.from({ length: 200 }, (_, number) => String(number))
    for (const number of sent) for (const { socket } of sockets) socket.send(number)
    for (const { messages } of sockets) {
      await expect.poll(() => messages.length).toBe(201)
      expect(messages.slice(1)).toEqual(sent)
    }
    const pid = server.stats().workers[0]?.pid ?? 0
    process.kill(pid, 'SIGKILL')
    const [lost, kept] = [true, false].map((dead) =>
      sockets.filter(({ messages }) => (Number.parseInt(String(messages[0]), 10) === pid) === dead),
    ) as [typeof sockets, typeof sockets]
    expect(await Promise.all(lost.map(({ closed }) => closed))).toEqual(Array(8).fill(1006))
    for (const { socket, messages } of kept) {
      socket.send('still there')
      await expect.poll(() => messages.at(-1)).toBe('still there')
    }
  })

  it('are taken leave of when their worker has to go, and when all is closed', async () => {
    await start({ workers: 1, replaceTimeout: 0 })
    await server.ready
    const first = await open()
    await server.reload()
    expect(await first.closed).toBe(1001)
    const second = await open()
    await server.close()
    expect(await second.closed).toBe(1001)
    expect(logger.errors).toEqual([])
  })
})

describe('a worker that ends', () => {
  it('leaves a 502 and a closed connection to its client, none to others, and is replaced', async () => {
    await start()
    await server.ready
    const victim = connect()
    victim.send(request('/never'))
    const pid = await busyWorker()
    const other = connect()
    const answer = get(other, '/sleep?ms=500')
    process.kill(pid, 'SIGKILL')
    expect((await victim.response()).statusLine).toBe('HTTP/1.1 502 Bad Gateway')
    await victim.closed
    expect(Number.parseInt(await answer, 10)).not.toBe(pid)
    await workersReady(2)
    expect(logger.errors).toEqual([`mongrel2-fetch lost worker ${pid}: it was ended by SIGKILL`])
  })

  it('leaves a 502 to a request that it never read', async () => {
    await start({ workers: 1 })
    await server.ready
    const pid = server.stats().workers[0]?.pid ?? 0
    process.kill(pid, 'SIGSTOP')
    const client = connect().send(request('/'))
    await busyWorker()
    process.kill(pid, 'SIGKILL')
    expect((await client.response()).status).toBe(502)
    await client.closed
  })

  it('leaves a 502 to a request on a kept connection', async () => {
    await start({ workers: 1 })
    await server.ready
    const client = connect()
    await get(client, '/')
    client.send(request('/exit'))
    expect((await client.response()).status).toBe(502)
    await client.closed
    await expect.poll(() => server.stats().connections).toBe(0)
  })

  it('leaves a stream cut short, with nothing else in it', async () => {
    await start({ workers: 1 })
    await server.ready
    const client = connect().send(request('/stream?count=1000&ms=20'))
    await expect.poll(() => server.stats().messages).toBe(1)
    await sleep(100)
    process.kill(server.stats().workers[0]?.pid ?? 0, 'SIGKILL')
    const broken = await client.response().catch((error: unknown) => error)
    expect(broken).toBeInstanceOf(BrokenResponseError)
    if (!(broken instanceof BrokenResponseError)) return
    expect([broken.head?.status, broken.body.toString().includes('502')]).toEqual([200, false])
    expect(broken.body.toString()).toMatch(/^(\d+ \d+\n)+$/)
  })

  it.skipIf(lacks('kept connections'))(
    'has announced its last words, though the dispatcher hears of them and of its end at once',
    async () => {
      // The next beat is written to the dead before it is read what they said.
      await start({ workers: 1, workerTimeout: 2000 })
      await server.ready
      for (let round = 0; round < 3; round++) {
        await workersReady(1)
        const client = connect().send(request('/last-words?ms=200') + request('/never'))
        await expect.poll(() => server.stats().workers[0]?.requests).toBe(1)
        await sleep(20)
        blockFor(700)
        const broken = await client.response().catch((error: unknown) => error)
        expect(broken).toBeInstanceOf(BrokenResponseError)
        expect((broken as BrokenResponseError).body.toString()).toBe('last words')
      }
    },
  )

  it.skipIf(lacks('stored uploads'))(
    'leaves a 502 to who sends a body as it is read, and to who has stored one, whose file goes',
    async () => {
      await start({ workers: 1 }, { uploads: 'stream' })
      await server.ready
      const streaming = connect().send(request('/never', 'POST', 'Content-Length: 10000000\r\n'))
      streaming.send(Buffer.alloc(1_000_000))
      process.kill(await busyWorker(), 'SIGKILL')
      expect((await streaming.response()).status).toBe(502)
      streaming.destroy()
      await server.close({ timeout: 0 })
      await mongrel2.stop()

      await start({ workers: 1 })
      await server.ready
      const stored = connect()
        .send(request('/never', 'POST', 'Content-Length: 100000\r\n'))
        .send(Buffer.alloc(100_000))
      const pid = await busyWorker()
      await expect.poll(() => server.stats().messages).toBe(2)
      const files = async () => (await readdir(join(mongrel2.directory, 'tmp'))).length
      expect(await files()).toBe(1)
      process.kill(pid, 'SIGKILL')
      expect((await stored.response()).status).toBe(502)
      await expect.poll(files).toBe(0)
    },
  )

  it.each([false, true])(
    'leaves its answers to clients that write all of a body before they read (flow control: %s)',
    async (flowControl) => {
      await start({ workers: 1 }, { uploads: 'stream', flowControl })
      await server.ready
      const answers: unknown[] = []
      for (const [path, chunked] of [
        ['/fail', false],
        ['/never', false],
        ['/never', true],
      ] as const) {
        await workersReady(1)
        const client = connect()
        client.pause()
        const body = Buffer.alloc(12e6, chunked ? `8000\r\n${'x'.repeat(0x8000)}\r\n` : 'x')
        const framing = chunked ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${body.length}\r\n`
        client.send(request(path, 'POST', framing))
        const written = client.written(body)
        if (path === '/never') process.kill(await busyWorker(), 'SIGKILL')
        await written
        client.resume()
        const response = await client.response()
        answers.push([response.status, headerOf(response, 'connection')])
        if (!chunked) await client.closed
        client.destroy()
      }
      expect(answers).toEqual([
        [500, 'close'],
        [502, 'close'],
        [502, 'close'],
      ])
    },
  )

  it('because it gives no sign of life is killed', async () => {
    await start({ workers: 1, workerTimeout: 1000 })
    await server.ready
    const client = connect().send(request('/loop'))
    expect((await client.response()).status).toBe(502)
    expect(logger.errors[0]).toMatch(/it gave no sign of life within workerTimeout, 1000 ms$/)
    await workersReady(1)
  })

  it('as a thread ends alone, and its process is replaced without the others noticing', async () => {
    await start({ workers: 1, threads: 2 })
    await server.ready
    const [victim, other] = [connect(), connect()]
    other.send(request('/sleep?ms=1000'))
    await busyWorker()
    victim.send(request('/exit'))
    expect((await victim.response()).status).toBe(502)
    expect((await other.response()).status).toBe(200)
    await expect.poll(() => server.stats().workers.length).toBe(1)
    await workersReady(1)
  })

  it.each<[number, Fault]>([
    [1, 'a throw in a timer'],
    [2, 'a throw in a timer'],
    [2, 'a rejected promise'],
    [2, 'an error event without a listener'],
    [2, 'a throw of something that is no error'],
  ])(
    'after an error that nobody caught answers what is open, and is replaced, with %d threads: %s',
    async (threads, how) => {
      await start({ workers: 1, threads })
      await server.ready
      const pid = server.stats().workers[0]?.pid
      const end = join(mongrel2.directory, 'end')
      const open: Promise<RawResponse>[] = []
      // One after the other, so that each thread has as many.
      for (const path of ['/wait', '/wait', '/ticks', '/ticks']) {
        const client = connect().send(request(`${path}?for=${encodeURIComponent(end)}`))
        open.push(client.response())
        await expect.poll(() => server.stats().messages).toBe(open.length)
        if (path === '/ticks') await expect.poll(() => client.bytesRead).toBeGreaterThan(0)
      }
      const where = await get(connect(), `/fault?how=${encodeURIComponent(how)}`)
      const lines = () => logger.lines.map(({ line }) => line)
      const replaced = `mongrel2-fetch replaces worker ${pid}: of an error that nobody caught`
      await expect.poll(lines).toContain(replaced)
      await writeFile(end, '')
      const answers = await Promise.all(open)
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
      const texts = answers.map(({ body }) => body.toString())
      // Where there are two threads, each had two of the requests.
      expect(texts.filter((text) => text.startsWith(where))).toHaveLength(4 / threads)
      for (const text of texts.slice(2)) expect(text).toMatch(new RegExp(`^(${pid}\\.\\d+)\n(\\1\n)*\\1 ends\n$`))
      await expect.poll(lines).toContain(`mongrel2-fetch ended worker ${pid}`)
      expect(logger.errors).toEqual([
        expect.stringMatching(
          /^mongrel2-fetch: a worker leaves after an error that nobody caught: .*nobody catches this/,
        ),
      ])
      expect(Number.parseInt(await get(connect(), '/worker'), 10)).toBe(server.stats().workers[0]?.pid)
    },
  )

  it('for an error that nobody caught before it is ready is replaced when it is', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'app-'))
    const module = join(directory, 'app.mjs')
    // Its first worker alone: others find the file.
    await writeFile(
      module,
      `import { existsSync, writeFileSync } from 'node:fs'
      export default () => {
        const first = ${JSON.stringify(join(directory, 'first'))}
        if (!existsSync(first)) setImmediate(() => { throw new Error('at the start') })
        writeFileSync(first, '')
        return { handler: () => new Response(String(process.pid)) }
      }`,
    )
    await start({ workers: 1, app: { module: pathToFileURL(module).href } })
    const replaced = /^mongrel2-fetch replaces worker (\d+): of an error that nobody caught$/m
    await expect.poll(() => logger.lines.map(({ line }) => line).join('\n')).toMatch(replaced)
    const [, pid] = replaced.exec(logger.lines.map(({ line }) => line).join('\n')) ?? []
    await expect
      .poll(() => logger.lines.map(({ line }) => line), { timeout: 20_000 })
      .toContain(`mongrel2-fetch ended worker ${pid}`)
    expect(await get(connect(), '/')).not.toBe(pid)
    await rm(directory, { recursive: true })
  })

  it.each([1, 2])('because it cannot load the app is why the server is not ready, with %d threads', async (threads) => {
    const module = new URL('../support/worker-app.ts', import.meta.url).href
    await start({ workers: 1, threads, app: { module, data: 'not today' } })
    await expect(server.ready).rejects.toMatchObject({
      code: 'load_failed',
      message: expect.stringMatching(/^a worker could not load the app: Error: not today\n {4}at .*worker-app\.ts/),
    })
    expect(logger.errors).toEqual([expect.stringMatching(/^mongrel2-fetch lost worker \d+: Error: not today\n/)])
  })

  it('before it has loaded the app is started again, later and later, and clients get a 503', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'app-'))
    const data = join(directory, 'there')
    const module = new URL('../support/worker-app.ts', import.meta.url).href
    await start({ workers: 1, app: { module, data } })
    await expect.poll(() => logger.errors.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(2)
    expect(logger.errors[0]).toMatch(/it exited with code 7$/)
    const refused = await connect().send(request('/')).response()
    expect(refused.statusLine).toBe('HTTP/1.1 503 Service Unavailable')
    await expect(server.ready).rejects.toThrow('a worker could not load the app: it exited with code 7')
    await writeFile(data, '')
    await workersReady(1)
    expect(await get(connect(), '/')).toBe('/')
    await rm(directory, { recursive: true })
  })
})

describe('workers are replaced', () => {
  it('by reload, without a request that fails, connection or not kept', async () => {
    await start()
    await server.ready
    const before = server.stats().workers.map(({ pid }) => pid)
    let reloading = true
    const seen = new Set<number>()
    const keep = async () => {
      const client = connect()
      let last = 0
      while (reloading) {
        last = Number.parseInt(await get(client, '/worker'), 10)
        seen.add(last)
      }
      return Number.parseInt(await get(client, '/worker'), 10)
    }
    const change = async () => {
      while (reloading) {
        using client = new RawClient(mongrel2.port)
        await get(client, '/worker')
      }
    }
    const kept = Promise.all([keep(), keep(), keep(), keep()])
    const changing = Promise.all([change(), change()])
    await server.reload()
    reloading = false
    await changing
    const after = server.stats().workers.map(({ pid }) => pid)
    for (const pid of await kept) expect(after).toContain(pid)
    expect(before.some((pid) => after.includes(pid))).toBe(false)
    expect(logger.errors).toEqual([])
  })

  it('by reload, and finish a stream that is open', async () => {
    await start({ workers: 1 })
    await server.ready
    const client = connect().send(request('/stream?count=60&ms=100'))
    await expect.poll(() => server.stats().messages).toBe(1)
    await sleep(300)
    await server.reload()
    const { body } = await client.response()
    expect(body.toString().trim().split('\n')).toHaveLength(60)
    expect(new Set(body.toString().match(/^\d+/gm)).size).toBe(1)
  })

  it('by reload, with the balance of their connections, where Mongrel2 has flow control on', async () => {
    await start({ workers: 1 }, { flowControl: true })
    await server.ready
    const client = connect()
    for (let round = 0; round < 3; round++) {
      expect(await get(client, '/bytes?size=500000')).toHaveLength(500_000)
      if (round === 0) await server.reload()
    }
    expect(logger.errors).toEqual([])
  })

  it('by reload, but not when the app does not load: the old ones stay', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'app-'))
    const data = join(directory, 'there')
    await writeFile(data, '')
    const module = new URL('../support/worker-app.ts', import.meta.url).href
    await start({ workers: 1, app: { module, data } })
    await server.ready
    const pid = server.stats().workers[0]?.pid
    await rm(data)
    await expect(server.reload()).rejects.toThrow('a worker could not load the app: it exited with code 7')
    expect(Number.parseInt(await get(connect(), '/worker'), 10)).toBe(pid)
    await writeFile(data, '')
    await server.reload()
    expect(Number.parseInt(await get(connect(), '/worker'), 10)).not.toBe(pid)
    await rm(directory, { recursive: true })
  })

  it('after maxRequests, and when they have more memory than maxRss', async () => {
    await start({ workers: 1, maxRequests: 5 })
    await server.ready
    const client = connect()
    const pids = new Set<string>()
    while (pids.size < 3) pids.add(await get(client, '/worker'))
    expect(logger.errors).toEqual([])
    await server.close()
    await mongrel2.stop()

    await start({ workers: 1, maxRss: 600 * 1024 * 1024 })
    await server.ready
    const pid = server.stats().workers[0]?.pid
    await get(connect(), `/leak?bytes=${700 * 1024 * 1024}`)
    await expect.poll(() => server.stats().workers.map((worker) => worker.pid)).not.toContain(pid)
    expect(logger.errors).toEqual([])
  })
})

it.each([1, 2])('logs the lines of workers with %d threads as its own', async (threads) => {
  await start({ workers: 1, threads })
  await server.ready
  expect((await connect().send(request('/fail')).response()).status).toBe(500)
  await expect.poll(() => logger.errors).toEqual([expect.stringContaining('Error: the handler fails')])
})

it('serves the next life of Mongrel2', async () => {
  await start()
  await server.ready
  const client = connect().send(request('/never'))
  await busyWorker()
  await mongrel2.restart({ signal: 'SIGKILL' })
  await client.closed
  expect(await get(connect(), '/')).toBe('/')
  expect(server.stats().workers.every(({ state }) => state === 'ready')).toBe(true)
})

it('gives each worker so many requests at once, lets so many wait and refuses the rest', async () => {
  await start({ options: { zeromq: '', maxInFlight: 2, maxQueued: 3 } })
  await server.ready
  const answers = Array.from({ length: 9 }, () => connect().send(request('/sleep?ms=500')).response())
  const statuses = (await Promise.all(answers)).map(({ status }) => status).sort()
  expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 200, 503, 503])
})

it('leaves clients connected when it closes, for the next to serve', async () => {
  await start({ workers: 1 })
  await server.ready
  const client = connect()
  const first = await get(client, '/worker')
  await server.close()
  server = serveWithWorkers({
    workers: 1,
    options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger },
  })
  await server.ready
  expect(await get(client, '/worker')).not.toBe(first)
})

it('answers all it has received before it closes', async () => {
  await start()
  await server.ready
  const answers = Array.from({ length: 20 }, () => connect().send(request('/sleep?ms=300')).response())
  await expect.poll(() => server.stats().messages).toBe(20)
  await server.close()
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(server.stats().workers).toEqual([])
  expect(logger.errors).toEqual([])
})

it('leaves workers that answer what they have and end, when the dispatcher is killed', async () => {
  await start({ workers: 1 })
  await server.close()
  const entry = fileURLToPath(new URL('../support/dispatcher-process.ts', import.meta.url))
  const hook = new URL('../support/register-tsx.mjs', import.meta.url).href
  const dispatcher = spawn(process.execPath, ['--import', hook, entry, mongrel2.endpoint, mongrel2.directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = (await once(dispatcher.stdout, 'data')) as [Buffer]
    const workers = line.toString().trim().split(' ').map(Number)
    const answer = connect().send(request('/sleep?ms=1000')).response()
    await sleep(300)
    dispatcher.kill('SIGKILL')
    expect(workers).toContain(Number.parseInt((await answer).body.toString(), 10))
    await expect.poll(() => workers.filter(isAlive)).toEqual([])
  } finally {
    dispatcher.kill('SIGKILL')
  }
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
