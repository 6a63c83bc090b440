import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { fastCgiRequest, variablesOf } from '../support/cgi-packets.ts'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { residentBytes } from '../support/memory.ts'

// 10,000 connections of each protocol that say nothing. Node raises its limit of open files to the hard one by itself.

/** As many as the default of --http-max-connections. */
const CONNECTIONS = 10_000
/** How many are opened at once. */
const AT_ONCE = 500
const PROTOCOLS = ['http', 'uwsgi', 'fastcgi', 'scgi']
/** Bytes of memory that the process may have at most, with what V8 does not collect at once. */
const MOST = 256 * 1024 * 1024
/** Milliseconds, in which all of them are opened. */
const TIME = '30000'

let place: Workplace
let run: CommandRun

beforeEach(() => {
  place = new Workplace({ 'app.js': "export default () => new Response('answer')" })
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

/** Serves by a protocol; resolves with the port. */
async function serve(protocol: string): Promise<number> {
  const times = ['--http-headers-timeout', TIME, '--http-keep-alive-timeout', TIME]
  // V8 lets the space of young objects grow when it likes.
  const youngObjects = ['--min-semi-space-size=16', '--max-semi-space-size=16']
  const flags = ['-p', '1', `--${protocol}`, '127.0.0.1:0', ...times]
  run = place.start([process.execPath, ...youngObjects, MAIN, 'serve', 'app.js', ...flags])
  return Number((await run.prints(/^mongrel2-fetch serves app\.js at .*:(\d+)/m))[1])
}

/** The open files of the process that has the connections. */
const files = () => readdirSync(`/proc/${run.pid}/fd`).length

const NONE = Buffer.alloc(0)
const GET = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')

it.each<[count: number, protocol: string, what: string, first: Buffer]>([
  ...PROTOCOLS.map((protocol): [number, string, string, Buffer] => [CONNECTIONS, protocol, 'from the beginning', NONE]),
  [2000, 'http', 'after a request', GET],
  [2000, 'fastcgi', 'after a request', fastCgiRequest(1, variablesOf('GET', '/'), NONE, true)],
])(
  '%i connections by %s that say nothing %s are closed in their time, in flat memory',
  { timeout: 240_000 },
  async (count, protocol, _, first) => {
    const port = await serve(protocol)
    const unopened = files()
    let closed = 0
    const open = async (number: number): Promise<void> => {
      const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.1.${1 + (number % 250)}` })
      socket.on('error', () => {}).on('close', () => closed++)
      await once(socket, 'connect')
      if (first.length > 0) {
        socket.write(first)
        await once(socket, 'data')
      }
      socket.resume()
    }
    /** Opens them all, and waits until the last is closed; resolves with the most memory. */
    const round = async (): Promise<number> => {
      let most = 0
      closed = 0
      for (let opened = 0; opened < count; opened += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => open(opened + number)))
      }
      const sampler = setInterval(() => {
        most = Math.max(most, residentBytes(run.pid))
      }, 100)
      await expect.poll(() => files() - unopened, { timeout: 10_000 }).toBeGreaterThan(count * 0.99)
      await expect.poll(() => closed, { timeout: 60_000 }).toBe(count)
      clearInterval(sampler)
      await expect.poll(files).toBeLessThanOrEqual(unopened + 5)
      return most
    }
    for (let again = 0; again < 2; again++) expect(await round()).toBeLessThan(MOST)
  },
)
