import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeCertificate } from '../support/certificate.ts'
import { fastCgiRequest, scgiPacket, uwsgiPacket, variablesOf } from '../support/cgi-packets.ts'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { residentBytes } from '../support/memory.ts'

// 10,000 connections of each protocol that say nothing. Node raises its limit of open files to the hard one by itself.

/** As many as the default of --http-max-connections. */
const CONNECTIONS = 10_000
/** How many are opened at once. */
const AT_ONCE = 500
/** Bytes of memory that the process may have at most, with what V8 does not collect at once. */
const MOST = 320 * 1024 * 1024
/** The same with TLS, whose connections have some 30 KB more each. */
const MOST_BY_TLS = 640 * 1024 * 1024
/** Milliseconds, in which all of them are opened. */
const TIME = 30_000
/** The same with TLS, which has handshakes. */
const TIME_BY_TLS = 90_000

let place: Workplace
let run: CommandRun

beforeEach(() => {
  const { cert, key } = makeCertificate()
  place = new Workplace({ 'app.js': "export default () => new Response('answer')", 'cert.pem': cert, 'key.pem': key })
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

/** Serves by a protocol, whose clients have a time; resolves with the port. */
async function serve(protocol: string, milliseconds: number): Promise<number> {
  const time = String(milliseconds)
  const times = ['--http-headers-timeout', '--http-keep-alive-timeout', '--body-timeout'].flatMap((flag) => [
    flag,
    time,
  ])
  // V8 lets the space of young objects grow when it likes.
  const youngObjects = ['--min-semi-space-size=16', '--max-semi-space-size=16']
  const tls = protocol === 'https' ? ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'] : []
  const flags = ['-p', '1', `--${protocol.replace('https', 'http')}`, '127.0.0.1:0', ...times, ...tls]
  run = place.start([process.execPath, ...youngObjects, MAIN, 'serve', 'app.js', ...flags])
  return Number((await run.prints(/^mongrel2-fetch serves app\.js at .*:(\d+)/m))[1])
}

/** The open files of the process that has the connections. */
const files = () => readdirSync(`/proc/${run.pid}/fd`).length

const NONE = Buffer.alloc(0)
const GET = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
/** Without its body. */
const POST = variablesOf('POST', '/', 'hello')

/** When a connection falls silent, and what was sent until then. By uwsgi and SCGI a connection ends with its answer. */
const SILENCES: [protocol: string, when: string, sent: Buffer][] = [
  ...['http', 'https', 'uwsgi', 'fastcgi', 'scgi'].map((protocol): [string, string, Buffer] => [
    protocol,
    'from the beginning',
    NONE,
  ]),
  ['http', 'after a request', GET],
  ['https', 'after a request', GET],
  ['fastcgi', 'after a request', fastCgiRequest(1, variablesOf('GET', '/'), NONE, true)],
  ['uwsgi', 'before the body', uwsgiPacket(POST)],
  ['scgi', 'before the body', scgiPacket(POST)],
]

it.each(SILENCES)(
  '10,000 connections by %s that say nothing %s are closed in their time, in flat memory',
  { timeout: 600_000 },
  async (protocol, when, sent) => {
    const secure = protocol === 'https' && sent.length > 0
    const port = await serve(protocol, secure ? TIME_BY_TLS : TIME)
    const unopened = files()
    let closed = 0
    const open = async (number: number): Promise<void> => {
      const plain = connect({ host: '127.0.0.1', port, localAddress: `127.0.1.${1 + (number % 250)}` })
      plain.on('error', () => {}).on('close', () => closed++)
      await once(plain, 'connect')
      const socket = secure ? connectSecurely({ socket: plain, rejectUnauthorized: false }) : plain
      if (secure)
        await once(
          socket.on('error', () => {}),
          'secureConnect',
        )
      socket.write(sent)
      if (when === 'after a request') await once(socket, 'data')
      socket.resume()
    }
    /** Opens them all, and waits until the last is closed; resolves with the most memory. */
    const round = async (): Promise<number> => {
      let most = 0
      closed = 0
      const sampler = setInterval(() => {
        most = Math.max(most, residentBytes(run.pid))
      }, 100)
      try {
        for (let opened = 0; opened < CONNECTIONS; opened += AT_ONCE) {
          await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => open(opened + number)))
        }
        await expect.poll(() => files() - unopened, { timeout: 10_000 }).toBeGreaterThan(CONNECTIONS * 0.99)
        await expect.poll(() => closed, { timeout: 2 * TIME_BY_TLS }).toBe(CONNECTIONS)
      } finally {
        clearInterval(sampler)
      }
      await expect.poll(files).toBeLessThanOrEqual(unopened + 5)
      return most
    }
    for (let again = 0; again < 2; again++)
      expect(await round()).toBeLessThan(protocol === 'https' ? MOST_BY_TLS : MOST)
  },
)
