import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import type { Mongrel2Server } from '../../src/index.ts'
import { freePort } from '../support/free-port.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { createNginxDirectory, type Nginx, startNginx } from '../support/nginx.ts'
import { RawClient, request as rawRequest } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

// The protocols that nginx speaks to a server behind it, through nginx. By SCGI it announces wrong lengths without scgi_request_buffering
// (https://github.com/nginx/nginx/pull/1118).

const PROTOCOLS = ['uwsgi', 'fastcgi', 'scgi'] as const
const MIB = 1024 * 1024

let nginx: Nginx
let gateway: Gateway
let server: Mongrel2Server
const logger = new CollectingLogger()
const gate = new Gate()
/** Paths whose requests were aborted, and whose streams were cancelled. */
const aborted: string[] = []
const cancelled: string[] = []

async function* steps(path: string) {
  try {
    for (let step = 0; ; step++) {
      yield new TextEncoder().encode(`data: ${step}\n\n`)
      await gate.pass(`${path} ${step}`)
    }
  } finally {
    cancelled.push(path)
  }
}

const handler = async (request: Request, env: { mongrel2: { remoteAddress?: string } }): Promise<Response> => {
  const { pathname } = new URL(request.url)
  request.signal.addEventListener('abort', () => aborted.push(pathname))
  switch (pathname.split('/').at(-1)) {
    case 'echo':
      return new Response(request.body, { status: 201, headers: { 'x-method': request.method } })
    case 'counts': {
      let bytes = 0
      for await (const piece of request.body ?? []) {
        if (bytes === 0) await gate.pass(pathname)
        bytes += piece.length
      }
      return Response.json(bytes)
    }
    case 'events':
      return new Response(ReadableStream.from(steps(pathname)), { headers: { 'content-type': 'text/event-stream' } })
    case 'waits':
      await gate.pass(pathname)
      return new Response()
    case 'breaks':
      return new Response(
        ReadableStream.from(
          (async function* () {
            yield new TextEncoder().encode('half of it')
            await gate.pass(pathname)
            throw new Error('broken by the test')
          })(),
        ),
      )
    case 'early':
      return new Response('too much', { status: 413 })
    case 'large':
      return new Response(Buffer.alloc(2 * MIB, 'large'))
    case 'fields':
      return new Response(null, {
        status: 204,
        headers: [
          ['set-cookie', 'a=1'],
          ['set-cookie', 'b=2'],
          ['status', '500'],
        ],
      })
    default:
      return Response.json({
        method: request.method,
        url: request.url,
        address: env.mongrel2.remoteAddress,
        forwarded: request.headers.get('x-forwarded-for'),
        x: request.headers.get('x-a-b'),
        type: request.headers.get('content-type'),
        length: request.headers.get('content-length'),
        coding: request.headers.get('transfer-encoding'),
        upgrade: request.headers.get('upgrade'),
      })
  }
}

beforeAll(async () => {
  const directory = await createNginxDirectory()
  const endpoint = { sendSpec: `ipc://${directory}/send`, recvSpec: `ipc://${directory}/recv` }
  gateway = await createGateway({
    http: '127.0.0.1:0',
    uwsgi: ['127.0.0.1:0', join(directory, 'uwsgi.sock')],
    fastcgi: '127.0.0.1:0',
    scgi: '127.0.0.1:0',
    routes: [{ path: '/', ...endpoint }],
    flowControl: true,
    logger,
  })
  await chmod(join(directory, 'uwsgi.sock'), 0o777) // nginx' worker is somebody else
  server = serveMongrel2(handler, { zeromq: endpoint, logger })
  await server.ready
  const port = await freePort()
  const location = (protocol: string, buffering: string, at: string) => `
    location /${protocol}/${buffering}/ {
      include /etc/nginx/${protocol}_params;
      ${protocol}_param HTTP_HOST $host:$server_port;
      ${protocol}_pass ${at};
      ${protocol}_buffering ${buffering};
      ${protocol}_request_buffering ${protocol === 'scgi' ? 'on' : buffering};
    }`
  const atOf = (name: string) => gateway.addresses.find(({ protocol }) => protocol === name)?.at
  const locations = gateway.addresses.flatMap(({ protocol, at, address }) =>
    protocol === 'http'
      ? []
      : address === undefined
        ? [`location /socket/ { include /etc/nginx/uwsgi_params; uwsgi_pass unix:${at}; }`]
        : [location(protocol, 'on', at), location(protocol, 'off', at)],
  )
  nginx = await startNginx(
    directory,
    port,
    `upstream kept { server ${atOf('fastcgi')}; keepalive 4; }
  upstream kept-http { server ${atOf('http')}; keepalive 4; }
  server {
    client_max_body_size 100m;
    location /kept/ { include /etc/nginx/fastcgi_params; fastcgi_pass kept; fastcgi_keep_conn on; }
    location /kept-http/ { proxy_pass http://kept-http; proxy_http_version 1.1; proxy_set_header Connection ""; }
    listen 127.0.0.1:${port};
    location = / { return 200; }${locations.join('')}
  }
`,
  )
})

afterAll(async () => {
  await nginx?.[Symbol.asyncDispose]()
  await server?.close({ timeout: 1000 })
  await gateway?.close()
})

describe.each(PROTOCOLS)('Through nginx by %s', (protocol) => {
  describe.each(['on', 'off'])('with buffering %s', (buffering) => {
    const base = `/${protocol}/${buffering}`
    const url = (path: string) => `${nginx.origin}${base}/${path}`

    it('a request has its method, URL, headers and client', async () => {
      const response = await fetch(url('a%20b/?c=d&e=%C3%A9'), {
        headers: { 'x-a-b': 'caf\xe9', 'x-forwarded-for': '192.0.2.1' },
      })
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({
        method: 'GET',
        url: url('a%20b/?c=d&e=%C3%A9'),
        address: '127.0.0.1',
        forwarded: '127.0.0.1',
        x: 'caf\xe9',
        type: null,
        length: null,
        coding: null,
        upgrade: null,
      })
    })

    it('a handshake of a WebSocket arrives as an ordinary request', async () => {
      using client = new RawClient(Number(new URL(nginx.origin).port))
      const fields =
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5\r\n'
      const { status, body } = await client.send(rawRequest(`${base}/`, 'GET', fields)).response()
      expect([status, JSON.parse(body.toString())]).toEqual([
        200,
        expect.objectContaining({ method: 'GET', upgrade: null }),
      ])
    })

    it('a request without a body has no length', async () => {
      for (const method of ['DELETE', 'OPTIONS', 'REPORT']) {
        expect(await (await fetch(url(''), { method })).json()).toMatchObject({ method, length: null, coding: null })
      }
      expect(await (await fetch(url(''), { method: 'POST', body: '' })).json()).toMatchObject({ length: '0' })
    })

    it('bodies come and go, small and large, with a length and in chunks', async () => {
      for (const size of [0, 20_480, 20_481, 2 * MIB]) {
        const body = Buffer.alloc(size, 'body')
        const stream = new ReadableStream({
          start(controller) {
            controller.enqueue(body)
            controller.close()
          },
        })
        for (const init of [{ body }, ...(size > 0 ? [{ body: stream, duplex: 'half' as const }] : [])]) {
          const response = await fetch(url('echo'), { method: 'PUT', ...init })
          expect([response.status, response.headers.get('x-method')]).toEqual([201, 'PUT'])
          expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true)
        }
      }
    })

    it('an answer has its fields and no body where there is none', async () => {
      const none = await fetch(url('fields'))
      expect([none.status, none.headers.getSetCookie(), await none.text()]).toEqual([204, ['a=1', 'b=2'], ''])
      const head = await fetch(url('large'), { method: 'HEAD' })
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, `${2 * MIB}`, ''])
      expect((await (await fetch(url('large'))).arrayBuffer()).byteLength).toBe(2 * MIB)
    })

    it('an answer before the end of a body reaches the client', async () => {
      const response = await fetch(url('early'), { method: 'POST', body: Buffer.alloc(2 * MIB) })
      expect([response.status, await response.text()]).toEqual([413, 'too much'])
    })

    it('a client that leaves aborts its request', async () => {
      const path = `${base}/waits`
      const abort = new AbortController()
      const response = fetch(url('waits'), { signal: abort.signal })
      await gate.arrival(path)
      abort.abort()
      await expect(response).rejects.toThrow()
      await expect.poll(() => aborted).toContain(path)
    })

    it('an answer that breaks does not look complete', async () => {
      const asked = fetch(url('breaks')).then((response) => (response.ok ? response.text() : 'refused'))
      await gate.arrival(`${base}/breaks`)
      gate.open(`${base}/breaks`)
      expect(await asked.catch(() => 'cut')).not.toBe('half of it')
    })
  })

  it('events arrive one by one, and the stream is cancelled when the client leaves', async () => {
    const path = `/${protocol}/off/events`
    const asked = request(`${nginx.origin}${path}`).end()
    const [response] = await once(asked, 'response')
    for (let step = 0; step < 5; step++) {
      expect(String((await once(response, 'data'))[0])).toBe(`data: ${step}\n\n`)
      gate.open(`${path} ${step}`)
    }
    asked.destroy()
    await gate.arrival(`${path} 5`)
    await expect.poll(() => aborted).toContain(path)
    gate.open(`${path} 5`)
    await expect.poll(() => cancelled).toContain(path)
  })

  it.skipIf(protocol === 'scgi')('a body in the middle of its way is aborted by a client that leaves', async () => {
    const path = `/${protocol}/off/counts`
    const asked = request(`${nginx.origin}${path}`, { method: 'POST', headers: { 'content-length': 8 * MIB } })
    asked.on('error', () => {})
    asked.write(Buffer.alloc(MIB))
    await gate.arrival(path)
    gate.open(path)
    asked.destroy()
    await expect.poll(() => aborted).toContain(path)
  })
})

it('nginx keeps a connection of FastCGI, and one of HTTP, for further requests', async () => {
  await expect.poll(() => gateway.stats().connections).toBe(0)
  for (let request = 0; request < 20; request++) {
    const body = Buffer.alloc(request * 5000, 'kept')
    for (const way of ['kept', 'kept-http']) {
      const response = await fetch(`${nginx.origin}/${way}/echo`, { method: 'POST', body })
      expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true)
    }
  }
  expect(gateway.stats().connections).toBe(2)
})

it("a request of HTTP/1.0 without Host gets the handler's host", async () => {
  using client = new RawClient(Number(new URL(nginx.origin).port))
  const { body } = await client.send('GET /kept/ HTTP/1.0\r\n\r\n').response()
  expect(JSON.parse(body.toString())).toMatchObject({ url: 'http://localhost/kept/' })
})

it('nginx reaches a socket in the file system', async () => {
  const response = await fetch(`${nginx.origin}/socket/`)
  expect(await response.json()).toMatchObject({ method: 'GET', address: '127.0.0.1' })
})

it('nothing was malformed', () => {
  expect(logger.lines.map(({ line }) => line).filter((line) => line.includes('malformed'))).toEqual([])
})
