import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { residentBytes } from '../support/memory.ts'
import { startFrontServers, WAYS, type Way } from './front-servers/through.ts'

// The command behind each front server: large bodies, reloads, and workers that die.

const GIB = 1024 ** 3
const PIECE = Buffer.alloc(64 * 1024, 'x')
const PROTOCOLS = ['http', 'uwsgi', 'fastcgi', 'scgi']
/** Those that keep no bodies: cgi-fcgi is run by a server of ours, which does. */
const STREAMING = WAYS.filter((way) => way !== 'cgi-fcgi' && !way.endsWith('buffering on'))

const APP = `
const piece = Buffer.alloc(65536, 'x')
export default async (request) => {
  const { pathname, searchParams } = new URL(request.url)
  if (pathname === '/count') {
    let bytes = 0
    for await (const piece of request.body ?? []) bytes += piece.length
    return Response.json(bytes)
  }
  if (pathname === '/large') {
    let left = Number(searchParams.get('bytes'))
    return new Response(new ReadableStream({
      pull(controller) {
        if (left <= 0) return controller.close()
        left -= piece.length
        controller.enqueue(piece)
      },
    }))
  }
  if (pathname === '/never') { console.log('waits in ' + process.pid); await new Promise(() => {}) }
  return new Response(String(process.pid))
}
`

let place: Workplace
let run: CommandRun
let ways: readonly Way[]
let stop: () => Promise<unknown>

beforeAll(async () => {
  place = new Workplace({ 'app.js': APP })
  const flags = PROTOCOLS.flatMap((protocol) => [`--${protocol}`, '127.0.0.1:0'])
  // V8 lets the space of young objects grow when it likes.
  const youngObjects = ['--min-semi-space-size=16', '--max-semi-space-size=16']
  run = place.start([process.execPath, ...youngObjects, MAIN, 'serve', 'app.js', '-p', '2', ...flags])
  const [line] = await run.prints(/^mongrel2-fetch serves app\.js at .*$/m)
  const at = (protocol: string) => new RegExp(`${protocol}(?:://| )(127\\.0\\.0\\.1:\\d+)`).exec(line)?.[1] ?? ''
  const started = await startFrontServers(at)
  ways = started.ways
  stop = () => Promise.all(started.servers.map((one) => one[Symbol.asyncDispose]()))
})

afterAll(async () => {
  await stop?.()
  await place[Symbol.asyncDispose]()
})

const originOf = (way: string) => `http://127.0.0.1:${ways.find(({ name }) => name === way)?.port}`

/** The processes of the command. */
function processes(): number[] {
  const pid = run.pid
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
  return [pid, ...children]
}

async function upload(origin: string, size: number): Promise<string> {
  const sending = request(`${origin}/count`, { method: 'POST', headers: { 'content-length': size } })
  const answered = once(sending, 'response')
  await pipeline(function* () {
    for (let sent = 0; sent < size; sent += PIECE.length) yield PIECE
  }, sending)
  const [response] = (await answered) as [IncomingMessage]
  return await text(response)
}

async function download(origin: string, size: number): Promise<string> {
  const [response] = (await once(request(`${origin}/large?bytes=${size}`).end(), 'response')) as [IncomingMessage]
  let bytes = 0
  for await (const piece of response) bytes += piece.length
  return String(bytes)
}

describe.each(STREAMING)('Through %s', (way) => {
  it.each([
    ['up', upload],
    ['down', download],
  ])('1 GiB %s goes through in flat memory', { timeout: 300_000 }, async (_, transfer) => {
    const pids = processes()
    let most = 0
    const sampler = setInterval(() => {
      most = Math.max(most, ...pids.map(residentBytes))
    }, 50)
    expect(await transfer(originOf(way), GIB)).toBe(String(GIB))
    clearInterval(sampler)
    expect(most).toBeLessThan(GIB / 4)
  })
})

describe('Behind nginx', () => {
  const nginx = WAYS.filter((way) => way.startsWith('nginx') && way.endsWith('off'))

  /** Asks by every way, by several clients with kept connections, until it is told to stop; resolves with the statuses. */
  function load(over: AbortSignal): Promise<Map<number, number>> {
    const statuses = new Map<number, number>()
    const client = async (way: string) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      while (!over.aborted) {
        const asked = request(`${originOf(way)}/`, { agent }).end()
        const [response] = (await once(asked, 'response')) as [IncomingMessage]
        await text(response)
        const { statusCode = 0 } = response
        statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
      }
      agent.destroy()
    }
    return Promise.all([...nginx, ...nginx].map(client)).then(() => statuses)
  }

  const count = (line: RegExp) => run.stderr.match(line)?.length ?? 0

  it('no request fails while SIGHUP replaces the workers', { timeout: 60_000 }, async () => {
    const over = new AbortController()
    const loading = load(over.signal)
    for (let reload = 1; reload <= 3; reload++) {
      run.signal('SIGHUP')
      await expect.poll(() => count(/has replaced its workers$/gm), { timeout: 20_000 }).toBe(reload)
    }
    over.abort()
    expect([...(await loading).keys()]).toEqual([200])
  })

  it('a worker that is killed fails the requests alone that it had', { timeout: 60_000 }, async () => {
    const over = new AbortController()
    const loading = load(over.signal)
    const printed = run.stdout.length
    const held = nginx.map((way) => fetch(`${originOf(way)}/never`))
    const waits = () => [...run.stdout.slice(printed).matchAll(/^waits in (\d+)$/gm)].map(([, pid]) => Number(pid))
    await expect.poll(() => waits().length).toBe(nginx.length)
    for (const pid of new Set(waits())) {
      const started = count(/started worker/g)
      process.kill(pid, 'SIGKILL')
      await expect.poll(() => count(/started worker/g), { timeout: 20_000 }).toBe(started + 1)
    }
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual(nginx.map(() => 502))
    over.abort()
    const statuses = await loading
    expect(statuses.get(200)).toBeGreaterThan(nginx.length)
    // The clients of the load have a request at a time.
    statuses.delete(200)
    expect([...statuses.keys()].filter((status) => status !== 502)).toEqual([])
    expect(statuses.get(502) ?? 0).toBeLessThanOrEqual(2 * 2 * nginx.length)
  })
})
