import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Deferred, deferred } from '../../src/runtime/promises.ts'
import { type CommandRun, Workplace } from '../support/command.ts'
import { CLIENTS, loadWorkers } from '../support/load-workers.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { SlowClient } from '../support/slow-client.ts'

const APP = resolve('test/full/command/app.mjs')
/** How long load lasts, in milliseconds. */
const DURATION = 30_000
/** How long a request may be open, in milliseconds. */
const LONGEST = 1000
/** How often that is looked at, in milliseconds. */
const TICK = 10

let place: Workplace
let mongrel2: Mongrel2

beforeEach(() => {
  place = new Workplace()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

/** Serves the app and resolves when it does. */
async function serve(args: readonly string[], options: Mongrel2TestOptions = {}): Promise<CommandRun> {
  mongrel2 = await startMongrel2(options)
  const endpoint = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
  const run = place.run(['serve', APP, ...endpoint, ...args])
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

/** The workers that have come up and are not gone, as far as the log says. */
function workersOf({ stderr }: CommandRun): number[] {
  const workers = new Set<number>()
  for (const [, what, pid] of stderr.matchAll(/^mongrel2-fetch (started|lost|ended) worker (\d+)/gm)) {
    if (what === 'started') workers.add(Number(pid))
    else workers.delete(Number(pid))
  }
  return [...workers]
}

async function stop(run: CommandRun): Promise<void> {
  run.signal('SIGTERM')
  expect(await run.ended).toBe(0)
}

it('1,000 WebSockets have their messages in order across two processes of two threads', async () => {
  const run = await serve(['-p', '2', '--threads', '2'])
  const open = async (number: number) => {
    const received: string[] = []
    const socket = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/socket`)
    await once(socket, 'open')
    const done = new Promise<void>((resolve, reject) => {
      socket.on('message', (data) => {
        received.push(String(data))
        if (received.length === 50) resolve()
      })
      socket.on('close', () => reject(new Error(`socket ${number} ended after ${received.length} messages`)))
      socket.on('error', reject)
    })
    done.catch(() => {}) // it is waited for below
    return { number, socket, received, done }
  }
  const sockets: Awaited<ReturnType<typeof open>>[] = []
  while (sockets.length < 1000) {
    sockets.push(...(await Promise.all(Array.from({ length: 50 }, (_, n) => open(sockets.length + n)))))
  }
  // All of them at once, two messages in a turn.
  for (let n = 0; n < 50; n += 2) {
    for (const { number, socket } of sockets) {
      socket.send(`${number}-${n}`)
      socket.send(`${number}-${n + 1}`)
    }
    await sleep(10)
  }
  await Promise.all(sockets.map(({ done }) => done))
  const workers = new Set<string>()
  for (const { number, received } of sockets) {
    const [worker = ''] = received[0]?.split(' ') ?? []
    workers.add(worker)
    expect(received).toEqual(Array.from({ length: 50 }, (_, n) => `${worker} ${n} ${number}-${n}`))
  }
  expect(workers.size).toBe(4)
  for (const { socket } of sockets) socket.terminate()
  await stop(run)
}, 120_000)

it('uploads by stream and downloads by credits arrive whole across two processes of two threads', async () => {
  const run = await serve(['-p', '2', '--threads', '2'], { uploads: 'stream', flowControl: true })
  const workers = new Set<string>()
  const upload = async (number: number) => {
    const body = Buffer.alloc(2 * 1024 * 1024, `the upload number ${number} `)
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}/digest`, { method: 'POST', body })
    const { worker, sha256 } = (await response.json()) as { worker: string; sha256: string }
    workers.add(worker)
    expect(sha256).toBe(createHash('sha256').update(body).digest('hex'))
  }
  const expected = createHash('sha256')
  for (let n = 0; n < 256; n++) expected.update(Buffer.alloc(16_384, `the chunk number ${n} `))
  const digest = expected.digest('hex')
  const download = async (number: number) => {
    using client = new SlowClient(mongrel2.port, number % 2 === 0 ? {} : { rate: 2 * 1024 * 1024 })
    // The second takes what the first has left of the balance.
    for (let round = 0; round < 2; round++) {
      const { status, sha256, headers } = await client.get('/download?count=256').response()
      workers.add(headers.get('worker') ?? '')
      expect({ status, sha256 }).toEqual({ status: 200, sha256: digest })
    }
  }
  await Promise.all(
    Array.from({ length: 16 }, (_, number) => [upload(number), upload(number), download(number)]).flat(),
  )
  expect(workers.size).toBe(4)
  await stop(run)
}, 120_000)

/**
 * How long requests are open. What is counted are ticks of a timer here and not the clock: while this process stands still, so do
 * its requests.
 */
class Ages implements Disposable {
  /** In milliseconds. */
  longest = 0
  readonly #open = new Set<{ age: number; readonly overdue: Deferred<'hangs'> }>()
  readonly #timer = setInterval(() => this.#tick(), TICK)

  /** Waits for a request, but no longer than one may take. */
  async of<T>(request: Promise<T>): Promise<T | 'hangs'> {
    const one = { age: 0, overdue: deferred<'hangs'>() }
    this.#open.add(one)
    const outcome = await Promise.race([request, one.overdue.promise])
    this.#open.delete(one)
    return outcome
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    for (const one of this.#open) {
      one.age += TICK
      this.longest = Math.max(this.longest, one.age)
      if (one.age > LONGEST) one.overdue.resolve('hangs')
    }
  }
}

function load(ages: Ages): ReturnType<typeof loadWorkers> {
  return loadWorkers(mongrel2.port, DURATION, { within: (request) => ages.of(request), pause: 20 })
}

it('ends every request of 64 clients within a second while a worker is killed every 200 ms', async () => {
  const run = await serve(['-p', '4'])
  using ages = new Ages()
  let killed = 0
  const killing = setInterval(() => {
    const workers = workersOf(run)
    const victim = workers[Math.floor(Math.random() * workers.length)]
    if (victim === undefined) return
    try {
      process.kill(victim, 'SIGKILL')
      killed++
    } catch {
      // It is gone, and the line that says so is on its way.
    }
  }, 200)
  const outcomes = await load(ages)
  clearInterval(killing)
  console.log({ killed, longest: ages.longest, ...outcomes })
  expect({ wrong: outcomes.wrong, hangs: outcomes.hangs }).toEqual({ wrong: 0, hangs: 0 })
  expect(killed).toBeGreaterThan(20)
  expect(outcomes.answered).toBeGreaterThan(CLIENTS)
  await stop(run)
}, 120_000)

it('answers every request of 64 clients while SIGHUP comes again and again', async () => {
  const run = await serve(['-p', '2', '--threads', '2'])
  using ages = new Ages()
  const count = (line: RegExp) => run.stderr.match(line)?.length ?? 0
  let over = false
  const loading = load(ages).finally(() => {
    over = true
  })
  let hangups = 0
  while (!over) {
    // The second of two may come before the workers of the first are there, and starts over.
    for (let again = 0; again < 2; again++) {
      run.signal('SIGHUP')
      hangups++
      await expect.poll(() => count(/^mongrel2-fetch got SIGHUP/gm)).toBe(hangups)
      await sleep(500)
    }
    await expect.poll(() => count(/^mongrel2-fetch has replaced its workers$/gm), { timeout: 60_000 }).toBe(hangups)
  }
  const outcomes = await loading
  console.log({ hangups, longest: ages.longest, ...outcomes })
  expect(outcomes).toEqual({ answered: outcomes.answered, refused: 0, closed: 0, wrong: 0, hangs: 0 })
  await stop(run)
  expect(run.stderr).not.toMatch(/lost/)
}, 180_000)
