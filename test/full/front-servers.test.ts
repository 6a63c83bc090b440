import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Mongrel2Server, Topic } from '../../src/index.ts'
import { freePort } from '../support/free-port.ts'
import { startApache, startLighttpd } from '../support/front-servers.ts'
import { Gate } from '../support/gate.ts'
import { createNginxDirectory, startNginx } from '../support/nginx.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

// nginx, Apache and lighttpd with the configurations that docs/gateway.md shows.

const PAGE = readFileSync('docs/gateway.md', 'utf8')
const shown = (language: string) => new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(PAGE)?.[1] ?? ''
const MIB = 1024 * 1024
/** The ports on the page, by protocol. */
const PORTS = { uwsgi: 3031, fastcgi: 9000, scgi: 4000 } as const
type Protocol = keyof typeof PORTS
const PROTOCOLS = Object.keys(PORTS) as Protocol[]

interface FrontServer extends AsyncDisposable {
  readonly origin: string
}

const topic = new Topic()
const gate = new Gate()
const aborted: string[] = []
let gateway: Gateway
let server: Mongrel2Server

beforeAll(async () => {
  const directory = await createNginxDirectory()
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  const places = Object.fromEntries(PROTOCOLS.map((protocol) => [protocol, '127.0.0.1:0']))
  gateway = await createGateway({
    ...places,
    routes: [{ path: '/', ...endpoint }],
    flowControl: true,
    bodyTimeout: 5000,
    sendTimeout: 5000,
  })
  server = serveMongrel2(
    async (request, env) => {
      const { pathname, search } = new URL(request.url)
      request.signal.addEventListener('abort', () => aborted.push(pathname + search))
      if (pathname.endsWith('/events')) return topic.stream(request)
      if (pathname.endsWith('/echo')) return new Response(request.body)
      if (pathname.endsWith('/count')) {
        let bytes = 0
        for await (const piece of request.body ?? []) {
          if (bytes === 0) await gate.pass(pathname + search)
          bytes += piece.length
        }
        return Response.json(bytes)
      }
      if (pathname.endsWith('/waits')) {
        await gate.pass(pathname + search)
        return new Response('late')
      }
      const { method, headers } = request
      return Response.json({
        method,
        pathname,
        search,
        address: env.mongrel2.remoteAddress,
        x: headers.get('x-a'),
        authorization: headers.get('authorization'),
      })
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
    const origin = `http://127.0.0.1:${port}`
    const server = await startApache(`Listen 127.0.0.1:${port}\n${withPorts(shown('apache'))}`, `${origin}/uwsgi/`)
    return { ...server, origin }
  },
  async lighttpd() {
    const port = await freePort()
    const origin = `http://127.0.0.1:${port}`
    return { ...(await startLighttpd(withPorts(shown('lighttpd')), port, `${origin}/uwsgi/`)), origin }
  },
}

/** Sends 64 MiB; the bytes that come back. */
async function echoed(url: string): Promise<number> {
  const asked = request(url, { method: 'POST', headers: { 'content-length': 64 * MIB } }).on('error', () => {})
  const sending = pipeline(Readable.from(Array(64).fill(Buffer.alloc(MIB))), asked).catch(() => {})
  let bytes = 0
  try {
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    for await (const piece of response) bytes += piece.length
  } catch {} // it broke off
  await sending
  return bytes
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
      const got = await fetch(url('a%20b?c=%25&d'), {
        headers: { 'x-a': 'b', 'x-forwarded-for': '192.0.2.1', authorization: 'Basic eA==' },
      })
      expect(await got.json()).toEqual({
        method: 'GET',
        pathname: `/${protocol}/a%20b`,
        search: '?c=%25&d',
        address: '127.0.0.1',
        x: 'b',
        authorization: 'Basic eA==',
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

    // By SCGI nginx stores the body first.
    it.skipIf(name === 'nginx' && protocol === 'scgi')(
      'a client that leaves amid its body aborts the request',
      async () => {
        const path = `/${protocol}/count?${name}`
        const asked = request(front.origin + path, { method: 'POST', headers: { 'content-length': 8 * MIB } })
        asked.on('error', () => {}).write(Buffer.alloc(MIB))
        await gate.arrival(path)
        gate.open(path)
        asked.destroy()
        await expect.poll(() => aborted, { timeout: 10_000 }).toContain(path)
      },
    )

    // nginx sends no more of a body once the answer's head has come, Apache reads no answer before it has sent the body.
    const stops = name === 'nginx' || (name === 'Apache' && protocol !== 'fastcgi')
    it(`an echo of 64 MiB ${stops ? 'stops' : 'comes back'}`, { timeout: 60_000 }, async () => {
      const echo = echoed(url('echo'))
      if (!stops) return expect(await echo).toBe(64 * MIB)
      await expect.poll(() => aborted, { timeout: 30_000 }).toContain(`/${protocol}/echo`)
      expect(await echo).toBeLessThan(64 * MIB)
    })

    it('a client that ends its side alone has left for nginx, and still gets its answer of the others', async () => {
      const path = `/${protocol}/waits?${name}`
      using client = new RawClient(Number(new URL(front.origin).port))
      client.send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      await gate.arrival(path)
      client.end()
      if (name === 'nginx') return await expect.poll(() => aborted).toContain(path)
      // Something else that the front server does afterwards.
      await (await fetch(url(''))).text()
      gate.open(path)
      expect((await client.response()).body.toString()).toBe('late')
      expect(aborted).not.toContain(path)
    })
  })
})

it('an echo of 64 MiB stops in nginx in front of any server', async () => {
  const backend = createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  const quiet = once(backend.setTimeout(2000), 'timeout')
  const port = await freePort()
  const { port: at } = backend.address() as AddressInfo
  const location = `proxy_pass http://127.0.0.1:${at}; proxy_buffering off; proxy_request_buffering off; proxy_http_version 1.1;`
  const http = `server { listen 127.0.0.1:${port}; client_max_body_size 0; location / { ${location} } location = / { return 200; } }`
  await using nginx = await startNginx(await createNginxDirectory(), port, http)
  const echo = echoed(`${nginx.origin}/echo`)
  await quiet
  backend.closeAllConnections()
  expect(await echo).toBeLessThan(64 * MIB)
  backend.close()
})

it('nothing was malformed', () => {
  expect(gateway.stats().malformed).toBe(0)
})
