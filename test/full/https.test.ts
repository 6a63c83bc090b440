// The command's HTTP and HTTPS with clients that people use: curl by each version of HTTP, h2load, Chromium.

import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeCertificate } from '../support/certificate.ts'
import { type CommandRun, Workplace } from '../support/command.ts'

const LIBRARY = new URL('../../dist/src/index.js', import.meta.url).href
const CHROMIUM = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
const SIZE = 10 * 1024 * 1024

const APP = `import { upgradeWebSocket } from '${LIBRARY}'
const parts = (count) => new ReadableStream({
  async pull(controller) {
    if (count-- === 0) return controller.close()
    controller.enqueue(new TextEncoder().encode('data: ' + count + '\\n\\n'))
    await new Promise((resolve) => setTimeout(resolve, 20))
  },
})
export default async (request) => {
  const { pathname } = new URL(request.url)
  if (pathname === '/echo') return new Response(request.body)
  if (pathname === '/whole') return new Response(await request.arrayBuffer())
  if (pathname === '/events') return new Response(parts(5), { headers: { 'content-type': 'text/event-stream' } })
  if (pathname === '/endless') return new Response(parts(-1))
  if (pathname === '/socket') {
    const { socket, response } = upgradeWebSocket(request)
    socket.onmessage = ({ data }) => socket.send(data)
    return response
  }
  return new Response('<!doctype html><title>page</title>', { headers: { 'content-type': 'text/html' } })
}
`

let place: Workplace

beforeEach(() => {
  place = new Workplace({ 'app.js': APP })
  const { cert, key } = makeCertificate()
  place.write('cert.pem', cert)
  place.write('key.pem', key)
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

async function serve(secure: boolean, ...flags: string[]): Promise<{ run: CommandRun; url: string }> {
  const tls = secure ? ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'] : []
  const run = place.run(['serve', 'app.js', '--http', '127.0.0.1:0', ...tls, ...flags])
  const [, url = ''] = await run.prints(/^mongrel2-fetch serves app\.js at (https?:\S+\/)/m)
  return { run, url: url.replace('127.0.0.1', 'localhost') }
}

async function program(name: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(name, args, { cwd: place.directory, maxBuffer: SIZE })).stdout
}

describe.each([
  ['http', '--http1.0', '1.1'], // Node's answers have this version
  ['http', '--http1.1', '1.1'],
  ['https', '--http1.0', '1.1'],
  ['https', '--http1.1', '1.1'],
  ['https', '--http2', '2'],
])('curl by %s with %s', (scheme, flag, version) => {
  const curl = (...args: string[]) => program('curl', '-sS', '--cacert', 'cert.pem', '--max-time', '60', flag, ...args)

  it.each([[], ['-p', '2']])(
    'sends and gets 10 MiB, gets events one by one, keeps its connection',
    async (...flags) => {
      const { run, url } = await serve(scheme === 'https', ...flags)
      writeFileSync(join(place.directory, 'large'), randomBytes(SIZE))
      const large = readFileSync(join(place.directory, 'large'))
      const framings = [['--data-binary', '@large'], ...(flag === '--http1.0' ? [] : [['-T', '-', '-X', 'POST']])]
      for (const framing of framings) {
        const command = `curl -sS --cacert cert.pem --max-time 60 ${flag} ${framing.join(' ')} -o back -w '%{http_version} %{http_code}' ${url}echo < large`
        expect(await program('sh', '-c', command)).toBe(`${version} 200`)
        expect(readFileSync(join(place.directory, 'back')).equals(large)).toBe(true)
      }
      expect(await curl('-N', `${url}events`)).toBe([4, 3, 2, 1, 0].map((n) => `data: ${n}\n\n`).join(''))
      const twice = await curl(url, url, '-o', 'a', '-o', 'b', '-w', '%{num_connects}')
      expect(twice).toBe(flag === '--http1.0' ? '11' : '10')
      await expect(curl('--max-time', '1', `${url}endless`)).rejects.toMatchObject({ code: 28 })
      run.signal('SIGTERM')
      expect(await run.ended).toBe(0)
    },
  )
})

it('curl with HTTP/2 is refused without TLS', async () => {
  const { url } = await serve(false)
  await expect(program('curl', '-sS', '--max-time', '10', '--http2-prior-knowledge', url)).rejects.toThrow()
  expect(await program('curl', '-sS', '--http2', '-o', 'a', '-w', '%{http_version} %{http_code}', url)).toBe('1.1 200')
})

describe.each([[[]], [['-p', '2']]])('h2load with %j', (flags) => {
  it.each([[[]], [['--h1']]])(
    '%j gets 50,000 answers without an error, through reloads and a new certificate',
    async (args) => {
      const { run, url } = await serve(true, ...flags)
      const loading = program('h2load', ...args, '-n', '50000', '-c', '20', '-m', args.length === 0 ? '50' : '1', url)
      for (let reload = 0; reload < 3; reload++) {
        const { cert, key } = makeCertificate()
        place.write('cert.pem', cert)
        place.write('key.pem', key)
        run.signal('SIGHUP')
        await expect.poll(() => run.stderr.match(/has read its certificate anew/g)?.length).toBe(reload + 1)
      }
      expect(await loading).toContain(
        '50000 total, 50000 started, 50000 done, 50000 succeeded, 0 failed, 0 errored, 0 timeout',
      )
    },
  )
})

it('uploads that nobody reads, 95 at once on a connection, keep no other request of it from its answer', async () => {
  const { url } = await serve(true)
  const ca = readFileSync(join(place.directory, 'cert.pem'))
  const session = connect(url, { ca, maxSessionMemory: 1000 })
  try {
    // With all 100 streams in use, Node from 24 on refuses one that is opened while it still removes the one before.
    const stalled = Array.from({ length: 95 }, () => session.request({ ':path': '/echo', ':method': 'POST' }))
    for (const stream of stalled) stream.on('error', () => {}).write(Buffer.alloc(1_000_000))
    for (let number = 0; number < 100; number++) {
      const [headers] = await once(session.request({ ':path': '/' }).resume(), 'response')
      expect(headers[':status']).toBe(200)
    }
  } finally {
    session.destroy()
  }
})

describe('Chromium', () => {
  it.each([
    ['http', 'http/1.1'],
    ['https', 'h2'],
  ])('by %s loads a page by %s, uploads, reads events and opens a WebSocket', async (scheme, protocol) => {
    const { url } = await serve(scheme === 'https', '-p', '2')
    // Its sandbox does not work for root.
    const browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
    try {
      const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage()
      await page.goto(url)
      // Runs in the page. Browsers read no answer before they have sent the body.
      const seen = await page.evaluate(`(async () => {
        const [navigation] = performance.getEntriesByType('navigation')
        const body = new Blob([new Uint8Array(${SIZE}).fill(7)])
        const echo = new Uint8Array(await (await fetch('/whole', { method: 'POST', body })).arrayBuffer())
        const events = await new Promise((resolve) => {
          const all = []
          const source = new EventSource('/events')
          source.onmessage = ({ data }) => { if (all.push(data) === 5) { source.close(); resolve(all) } }
        })
        const socket = new WebSocket(location.href.replace('http', 'ws') + 'socket')
        const said = await new Promise((resolve, reject) => {
          socket.onopen = () => socket.send('hello')
          socket.onmessage = ({ data }) => resolve(data)
          socket.onerror = () => reject(new Error('the WebSocket failed'))
        })
        return { protocol: navigation.nextHopProtocol, echo: [echo.length, echo.every((byte) => byte === 7)], events, said }
      })()`)
      expect(seen).toEqual({ protocol, echo: [SIZE, true], events: ['4', '3', '2', '1', '0'], said: 'hello' })
    } finally {
      await browser.close()
    }
  })
})
