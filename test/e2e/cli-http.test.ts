import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { WebSocket } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeCertificate, sha1Of, type TestCertificate } from '../support/certificate.ts'
import { fastCgiRequest, scgiPacket, uwsgiPacket, variablesOf } from '../support/cgi-packets.ts'
import { type CommandRun, Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { startMongrel2 } from '../support/mongrel2.ts'

/** Installed beside the app, as far as the tests are concerned. */
const LIBRARY = new URL('../../dist/src/index.js', import.meta.url).href

const APP = `import { upgradeWebSocket } from '${LIBRARY}'
export default async (request, env) => {
  const { pathname } = new URL(request.url)
  if (pathname === '/echo') return new Response(await request.arrayBuffer())
  if (pathname === '/never') { console.log('never'); await new Promise(() => {}) }
  if (pathname === '/socket') {
    const { socket, response } = upgradeWebSocket(request)
    socket.onmessage = ({ data }) => socket.send(data)
    return response
  }
  return Response.json({ address: env.mongrel2.remoteAddress, forwarded: request.headers.get('x-forwarded-for'), pid: process.pid })
}
`

let place: Workplace

beforeEach(() => {
  place = new Workplace({ 'app.js': APP })
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

/** Serves the app at a free port; how it goes, and its URL. */
async function serve(...args: string[]): Promise<{ run: CommandRun; url: string }> {
  const run = place.run(['serve', 'app.js', '--http', '127.0.0.1:0', ...args], { TMPDIR: place.directory })
  const [, url = ''] = await run.prints(/^mongrel2-fetch serves app\.js at .*(http:\S+\/)/m)
  return { run, url }
}

/** What the app says about a request. */
async function answer(url: string): Promise<{ address: string; forwarded: string; pid: number }> {
  return JSON.parse(await (await fetch(url)).text())
}

/** What is left of private directories. */
const leftovers = () => readdirSync(place.directory).filter((name) => name.startsWith('mongrel2-fetch-'))

describe('mongrel2-fetch serve --http', () => {
  it.each([
    ['the process of the command', []],
    ['processes and threads', ['-p', '2', '--threads', '2']],
  ])('answers HTTP by %s, with bodies, WebSockets and where clients come from', async (_, flags) => {
    const { run, url } = await serve(...flags)
    expect(await answer(url)).toMatchObject({ address: '127.0.0.1', forwarded: '127.0.0.1' })
    const body = Buffer.alloc(3_000_000, 'three million bytes')
    const echo = await fetch(`${url}echo`, { method: 'POST', body })
    expect(Buffer.from(await echo.arrayBuffer()).equals(body)).toBe(true)
    const socket = new WebSocket(`${url.replace('http', 'ws')}socket`)
    const messages: string[] = []
    socket.onmessage = ({ data }) => messages.push(String(data))
    await once(socket, 'open')
    for (let number = 0; number < 100; number++) socket.send(String(number))
    await expect.poll(() => messages).toEqual(Array.from({ length: 100 }, (_, number) => String(number)))
    const closed = once(socket, 'close')
    run.signal('SIGTERM')
    const [{ code }] = (await closed) as [{ code: number }]
    expect(code).toBe(1001)
    expect(await run.ended).toBe(0)
    await expect(fetch(url)).rejects.toThrow()
    expect(leftovers()).toEqual([])
  })

  it('answers beside Mongrel2', async () => {
    await using mongrel2 = await startMongrel2()
    const { run, url } = await serve('-p', '1', '--zeromq', mongrel2.endpoint)
    expect(run.stdout).toBe(`mongrel2-fetch serves app.js at ${mongrel2.endpoint} and ${url} by 1 worker process\n`)
    const answers = await Promise.all([url, `http://127.0.0.1:${mongrel2.port}/`].map(answer))
    expect(answers[0]?.pid).toBe(answers[1]?.pid)
  })

  it('answers small requests by processes that pull for themselves', async () => {
    const { run, url } = await serve('-p', '2', '--direct')
    const answers = await Promise.all(Array.from({ length: 8 }, () => answer(url)))
    expect(new Set(answers.map(({ pid }) => pid)).size).toBe(2)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('leaves no request of a worker that dies unanswered, and none at a reload', async () => {
    const { run, url } = await serve('-p', '2')
    const lost = fetch(`${url}never`)
    await run.prints(/^never$/m)
    const stop = new AbortController()
    const statuses = new Set<number>()
    const client = async () => {
      while (!stop.signal.aborted) statuses.add((await fetch(url)).status)
    }
    const clients = Promise.all([client(), client(), client(), client()])
    run.signal('SIGHUP')
    await expect.poll(() => run.stderr.match(/started worker/g)?.length).toBe(4)
    await run.prints(/^mongrel2-fetch ended worker/m)
    stop.abort()
    await clients
    expect([...statuses]).toEqual([200])
    for (const [, pid] of run.stderr.matchAll(/started worker (\d+)/g)) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It has been replaced.
      }
    }
    expect((await lost).status).toBe(502)
  })

  it('fails no request where a reload begins as the workers of the last one have just loaded the app', async () => {
    const { run, url } = await serve('-p', '2')
    const statuses = new Set<number>()
    let ended = false
    const ask = async () => {
      while (!ended) {
        const response = await fetch(url)
        statuses.add(response.status)
        await response.text()
      }
    }
    const asking = Array.from({ length: 10 }, ask)
    const started = () => run.stderr.match(/started worker/g)?.length ?? 0
    for (let reload = 0; reload < 8; reload++) {
      const before = started()
      run.signal('SIGHUP')
      await expect.poll(started, { interval: 1, timeout: 30_000 }).toBeGreaterThan(before)
    }
    ended = true
    await Promise.all(asking)
    expect([...statuses]).toEqual([200])
  })

  it.each([
    ['the process of the command', []],
    ['processes and threads', ['-p', '2', '--threads', '2']],
  ])(
    'speaks HTTPS and HTTP/2 by %s, and takes a new certificate at SIGHUP without a failed request',
    async (_, flags) => {
      const certificates = [makeCertificate(), makeCertificate()]
      const write = (number: number) => {
        place.write('cert.pem', certificates[number]?.cert ?? '')
        place.write('key.pem', certificates[number]?.key ?? '')
      }
      write(0)
      const more = ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem', '--http', './http.sock', ...flags]
      const run = place.run(['serve', 'app.js', '--http', '127.0.0.1:0', ...more], { TMPDIR: place.directory })
      const [, url = ''] = await run.prints(/^mongrel2-fetch serves app\.js at (https:\S+\/) and \.\/http\.sock/m)
      const curl = (...args: string[]) =>
        promisify(execFile)('curl', ['-sS', '-k', '-w', ' %{http_version} %{http_code}', ...args], {
          cwd: place.directory,
        })
      for (const [flag, version] of [
        ['--http1.0', '1.1'], // Node's answers have this version
        ['--http1.1', '1.1'],
        ['--http2', '2'],
      ] as const) {
        expect((await curl(flag, `${url}echo`, '-d', 'hello')).stdout).toBe(`hello ${version} 200`)
        expect((await curl(flag, '--unix-socket', './http.sock', `${url}echo`, '-d', 'hi')).stdout).toBe(
          `hi ${version} 200`,
        )
      }
      const stop = new AbortController()
      const statuses = new Set<unknown>()
      const client = async (session?: ClientHttp2Session) => {
        while (!stop.signal.aborted) {
          const connected = session ?? connectHttp2(url, { rejectUnauthorized: false })
          const [headers] = await once(connected.request({ ':path': '/' }).resume(), 'response')
          statuses.add(headers[':status'])
          if (session === undefined) connected.close()
        }
        session?.close()
      }
      const session = connectHttp2(url, { rejectUnauthorized: false })
      const clients = Promise.all([client(session), client(session), client(), client()])
      write(1)
      run.signal('SIGHUP')
      await run.prints(/^mongrel2-fetch has read its certificate anew/m)
      const shown = connectTls({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false })
      await once(shown, 'secureConnect')
      expect(shown.getPeerCertificate().fingerprint.replaceAll(':', '')).toBe(
        sha1Of(certificates[1] as TestCertificate),
      )
      shown.destroy()
      if (flags.length > 0) await run.prints(/^mongrel2-fetch has replaced its workers/m)
      else await run.prints(/^mongrel2-fetch got SIGHUP and goes on/m)
      place.write('key.pem', 'none')
      run.signal('SIGHUP')
      await run.prints(
        /^mongrel2-fetch keeps its certificate: --tls-cert and --tls-key: expected .*; correct the files and/m,
      )
      expect((await curl(url)).stdout).toMatch(/ 2 200$/)
      stop.abort()
      await clients
      expect([...statuses]).toEqual([200])
      run.signal('SIGTERM')
      expect(await run.ended).toBe(0)
      const again = place.run(['serve', 'app.js', '--http', ':0', ...more])
      expect(await again.ended).toBe(2)
      expect(again.stderr).toMatch(
        /^mongrel2-fetch: --tls-cert and --tls-key: expected a certificate and its private key/m,
      )
      expect(leftovers()).toEqual([])
    },
  )

  it('leaves X-Forwarded-For to a proxy that is trusted', async () => {
    const { url } = await serve('--trust-proxy', '1')
    const response = await fetch(url, { headers: { 'x-forwarded-for': '192.0.2.7' } })
    expect(await response.json()).toMatchObject({ address: '192.0.2.7' })
  })

  it('has the bounds that its flags give', async () => {
    const { url } = await serve('--http-max-connections', '1', '--http-buffer-size', '1024')
    const port = Number(new URL(url).port)
    const first = connect(port, '127.0.0.1')
    first.write(`GET / HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    expect(String((await once(first, 'data'))[0])).toMatch(/^HTTP\/1.1 200 /)
    const second = connect(port, '127.0.0.1')
    await once(
      second.on('error', () => {}),
      'close',
    )
    first.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(1024)}\r\n\r\n`)
    expect(String((await once(first, 'data'))[0])).toMatch(/^HTTP\/1.1 431 /)
  })

  it('answers at several addresses', async () => {
    const { run, url } = await serve('--http', './with space.sock')
    expect(run.stdout).toBe(`mongrel2-fetch serves app.js at ${url} and ./with space.sock\n`)
    expect((await fetch(url)).status).toBe(200)
    const [response] = await once(
      request({ socketPath: join(place.directory, 'with space.sock'), path: '/' }).end(),
      'response',
    )
    expect(response.statusCode).toBe(200)
  })

  it('answers by all protocols beside Mongrel2, by processes and threads', async () => {
    await using mongrel2 = await startMongrel2()
    const protocols = ['uwsgi', 'fastcgi', 'scgi']
    const flags = protocols.flatMap((protocol) => [
      `--${protocol}`,
      '127.0.0.1:0',
      `--${protocol}`,
      `./${protocol}.sock`,
    ])
    const { run, url } = await serve('-p', '2', '--threads', '2', '--zeromq', mongrel2.endpoint, ...flags)
    for (const place of [url, `http://127.0.0.1:${mongrel2.port}/`]) {
      expect(await answer(place)).toMatchObject({ address: '127.0.0.1' })
    }
    for (const protocol of protocols) {
      const [, port] = new RegExp(` and ${protocol} 127\\.0\\.0\\.1:(\\d+) and ${protocol} \\./`).exec(run.stdout) ?? []
      for (const at of [{ port: Number(port) }, { path: join(place.directory, `${protocol}.sock`) }]) {
        const socket = connect(at)
        const variables = variablesOf('GET', '/')
        if (protocol === 'uwsgi') socket.write(uwsgiPacket(variables))
        else if (protocol === 'scgi') socket.write(scgiPacket(variables))
        else socket.write(fastCgiRequest(1, variables, Buffer.alloc(0)))
        expect(await text(socket)).toContain('"address":"192.0.2.7"')
      }
    }
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(readdirSync(place.directory).filter((name) => name.endsWith('.sock'))).toEqual([])
  })

  it('listens at a socket in the file system, where one that was killed has left its own', async () => {
    const path = join(place.directory, 'http.sock')
    const start = async () => {
      const run = place.run(['serve', 'app.js', '--http', './http.sock'])
      await run.prints(/^mongrel2-fetch serves app\.js at \.\/http\.sock$/m)
      return run
    }
    const first = await start()
    first.signal('SIGKILL')
    await first.ended
    expect(existsSync(path)).toBe(true)
    const second = await start()
    const asked = request({ socketPath: path, path: '/' }).end()
    const [response] = await once(asked, 'response')
    expect(JSON.parse(await text(response))).toMatchObject({ address: '127.0.0.1' })
    const third = place.run(['serve', 'app.js', '--http', './http.sock'])
    expect(await third.ended).toBe(4)
    second.signal('SIGTERM')
    expect(await second.ended).toBe(0)
    expect(existsSync(path)).toBe(false)
  })

  it.each(['a file', 'a link to a file', 'a directory'])(
    'leaves %s alone that is where it was told to listen',
    async (what) => {
      const path = join(place.directory, 'taken')
      if (what === 'a file') writeFileSync(path, 'precious')
      else if (what === 'a directory') mkdirSync(path)
      else symlinkSync('app.js', path)
      const run = place.run(['serve', 'app.js', '--http', './taken'], { TMPDIR: place.directory })
      expect(await run.ended).toBe(4)
      expect(run.stderr).toContain(
        "--http cannot listen: expected a path that is free or a socket's, but ./taken is something else; choose another",
      )
      if (what === 'a directory') expect(statSync(path).isDirectory()).toBe(true)
      else expect(readFileSync(path, 'utf8')).toBe(what === 'a file' ? 'precious' : APP)
      expect(leftovers()).toEqual([])
    },
  )

  it('ends with 4 where it cannot listen', async () => {
    const port = await freePort()
    const other = createServer().listen(port, '127.0.0.1')
    await once(other, 'listening')
    const run = place.run(['serve', 'app.js', '--http', `127.0.0.1:${port}`], { TMPDIR: place.directory })
    expect(await run.ended).toBe(4)
    expect(run.stderr).toContain('--http cannot listen: ')
    expect(leftovers()).toEqual([])
    other.close()
  })
})
