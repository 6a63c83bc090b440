import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, FormData, fetch } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FetchHandler, Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { Gate } from '../support/gate.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { headerOf, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

let mongrel2: Mongrel2
let server: Mongrel2Server | undefined
let logger: CollectingLogger
let gate: Gate
let agent: Agent
const clients: RawClient[] = []

beforeEach(() => {
  logger = new CollectingLogger()
  gate = new Gate()
  agent = new Agent({ connections: 1, pipelining: 1 })
})

/** Whatever happened, no file may be left: each test ends with this. */
afterEach(async () => {
  try {
    await expect.poll(files).toEqual([])
  } finally {
    for (const client of clients.splice(0)) client.destroy()
    await agent.destroy()
    await server?.close({ timeout: 1000 })
    server = undefined
    await mongrel2.stop()
  }
})

async function serve(
  handler: FetchHandler,
  options: Partial<Mongrel2Options> = {},
  config: Mongrel2TestOptions = {},
): Promise<Mongrel2Server> {
  mongrel2 = await startMongrel2(config)
  server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger, ...options })
  await server.ready
  return server
}

function connect(): RawClient {
  const client = new RawClient(mongrel2.port)
  clients.push(client)
  return client
}

const store = () => join(mongrel2.directory, 'tmp')
const files = () => readdirSync(store())
const url = (path: string) => `http://127.0.0.1:${mongrel2.port}${path}`
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Bytes that repeat only every 251, so that a piece lost or doubled shows. */
function bytesOf(size: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at++) bytes[at] = at % 251
  return bytes
}

/** The same in a body without a known length: undici sends it in chunks. */
function chunked(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.subarray(at, at + 16_384))
      at += 16_384
    },
  })
}

async function post(path: string, bytes: Uint8Array, how: 'Content-Length' | 'chunks' = 'Content-Length') {
  const init = { method: 'POST', dispatcher: agent, headers: { 'content-type': 'text/plain' } }
  return how === 'chunks'
    ? await fetch(url(path), { ...init, body: chunked(bytes), duplex: 'half' })
    : await fetch(url(path), { ...init, body: bytes })
}

/** A request's head; the body is the test's to send. */
function head(path: string, length: number, ...fields: string[]): string {
  return `${[`POST ${path} HTTP/1.1`, 'Host: localhost', `Content-Length: ${length}`, ...fields].join('\r\n')}\r\n\r\n`
}

function chunk(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}

/** Everything that Mongrel2 sent before has been received when this is answered: there is one queue, in order. */
async function fence(): Promise<void> {
  const client = connect()
  client.send('GET /fence HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await client.response()
  client.destroy()
}

/** Over `limits.content_length`, so that Mongrel2 stores it; small enough for the sockets' buffers. */
const LARGE = bytesOf(40_000)

const readers: FetchHandler = async (request) => {
  switch (new URL(request.url).pathname) {
    case '/text':
      return new Response(sha256(Buffer.from(await request.text())))
    case '/json':
      return new Response(sha256(Buffer.from(JSON.stringify(await request.json()))))
    case '/arrayBuffer':
      return new Response(sha256(new Uint8Array(await request.arrayBuffer())))
    case '/blob': {
      const blob = await request.blob()
      return new Response(sha256(new Uint8Array(await blob.arrayBuffer())), { headers: { 'x-type': blob.type } })
    }
    case '/clone': {
      const [one, other] = await Promise.all([request.clone().arrayBuffer(), request.arrayBuffer()])
      return new Response(
        sha256(new Uint8Array(one)) === sha256(new Uint8Array(other)) ? sha256(new Uint8Array(one)) : '',
      )
    }
    default: {
      const hash = createHash('sha256')
      for await (const piece of request.body ?? []) hash.update(piece)
      return new Response(hash.digest('hex'))
    }
  }
}

describe('A body', () => {
  const text = Buffer.from(JSON.stringify('Grüße, '.repeat(3000)))
  const small = Buffer.from(JSON.stringify('Grüße'))

  for (const protocol of ['json', 'tnetstring'] as const) {
    it(`is read by every method of Request, small or stored, with a length or in chunks (${protocol})`, async () => {
      await serve(readers, {}, { protocol })
      for (const path of ['/text', '/json', '/arrayBuffer', '/blob', '/clone', '/stream']) {
        for (const bytes of [small, text]) {
          for (const how of ['Content-Length', 'chunks'] as const) {
            const response = await post(path, bytes, how)
            expect([path, how, response.status, await response.text()]).toEqual([path, how, 200, sha256(bytes)])
            if (path === '/blob') expect(response.headers.get('x-type')).toBe('text/plain')
          }
        }
      }
    })
  }

  it('in multipart form is a FormData with its fields and files, one of them over 100 KiB', async () => {
    await serve(async (request) => {
      const form = await request.formData()
      const file = form.get('file')
      if (!(file instanceof File)) return new Response('no file', { status: 400 })
      const digest = sha256(new Uint8Array(await file.arrayBuffer()))
      return Response.json({ field: form.get('field'), name: file.name, type: file.type, size: file.size, digest })
    })
    const bytes = bytesOf(150_000)
    const form = new FormData()
    form.set('field', 'Grüße')
    form.set('file', new File([bytes], 'naïve.bin', { type: 'application/x-test' }))
    const response = await fetch(url('/'), { method: 'POST', body: form, dispatcher: agent })
    expect(await response.json()).toEqual({
      field: 'Grüße',
      name: 'naïve.bin',
      type: 'application/x-test',
      size: 150_000,
      digest: sha256(bytes),
    })
  })

  for (const how of ['Content-Length', 'chunks'] as const) {
    it(`of megabytes with ${how} is streamed in pieces of at most 256 KiB and arrives unchanged`, async () => {
      const bytes = bytesOf(3_000_000)
      await serve(async (request, env) => {
        const hash = createHash('sha256')
        let largest = 0
        for await (const piece of request.body ?? []) {
          hash.update(piece)
          largest = Math.max(largest, piece.length)
        }
        return Response.json({ digest: hash.digest('hex'), largest, size: env.mongrel2.upload?.size })
      })
      const response = await post('/', bytes, how)
      expect(await response.json()).toEqual({ digest: sha256(bytes), largest: 262_144, size: bytes.length })
    })
  }

  it('that is stored is described in env.mongrel2.upload, one in memory is not', async () => {
    await serve((_request, env) => {
      const { upload } = env.mongrel2
      return Response.json(upload === undefined ? null : { ...upload, onDisk: statSync(upload.path).size })
    })
    expect(await (await post('/', bytesOf(20_000))).json()).toBeNull()
    const [large, chunks] = [await post('/', LARGE), await post('/', bytesOf(10), 'chunks')]
    const path = expect.stringMatching(new RegExp(`^${store()}/mongrel2\\.upload\\.[A-Za-z0-9]{6}$`))
    expect(await large.json()).toEqual({ path, size: LARGE.length, onDisk: LARGE.length })
    expect(await chunks.json()).toEqual({ path, size: 10, onDisk: 10 })
  })

  it('of no bytes in chunks is empty', async () => {
    await serve(async (request) => new Response(`[${await request.text()}]`))
    const response = await post('/', bytesOf(0), 'chunks')
    expect(await response.text()).toBe('[]')
  })

  it('in chunks may come slowly, in pieces that cut chunks anywhere', async () => {
    await serve(readers, {
      onUploadStart: async () => {
        await gate.pass('start')
        return undefined
      },
    })
    const client = connect().send('POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n')
    await gate.arrival('start')
    const whole = Buffer.concat([chunk(LARGE), chunk(LARGE), Buffer.from('0\r\n\r\n')])
    client.send(whole.subarray(0, 3))
    await fence()
    client.send(whole.subarray(3, 50_001))
    await fence()
    client.send(whole.subarray(50_001))
    gate.open('start')
    expect((await client.response()).body.toString()).toBe(sha256(Buffer.concat([LARGE, LARGE])))
  })

  it('that waits for 100 Continue is asked for', async () => {
    await serve(readers)
    const client = connect().send(head('/', LARGE.length, 'Expect: 100-continue'))
    expect((await client.response()).status).toBe(100)
    client.send(LARGE)
    expect((await client.response()).body.toString()).toBe(sha256(LARGE))
  })

  it('of GET and HEAD is not shown, and deleted where it was stored', async () => {
    await serve((request, env) => {
      const { upload } = env.mongrel2
      const shown = upload !== undefined && existsSync(upload.path) ? upload.size : 'none'
      return new Response(`${request.method} ${request.body} ${shown}`, { headers: { 'x-size': String(shown) } })
    })
    const client = connect()
    client.send(head('/', LARGE.length).replace('POST', 'GET')).send(LARGE)
    expect((await client.response()).body.toString()).toBe('GET null 40000')
    client.send(head('/', LARGE.length).replace('POST', 'HEAD')).send(LARGE)
    expect(headerOf(await client.response('HEAD'), 'x-size')).toBe('40000')
  })

  it('reaches methods that the platform does not know, as any other', async () => {
    await serve(async (request) => new Response(`${request.method} ${(await request.arrayBuffer()).byteLength}`))
    const client = connect()
    for (const method of ['PUT', 'DELETE', 'PROPFIND', 'TRACE', 'OPTIONS']) {
      client.send(head('/', LARGE.length).replace('POST', method)).send(LARGE)
      expect((await client.response()).body.toString()).toBe(`${method} 40000`)
    }
  })
})

describe('A connection', () => {
  it('carries one upload after the other, and other requests between them', async () => {
    await serve(readers)
    const client = connect()
    for (let size = 30_000; size < 34_000; size += 1000) {
      client.send(head('/', size)).send(bytesOf(size))
      expect((await client.response()).body.toString()).toBe(sha256(bytesOf(size)))
      client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
      expect((await client.response()).body.toString()).toBe(sha256(Buffer.alloc(0)))
    }
  })

  it('gets the answers in front of an upload and of the upload; what was pipelined behind it Mongrel2 loses, so it ends', async () => {
    await serve(async (request) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/1') await gate.pass('first')
      return new Response(`${pathname} ${sha256(new Uint8Array(await request.arrayBuffer()))}`)
    })
    const client = connect().send(
      Buffer.concat([
        Buffer.from(head('/1', 2)),
        bytesOf(2),
        Buffer.from(head('/2', 31_000)),
        bytesOf(31_000),
        Buffer.from('GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      ]),
    )
    await gate.arrival('first')
    await expect.poll(() => server?.stats().requests).toBe(2)
    gate.open('first')
    expect((await client.response()).body.toString()).toBe(`/1 ${sha256(bytesOf(2))}`)
    const last = await client.response()
    expect(last.body.toString()).toBe(`/2 ${sha256(bytesOf(31_000))}`)
    expect(headerOf(last, 'connection')).toBe('close')
    await client.closed
    expect(server?.stats().requests).toBe(2)
  })

  it('ends behind an upload in chunks: Mongrel2 would lose the next large one', async () => {
    await serve(readers)
    const client = connect().send('POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n')
    client.send(Buffer.concat([chunk(LARGE), Buffer.from('0\r\n\r\n')]))
    const response = await client.response()
    expect(response.body.toString()).toBe(sha256(LARGE))
    expect(headerOf(response, 'connection')).toBe('close')
    await client.closed
  })

  it('does not keep another one waiting: uploads go on in parallel', async () => {
    await serve(readers, {
      onUploadStart: async (request) => {
        await gate.pass(new URL(request.url).pathname)
        return undefined
      },
    })
    const [one, other] = [connect(), connect()]
    one.send(head('/one', 60_000)).send(bytesOf(60_000).subarray(0, 30_000))
    await gate.arrival('/one')
    other.send(head('/other', 50_000)).send(bytesOf(50_000).subarray(0, 30_000))
    await gate.arrival('/other')
    expect(files()).toHaveLength(2)
    gate.open('/one')
    gate.open('/other')
    other.send(bytesOf(50_000).subarray(30_000))
    expect((await other.response()).body.toString()).toBe(sha256(bytesOf(50_000)))
    one.send(bytesOf(60_000).subarray(30_000))
    expect((await one.response()).body.toString()).toBe(sha256(bytesOf(60_000)))
  })

  it.each([
    [
      'says close',
      `POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${LARGE.length}\r\n\r\n`,
    ],
    ['speaks HTTP/1.0', `POST / HTTP/1.0\r\nContent-Length: ${LARGE.length}\r\n\r\n`],
  ])('that %s gets its upload answered and is closed', async (_what, lines) => {
    await serve(readers)
    const client = connect().send(lines).send(LARGE)
    const response = await client.response()
    expect(response.status).toBe(200)
    expect(response.body.toString()).toBe(sha256(LARGE))
    await client.closed
  })
})

describe('The file', () => {
  it('is there until the response is finished, its body read or not, and gone then', async () => {
    const encoder = new TextEncoder()
    for (const read of [true, false]) {
      await serve(async (request, env) => {
        if (new URL(request.url).pathname === '/fence') return new Response()
        if (read) await request.arrayBuffer()
        const path = env.mongrel2.upload?.path ?? ''
        const body = new ReadableStream({
          async start(controller) {
            controller.enqueue(encoder.encode('begun '))
            await gate.pass('body')
            controller.enqueue(encoder.encode(String(existsSync(path))))
            controller.close()
          },
        })
        return new Response(body)
      })
      const response = post('/', LARGE)
      await gate.arrival('body')
      await fence()
      gate.open('body')
      expect(await (await response).text()).toBe('begun true')
      await expect.poll(files).toEqual([])
      if (!read) continue
      await server?.close()
      await mongrel2.stop()
      gate = new Gate()
    }
  })

  it('is there until what the handler gave waitUntil is done', async () => {
    let later: string | undefined
    await serve((request, _env, ctx) => {
      if (new URL(request.url).pathname === '/fence') return new Response()
      ctx.waitUntil(
        gate.pass('later').then(async () => {
          later = sha256(Buffer.from(await request.arrayBuffer()))
        }),
      )
      return new Response('accepted', { status: 202 })
    })
    expect((await post('/', LARGE)).status).toBe(202)
    await fence()
    expect(files()).toHaveLength(1)
    gate.open('later')
    await expect.poll(() => later).toBe(sha256(LARGE))
  })

  it.each(['before it was read', 'after a piece of it'])(
    'is gone when the handler cancels the body %s',
    async (when) => {
      await serve(async (request, env) => {
        const path = env.mongrel2.upload?.path ?? ''
        if (when === 'before it was read') await request.body?.cancel()
        else {
          const reader = request.body?.getReader()
          await reader?.read()
          await reader?.cancel()
        }
        return new Response(String(existsSync(path)))
      })
      expect(await (await post('/', bytesOf(300_000))).text()).toBe('false')
    },
  )

  it('is gone when the handler throws, rejects or fails amid its answer', async () => {
    await serve((request) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/throws') throw new Error('thrown')
      if (pathname === '/rejects') return Promise.reject(new Error('rejected'))
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode('begun')),
          pull: (controller) => controller.error(new Error('failed')),
        }),
      )
    })
    expect((await post('/throws', LARGE)).status).toBe(500)
    expect((await post('/rejects', LARGE)).status).toBe(500)
    await post('/fails', LARGE)
      .then((response) => response.text())
      .catch(() => {})
    expect(server?.stats().requests).toBe(3)
  })

  it('is gone when the client leaves while it is stored, and the handler is not called', async () => {
    const seen: string[] = []
    await serve(
      (request) => {
        seen.push(new URL(request.url).pathname)
        return new Response()
      },
      {
        onUploadStart: async () => {
          void gate.pass('start')
          return undefined
        },
      },
    )
    const client = connect().send(head('/left', LARGE.length)).send(LARGE.subarray(0, 30_000))
    await gate.arrival('start')
    expect(files()).toHaveLength(1)
    client.destroy()
    await expect.poll(files).toEqual([])
    await fence()
    expect(seen).toEqual(['/fence'])
    await expect.poll(() => server?.stats().connections).toBe(0)
  })

  it('is gone when the client leaves while the handler works', async () => {
    let signal: AbortSignal | undefined
    await serve(async (request) => {
      signal = request.signal
      await gate.pass('handler')
      return new Response(await request.text())
    })
    const client = connect().send(head('/', LARGE.length)).send(LARGE)
    await gate.arrival('handler')
    client.destroy()
    await expect.poll(() => signal?.aborted).toBe(true)
    gate.open('handler')
    await expect.poll(files).toEqual([])
  })

  it('is gone when requests wait for a place and the client leaves, and beyond maxQueued', async () => {
    await serve(
      async (request) => {
        const { pathname } = new URL(request.url)
        if (pathname === '/first') await gate.pass('first')
        return new Response(pathname)
      },
      { maxInFlight: 1, maxQueued: 1 },
    )
    const first = connect().send(head('/first', LARGE.length)).send(LARGE)
    await gate.arrival('first')
    const waiting = connect().send(head('/waiting', LARGE.length)).send(LARGE)
    await expect.poll(() => server?.stats().messages).toBe(4)
    const beyond = connect().send(head('/beyond', LARGE.length)).send(LARGE)
    expect((await beyond.response()).status).toBe(503)
    await expect.poll(files).toHaveLength(2)
    waiting.destroy()
    await expect.poll(() => server?.stats().connections).toBeLessThan(3)
    gate.open('first')
    expect((await first.response()).status).toBe(200)
  })

  it('stays with uploads.keep, for whoever wants to move it', async () => {
    let path = ''
    await serve(
      (_request, env) => {
        path = env.mongrel2.upload?.path ?? ''
        return new Response()
      },
      { uploads: { keep: true } },
    )
    await (await post('/', LARGE)).text()
    await server?.close()
    expect(sha256(readFileSync(path))).toBe(sha256(LARGE))
    unlinkSync(path)
  })

  it('may be moved away by the handler', async () => {
    await serve((_request, env) => {
      renameSync(env.mongrel2.upload?.path ?? '', join(mongrel2.directory, 'moved'))
      return new Response('moved')
    })
    expect(await (await post('/', LARGE)).text()).toBe('moved')
    await server?.close()
    expect(sha256(readFileSync(join(mongrel2.directory, 'moved')))).toBe(sha256(LARGE))
    expect(logger.lines).toEqual([])
  })
})

describe('A refused upload leaves no file', () => {
  const never: FetchHandler = (request) => {
    if (new URL(request.url).pathname === '/fence') return new Response()
    throw new Error('the handler must not be called')
  }

  it.each([
    ['no Host', `POST / HTTP/1.1\r\nContent-Length: ${LARGE.length}\r\n\r\n`],
    ['two Hosts', head('/', LARGE.length, 'Host: localhost')],
    ['a bad Host', head('/', LARGE.length).replace('localhost', 'user@h')],
    ['two lengths', head('/', LARGE.length, 'Content-Length: 41000')],
    ['a length and chunks', head('/', LARGE.length, 'Transfer-Encoding: chunked')],
  ])('for %s', async (_what, lines) => {
    await serve(never)
    // In one go: Mongrel2 has stored it all before an answer can come.
    const client = connect().send(Buffer.concat([Buffer.from(lines), LARGE]))
    expect((await client.response()).status).toBe(400)
    await client.closed
    await fence()
    await expect.poll(files).toEqual([])
    expect(logger.errors).toEqual([])
  })

  it('behind a request that was refused', async () => {
    await serve(never)
    const client = connect().send(
      Buffer.concat([Buffer.from(`GET / HTTP/1.1\r\n\r\n${head('/', LARGE.length)}`), LARGE]),
    )
    expect((await client.response()).status).toBe(400)
    await client.closed
    await fence()
    await expect.poll(files).toEqual([])
    expect(logger.errors).toEqual([])
  })

  it('behind the last request of a connection, whose answer it cannot outrun', async () => {
    await serve(async (request) => {
      if (new URL(request.url).pathname === '/last') await gate.pass('last')
      return new Response('done')
    })
    const last = 'GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    const client = connect().send(Buffer.concat([Buffer.from(last + head('/', LARGE.length)), LARGE]))
    await gate.arrival('last')
    await expect.poll(() => server?.stats().messages).toBe(3)
    gate.open('last')
    expect((await client.response()).status).toBe(200)
    await client.closed
  })

  it.each(['whole at once', 'not yet complete'])('over maxBodySize: 413 for a length, %s', async (when) => {
    await serve(never, { maxBodySize: 39_999 })
    const body = when === 'whole at once' ? LARGE : LARGE.subarray(0, 30_000)
    const client = connect().send(Buffer.concat([Buffer.from(head('/', LARGE.length)), body]))
    const response = await client.response()
    expect(response.status).toBe(413)
    expect(headerOf(response, 'connection')).toBe('close')
    await client.closed
    await fence()
    await expect.poll(files).toEqual([])
    expect(server?.stats()).toMatchObject({ requests: 1 }) // the fence
  })

  it('over maxBodySize: 413 for chunks, once they are complete', async () => {
    await serve(never, { maxBodySize: 39_999 })
    expect((await post('/', LARGE, 'chunks')).status).toBe(413)
  })

  it('over maxBodySize: 413 for a body in memory; one that just fits is served', async () => {
    await serve(readers, { maxBodySize: 1000 })
    expect((await post('/', bytesOf(1001))).status).toBe(413)
    expect((await post('/', bytesOf(1000))).status).toBe(200)
    expect((await post('/', bytesOf(1000), 'chunks')).status).toBe(200)
  })
})

describe('onUploadStart', () => {
  it('sees the request without a body, and lets it go on with undefined', async () => {
    const seen: unknown[] = []
    await serve(readers, {
      onUploadStart: (request) => {
        seen.push([request.method, new URL(request.url).pathname, request.headers.get('x-token'), request.body])
        seen.push([...request.headers.keys()].filter((name) => name.startsWith('x-mongrel2-')))
        return undefined
      },
    })
    const client = connect()
      .send(head('/path', LARGE.length, 'X-Token: secret'))
      .send(LARGE)
    expect((await client.response()).body.toString()).toBe(sha256(LARGE))
    expect(seen).toEqual([['POST', '/path', 'secret', null], []])
  })

  it('is not asked about bodies in memory', async () => {
    let asked = 0
    await serve(readers, {
      onUploadStart: () => {
        asked++
        return undefined
      },
    })
    expect((await post('/', bytesOf(1000))).status).toBe(200)
    expect(asked).toBe(0)
  })

  for (const status of [401, 413]) {
    for (const how of ['at once', 'after a while'] as const) {
      it.each(['all of it was sent', 'half of it was sent', 'the rest comes later'])(
        `answers ${status} ${how}, the connection is closed and the file gone when %s`,
        async (when) => {
          let called = 0
          await serve(
            (request) => {
              if (new URL(request.url).pathname !== '/fence') called++
              return new Response()
            },
            {
              onUploadStart: (): Response | Promise<Response> => {
                const response = new Response('no', { status, headers: { 'x-why': 'test' } })
                return how === 'at once' ? response : gate.pass('hook').then(() => response)
              },
            },
          )
          const all = when === 'all of it was sent'
          const client = connect().send(
            Buffer.concat([Buffer.from(head('/', LARGE.length)), LARGE.subarray(0, all ? LARGE.length : 30_000)]),
          )
          if (how === 'after a while') {
            await gate.arrival('hook')
            // The file is complete, or will never be, before the answer is there.
            if (all) await expect.poll(() => server?.stats().messages).toBe(2)
            if (when === 'the rest comes later') client.send(LARGE.subarray(30_000))
            gate.open('hook')
          } else if (when === 'the rest comes later') client.send(LARGE.subarray(30_000))
          const response = await client.response()
          expect(response.status).toBe(status)
          expect(headerOf(response, 'x-why')).toBe('test')
          expect(headerOf(response, 'connection')).toBe('close')
          expect(response.body.toString()).toBe('no')
          await client.closed
          await fence()
          await expect.poll(files).toEqual([])
          expect(called).toBe(0)
        },
      )
    }
  }

  it('that is still thinking when the upload is complete decides all the same', async () => {
    await serve(readers, {
      onUploadStart: async () => {
        await gate.pass('hook')
        return undefined
      },
    })
    const client = connect().send(head('/', LARGE.length)).send(LARGE)
    await gate.arrival('hook')
    await expect.poll(() => server?.stats().messages).toBe(2)
    expect(server?.stats().requests).toBe(0)
    gate.open('hook')
    expect((await client.response()).body.toString()).toBe(sha256(LARGE))
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('secret detail')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret detail'))],
    ['returns nonsense', () => 'nonsense' as unknown as Response],
  ])('that %s is a 500 without details, logged once', async (_how, onUploadStart) => {
    await serve(() => new Response('called'), { onUploadStart })
    const client = connect().send(Buffer.concat([Buffer.from(head('/', LARGE.length)), LARGE]))
    const response = await client.response()
    expect(response.status).toBe(500)
    expect(response.body.toString()).not.toContain('secret')
    await client.closed
    expect(logger.errors).toHaveLength(1)
    await expect.poll(files).toEqual([])
  })

  it('that throws is what onError is for', async () => {
    await serve(() => new Response('called'), {
      onUploadStart: () => {
        throw new Error('teapot')
      },
      onError: (error, request) => new Response(`${(error as Error).message} ${request.method}`, { status: 418 }),
    })
    const response = await post('/', LARGE)
    expect(response.status).toBe(418)
    expect(await response.text()).toBe('teapot POST')
  })

  it('is told by its request’s signal when the client leaves', async () => {
    let signal: AbortSignal | undefined
    await serve(readers, {
      onUploadStart: async (request) => {
        signal = request.signal
        await gate.pass('hook')
        return undefined
      },
    })
    const client = connect().send(head('/', LARGE.length)).send(LARGE.subarray(0, 30_000))
    await gate.arrival('hook')
    client.destroy()
    await expect.poll(() => signal?.aborted).toBe(true)
    gate.open('hook')
    await fence()
    expect(server?.stats().requests).toBe(1) // the fence
  })
})

describe('A wrong option', () => {
  it('chroot is a 500 and a warning that names the path it tried and the option', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'chroot-'))
    mkdirSync(join(elsewhere, 'tmp'))
    try {
      await serve(() => new Response('called'), { chroot: elsewhere })
      const response = await post('/', LARGE)
      expect(response.status).toBe(500)
      expect(await response.text()).not.toContain(elsewhere)
      const [name = ''] = files()
      expect(logger.warnings).toHaveLength(1)
      expect(logger.warnings[0]).toContain(join(elsewhere, 'tmp', name))
      expect(logger.warnings[0]).toMatch(/option chroot/)
      expect(server?.stats().requests).toBe(0)
      // What cannot be found cannot be deleted.
      unlinkSync(join(store(), name))
    } finally {
      rmSync(elsewhere, { recursive: true })
    }
  })

  it('uploads.tempStore is a 500 and a warning that names the path that came and the option', async () => {
    await serve(() => new Response('called'), { uploads: { tempStore: 'uploads/body.XXXXXX' } })
    const client = connect().send(Buffer.concat([Buffer.from(head('/', LARGE.length)), LARGE]))
    const response = await client.response()
    expect(response.status).toBe(500)
    await client.closed
    expect(logger.warnings).toHaveLength(1)
    expect(logger.warnings[0]).toMatch(/tmp\/mongrel2\.upload\.\w{6}.*uploads\.tempStore.*uploads\/body\.XXXXXX/s)
    expect(server?.stats().requests).toBe(0)
    // What may be another program's file is not deleted.
    for (const name of files()) unlinkSync(join(store(), name))
  })

  it('does not matter where upload.temp_store has an absolute path or another name', async () => {
    await serve(
      readers,
      { uploads: { tempStore: '/tmp/body-XXXXXX' } },
      // Without a chroot the path is the machine's: keep to the tests' directory.
      { tempStore: '/tmp/body-XXXXXX' },
    )
    if (process.getuid?.() !== 0) return
    expect(await (await post('/', LARGE)).text()).toBe(sha256(LARGE))
  })
})

describe('An upload’s path', () => {
  let victim: string

  beforeEach(() => {
    victim = join(mkdtempSync(join(tmpdir(), 'victim-')), 'file')
    writeFileSync(victim, 'secret')
  })

  afterEach(() => {
    rmSync(join(victim, '..'), { recursive: true })
  })

  /** Replaces the file that Mongrel2 has just made. */
  function serveReplacing(replace: (path: string) => void): Promise<Mongrel2Server> {
    return serve(async (request) => new Response(await request.text()), {
      onUploadStart: () => {
        const [name = ''] = files()
        const path = join(store(), name)
        unlinkSync(path)
        replace(path)
        return undefined
      },
    })
  }

  it.each([
    ['a link', (path: string) => symlinkSync(victim, path), unlinkSync, /is a link/],
    ['a link within the chroot', (path: string) => symlinkSync('../config.sqlite', path), unlinkSync, /is a link/],
    ['a link to nothing', (path: string) => symlinkSync('nothing', path), unlinkSync, /is a link/],
    ['a FIFO', (path: string) => void execFileSync('mkfifo', [path]), unlinkSync, /no regular file/],
    ['a directory', (path: string) => void mkdirSync(path), rmdirSync, /no regular file/],
  ])(
    'that became %s is a 400 and a warning, and what stands there is left alone',
    async (_what, replace, remove, why) => {
      await serveReplacing(replace)
      const response = await post('/', LARGE)
      expect(response.status).toBe(400)
      expect(await response.text()).not.toContain('secret')
      expect(response.headers.get('connection')).toBe('close')
      expect(readFileSync(victim, 'utf8')).toBe('secret')
      expect(existsSync(join(mongrel2.directory, 'config.sqlite'))).toBe(true)
      expect(logger.warnings).toEqual([expect.stringMatching(why)])
      expect(server?.stats().requests).toBe(0)
      const left = files()
      expect(left).toHaveLength(1)
      for (const name of left) remove(join(store(), name))
    },
  )

  it('that leaves the chroot by a link on its way is a 400, and what stands there is left alone', async () => {
    const outside = join(victim, '..')
    let name = ''
    await serve(async (request) => new Response(await request.text()), {
      onUploadStart: () => {
        name = files()[0] ?? ''
        writeFileSync(join(outside, name), 'secret')
        renameSync(store(), join(mongrel2.directory, 'tmp-before'))
        symlinkSync(outside, store())
        return undefined
      },
    })
    const response = await post('/', LARGE)
    expect(response.status).toBe(400)
    expect(readFileSync(join(outside, name), 'utf8')).toBe('secret')
    expect(logger.warnings).toEqual([expect.stringMatching(/leaves the chroot/)])
    unlinkSync(store())
    mkdirSync(store())
  })

  it('that is gone is a 500 and a warning with the path', async () => {
    let path = ''
    await serveReplacing((at) => {
      path = at
    })
    expect((await post('/', LARGE)).status).toBe(500)
    expect(logger.warnings).toEqual([expect.stringContaining(path)])
    expect(path).not.toBe('')
  })

  it('whose file is not as long as announced is a 400, and the file is deleted', async () => {
    await serveReplacing((path) => writeFileSync(path, 'short'))
    expect((await post('/', LARGE)).status).toBe(400)
  })
})

describe('close()', () => {
  it('answers 503 to an upload that is under way, and leaves no file', async () => {
    const started = await serve(() => new Response('called'), {
      onUploadStart: () => {
        void gate.pass('start')
        return undefined
      },
    })
    const client = connect().send(head('/', LARGE.length)).send(LARGE.subarray(0, 30_000))
    await gate.arrival('start')
    const closed = started.close()
    const response = await client.response()
    expect(response.status).toBe(503)
    expect(headerOf(response, 'connection')).toBe('close')
    await client.closed
    await closed
    expect(started.stats().requests).toBe(0)
  })

  it('waits for an upload that is complete to be handled, and deletes its file', async () => {
    const started = await serve(async (request) => {
      await gate.pass('handler')
      return new Response(sha256(Buffer.from(await request.arrayBuffer())))
    })
    const client = connect().send(head('/', LARGE.length)).send(LARGE)
    await gate.arrival('handler')
    const closed = started.close()
    gate.open('handler')
    expect((await client.response()).body.toString()).toBe(sha256(LARGE))
    await closed
    expect(files()).toEqual([])
  })
})
