import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fastCgiRequest, variablesOf } from '../support/cgi-packets.ts'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { residentBytes } from '../support/memory.ts'

// 10,000 connections of each protocol that say nothing. Node raises its limit of open files to the hard one by itself.

/** As many as the default of --http-max-connections. */
const CONNECTIONS = 10_000
/** How many are opened at once. */
const AT_ONCE = 500
const PROTOCOLS = ['http', 'uwsgi', 'fastcgi', 'scgi']
/** Milliseconds, in which all of them are opened. */
const TIME = '30000'

let place: Workplace
let run: CommandRun
let line: string
/** Bytes of the process before there was a connection. */
let before: number

beforeAll(async () => {
  place = new Workplace({ 'app.js': "export default () => new Response('answer')" })
  const flags = PROTOCOLS.flatMap((protocol) => [`--${protocol}`, '127.0.0.1:0'])
  const times = ['--http-headers-timeout', TIME, '--http-keep-alive-timeout', TIME]
  // V8 lets the space of young objects grow when it likes.
  const youngObjects = ['--min-semi-space-size=16', '--max-semi-space-size=16']
  run = place.start([process.execPath, ...youngObjects, MAIN, 'serve', 'app.js', '-p', '1', ...flags, ...times])
  line = (await run.prints(/^mongrel2-fetch serves app\.js at .*$/m))[0]
  before = residentBytes(run.pid)
})

afterAll(async () => {
  await place[Symbol.asyncDispose]()
})

/** The open files of the process that has the connections. */
const files = () => readdirSync(`/proc/${run.pid}/fd`).length

const NONE = Buffer.alloc(0)
const GET = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')

it.each<[protocol: string, what: string, first: Buffer]>([
  ...PROTOCOLS.map((protocol): [string, string, Buffer] => [protocol, 'from the beginning', NONE]),
  ['http', 'after a request', GET],
  ['fastcgi', 'after a request', fastCgiRequest(1, variablesOf('GET', '/'), NONE, true)],
])(
  '10,000 connections by %s that say nothing %s are closed in their time, in flat memory',
  { timeout: 240_000 },
  async (protocol, _, first) => {
    const port = Number(new RegExp(`${protocol}(?:://127\\.0\\.0\\.1| 127\\.0\\.0\\.1):(\\d+)`).exec(line)?.[1])
    const unopened = files()
    const open = async (number: number): Promise<Socket> => {
      const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.1.${1 + (number % 250)}` })
      socket.on('error', () => {})
      await once(socket, 'connect')
      if (first.length > 0) {
        socket.write(first)
        await once(socket, 'data')
      }
      return socket.resume()
    }
    /** Opens them all, and waits until the last is closed; resolves with the most memory. */
    const round = async (): Promise<number> => {
      let most = 0
      let closed = 0
      for (let opened = 0; opened < CONNECTIONS; opened += AT_ONCE) {
        const sockets = await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => open(opened + number)))
        for (const socket of sockets) socket.once('close', () => closed++)
      }
      const sampler = setInterval(() => {
        most = Math.max(most, residentBytes(run.pid))
      }, 100)
      await expect.poll(() => files() - unopened, { timeout: 10_000 }).toBeGreaterThan(CONNECTIONS * 0.99)
      await expect.poll(() => closed, { timeout: 60_000 }).toBe(CONNECTIONS)
      clearInterval(sampler)
      await expect.poll(files).toBeLessThanOrEqual(unopened + 5)
      return most
    }
    // 16 KiB each, of which nothing is left for the second ten thousand to add to.
    for (let again = 0; again < 2; again++) expect((await round()) - before).toBeLessThan(CONNECTIONS * 16 * 1024)
  },
)
