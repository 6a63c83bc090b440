import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Mongrel2Server, Topic } from '../../src/index.ts'
import { guardChild } from '../../src/runtime/orphan-guard.ts'
import { freePort } from '../support/free-port.ts'
import { createNginxDirectory, startNginx } from '../support/nginx.ts'
import { serveMongrel2 } from '../support/serve.ts'

// nginx, Apache and lighttpd with the configurations that docs/gateway.md shows.

const PAGE = readFileSync('docs/gateway.md', 'utf8')
const shown = (language: string) => new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(PAGE)?.[1] ?? ''
const MIB = 1024 * 1024
const LARGE = 256 * MIB
const PIECE = Buffer.alloc(64 * 1024, 'x')
function* pieces() {
  for (let sent = 0; sent < LARGE; sent += PIECE.length) yield PIECE
}
/** The ports on the page, by protocol. */
const PORTS = { uwsgi: 3031, fastcgi: 9000, scgi: 4000 } as const
type Protocol = keyof typeof PORTS
const PROTOCOLS = Object.keys(PORTS) as Protocol[]

interface FrontServer extends AsyncDisposable {
  readonly origin: string
}

const topic = new Topic()
const aborted: string[] = []
let gateway: Gateway
let server: Mongrel2Server

beforeAll(async () => {
  const directory = await createNginxDirectory()
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  const places = Object.fromEntries(PROTOCOLS.map((protocol) => [protocol, '127.0.0.1:0']))
  gateway = await createGateway({ ...places, routes: [{ path: '/', ...endpoint }], flowControl: true })
  server = serveMongrel2(
    async (request, env) => {
      const { pathname, search } = new URL(request.url)
      request.signal.addEventListener('abort', () => aborted.push(pathname + search))
      if (pathname.endsWith('/events')) return topic.stream(request)
      if (pathname.endsWith('/echo')) return new Response(request.body)
      if (pathname.endsWith('/count')) {
        let bytes = 0
        for await (const piece of request.body ?? []) bytes += piece.length
        return Response.json(bytes)
      }
      if (pathname.endsWith('/large')) return new Response(ReadableStream.from(pieces()))
      const { method, headers } = request
      return Response.json({ method, pathname, search, address: env.mongrel2.remoteAddress, x: headers.get('x-a') })
    },
    { zeromq: endpoint },
  )
  await server.ready
})

afterAll(async () => {
  await server?.close({ timeout: 1000 })
  await gateway?.close()
})

/** A configuration of the page with the gateway's ports. */
function withPorts(configuration: string): string {
  let replaced = configuration
  for (const { protocol, address } of gateway.addresses) {
    const port = String(PORTS[protocol as Protocol])
    expect(replaced).toContain(port)
    replaced = replaced.replaceAll(new RegExp(`\\b${port}\\b`, 'g'), String(address?.port))
  }
  return replaced
}

async function startProgram(command: string, args: string[], origin: string): Promise<FrontServer> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  guardChild(child, 'TERM')
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const exit = once(child, 'exit')
  while ((await fetch(`${origin}/uwsgi/`).catch(() => undefined))?.ok !== true) {
    if (child.exitCode !== null || child.killed) throw new Error(`${command} ended: ${errors}`)
    await sleep(20)
  }
  return {
    origin,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exit
    },
  }
}

const STARTS: Record<string, () => Promise<FrontServer>> = {
  async nginx() {
    const port = await freePort()
    const http = withPorts(shown('nginx'))
      .replaceAll('include ', 'include /etc/nginx/')
      .replace('listen 80;', `listen 127.0.0.1:${port}; client_max_body_size 0; location = / { return 200; }`)
    return await startNginx(await createNginxDirectory(), port, http)
  },
  async Apache() {
    const port = await freePort()
    const directory = await createNginxDirectory()
    const modules = ['mpm_event', 'authz_core', 'proxy', 'proxy_uwsgi', 'proxy_fcgi', 'proxy_scgi']
    const lines = [
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `ServerRoot ${directory}`,
      `DefaultRuntimeDir ${directory}`,
      `PidFile ${directory}/pid`,
      `ErrorLog ${directory}/error.log`,
      'ServerName localhost',
      'User www-data',
      'Group www-data',
      `Listen 127.0.0.1:${port}`,
      `DocumentRoot ${directory}`,
      withPorts(shown('apache')),
    ]
    writeFileSync(join(directory, 'apache.conf'), lines.join('\n'))
    return await startProgram(
      'apache2',
      ['-DFOREGROUND', '-f', join(directory, 'apache.conf')],
      `http://127.0.0.1:${port}`,
    )
  },
  async lighttpd() {
    const port = await freePort()
    const directory = await createNginxDirectory()
    mkdirSync(join(directory, 'uploads'))
    chmodSync(join(directory, 'uploads'), 0o777)
    const lines = [
      `server.document-root = "${directory}"`,
      'server.bind = "127.0.0.1"',
      `server.port = ${port}`,
      `server.upload-dirs = ("${directory}/uploads")`,
      withPorts(shown('lighttpd')),
    ]
    writeFileSync(join(directory, 'lighttpd.conf'), lines.join('\n'))
    return await startProgram('lighttpd', ['-D', '-f', join(directory, 'lighttpd.conf')], `http://127.0.0.1:${port}`)
  },
}

describe.each(Object.keys(STARTS))('Through %s', (name) => {
  let front: FrontServer
  beforeAll(async () => {
    front = (await STARTS[name]?.()) as FrontServer
  })
  afterAll(async () => {
    await front?.[Symbol.asyncDispose]()
  })

  describe.each(PROTOCOLS)('by %s', (protocol) => {
    const url = (path: string) => `${front.origin}/${protocol}/${path}`

    it('requests and bodies arrive, and answers', async () => {
      const got = await fetch(url('a%20b?c=%25&d'), { headers: { 'x-a': 'b', 'x-forwarded-for': '192.0.2.1' } })
      expect(await got.json()).toEqual({
        method: 'GET',
        pathname: `/${protocol}/a%20b`,
        search: '?c=%25&d',
        address: '127.0.0.1',
        x: 'b',
      })
      for (const size of [0, 1, 20_481, MIB]) {
        const body = Buffer.alloc(size, 'body')
        const echo = await fetch(url('echo'), { method: 'POST', body })
        expect(Buffer.from(await echo.arrayBuffer()).equals(body)).toBe(true)
      }
      const head = await fetch(url('echo'), { method: 'HEAD' })
      expect([head.status, await head.text()]).toEqual([200, ''])
    })

    it('many requests are answered', async () => {
      const client = async () => {
        for (let number = 0; number < 50; number++) expect((await fetch(url(`?${number}`))).status).toBe(200)
      }
      await Promise.all(Array.from({ length: 8 }, client))
    })

    it('events arrive one by one, and a client that leaves aborts its request', async () => {
      const path = `/${protocol}/events?${name}`
      const asked = request(front.origin + path).end()
      const answered = once(asked, 'response')
      await expect.poll(() => topic.size, { timeout: 10_000 }).toBe(1)
      topic.send('first')
      const [response] = (await answered) as [IncomingMessage]
      expect(String((await once(response, 'data'))[0])).toContain('data: first\n\n')
      topic.send('second')
      expect(String((await once(response, 'data'))[0])).toContain('data: second\n\n')
      asked.destroy()
      // Apache finds out when it writes.
      await expect
        .poll(
          () => {
            topic.send('more')
            return aborted
          },
          { timeout: 10_000, interval: 100 },
        )
        .toContain(path)
      await expect.poll(() => topic.size).toBe(0)
    })

    it('a large body comes and goes in flat memory', { timeout: 120_000 }, async () => {
      const before = process.memoryUsage().rss
      let peak = before
      const sampler = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage().rss)
      }, 20)
      const upload = request(url('count'), { method: 'POST', headers: { 'content-length': LARGE } })
      const answered = once(upload, 'response')
      await pipeline(pieces, upload)
      const [counted] = (await answered) as [IncomingMessage]
      expect(await text(counted)).toBe(String(LARGE))
      const [response] = (await once(request(url('large')).end(), 'response')) as [IncomingMessage]
      let bytes = 0
      for await (const piece of response) bytes += piece.length
      clearInterval(sampler)
      expect(bytes).toBe(LARGE)
      expect(peak - before).toBeLessThan(128 * MIB)
    })
  })
})

it('nothing was malformed', () => {
  expect(gateway.stats().malformed).toBe(0)
})
