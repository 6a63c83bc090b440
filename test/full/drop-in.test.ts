import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { getRequestListener } from '@hono/node-server'
import { Agent, FormData, fetch, type RequestInit, type Response as UndiciResponse } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { type NodeServer, startNodeServer } from '../support/node-server.ts'
import { serveMongrel2 } from '../support/serve.ts'
import app from './drop-in/app.tsx'

/** What counts in a response. */
interface Answer {
  status: number
  headers: Record<string, string>
  cookies: string[]
  text: string
  bytes: Buffer
}

/** They are a connection's, or tell the time. */
const NOT_COMPARED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date', 'set-cookie'])

function isCompared([name, value]: [string, string]): boolean {
  return !NOT_COMPARED.has(name) && !(name === 'content-length' && value === '0') // without it, an empty body has come in chunks
}

/** The platform's Response and that of @hono/node-server write a type each in its own way. */
function alike([name, value]: [string, string]): [string, string] {
  return [name, name === 'content-type' ? value.replace(/;\s*/g, '; ') : value]
}

async function readAnswer(response: UndiciResponse): Promise<Answer> {
  const bytes = Buffer.from(await response.arrayBuffer())
  return {
    status: response.status,
    headers: Object.fromEntries([...response.headers].filter(isCompared).map(alike)),
    cookies: response.headers.getSetCookie(),
    text: bytes.toString(),
    bytes,
  }
}

/** Without the text, which would be long to compare, and to read where it differs. */
function shown({ bytes, text, ...rest }: Answer): Record<string, unknown> {
  return { ...rest, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** Bytes of an upload that Mongrel2 stores in a file. */
const LARGE = Buffer.alloc(200_000, 'upload ')

/** A body without a known length: it goes out in chunks. */
async function* inChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000)
}

let nodeServer: NodeServer
/** Each request on a connection of its own: @hono/node-server ends one whose body was not read, half a second later. */
const agent = new Agent({ pipelining: 0 })

const onNodeServer = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${nodeServer.port}${path}`, { redirect: 'manual', dispatcher: agent, ...init })

beforeAll(async () => {
  nodeServer = await startNodeServer(new URL('drop-in/app.tsx', import.meta.url))
  process.env.BACKEND = `http://127.0.0.1:${nodeServer.port}`
})

afterAll(async () => {
  delete process.env.BACKEND
  await agent.close()
  await nodeServer?.stop()
})

const platform = { Request, Response }

describe.each([
  { globals: "the platform's Request and Response", replaced: false },
  { globals: 'those of @hono/node-server in their place', replaced: true },
])('an app written for @hono/node-server runs behind Mongrel2, with $globals:', ({ replaced }) => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server

  beforeAll(async () => {
    if (replaced) getRequestListener(app.fetch) // replaces them
    mongrel2 = await startMongrel2()
    server = serveMongrel2(app, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger: {} })
    await server.ready
  })

  afterAll(async () => {
    for (const [name, value] of Object.entries(platform)) Object.defineProperty(globalThis, name, { value })
    await server?.close({ timeout: 1000 })
    await mongrel2?.stop()
  })

  const behindMongrel2 = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${mongrel2.port}${path}`, { redirect: 'manual', ...init })

  /** Asks both servers, which must say the same; the init is made for each, since a body can be read once. */
  async function get(path: string, init: () => RequestInit = () => ({})): Promise<Answer> {
    const [ours, theirs] = await Promise.all([
      behindMongrel2(path, init()).then(readAnswer),
      onNodeServer(path, init()).then(readAnswer),
    ])
    expect(shown(ours)).toEqual(shown(theirs))
    return ours
  }

  async function getWith(path: string, headers: Record<string, string>): Promise<Answer> {
    return await get(path, () => ({ headers }))
  }

  describe('static files', () => {
    const file = (name: string) => readFileSync(new URL(`drop-in/public/${name}`, import.meta.url))

    it('come whole, with their type', async () => {
      const hello = await get('/static/hello.txt')
      expect(hello.text).toBe('Hello, static Grüße!\n')
      expect(hello.headers['content-type']).toBe('text/plain; charset=utf-8')
      expect((await get('/static/every-byte.bin')).bytes).toEqual(file('every-byte.bin'))
      expect((await get('/static/empty.txt')).text).toBe('')
      expect((await get('/lock')).text).toBe(readFileSync('package-lock.json', 'utf8'))
    })

    it('come as the index of a directory', async () => {
      expect((await get('/static/')).text).toContain('<title>index</title>')
      expect((await get('/static/sub')).text).toContain('<title>sub</title>')
    })

    it('come compressed where a compressed one lies beside them', async () => {
      const style = await getWith('/static/style.css', { 'accept-encoding': 'gzip' })
      expect(style.headers['content-encoding']).toBe('gzip')
      expect(style.bytes).toEqual(file('style.css'))
    })

    it('come in part', async () => {
      const part = await getWith('/static/hello.txt', { range: 'bytes=7-12', 'accept-encoding': 'identity' })
      expect(part).toMatchObject({ status: 206, text: 'static', headers: { 'content-length': '6' } })
      const end = await getWith('/static/every-byte.bin', { range: 'bytes=-3', 'accept-encoding': 'identity' })
      expect(end.bytes).toEqual(Buffer.from([253, 254, 255]))
      expect(await getWith('/static/hello.txt', { range: 'bytes=100-' })).toMatchObject({
        status: 416,
        headers: { 'content-range': 'bytes */23' },
      })
    })

    it('are told of by HEAD', async () => {
      const head = await get('/static/every-byte.bin', () => ({ method: 'HEAD' }))
      expect(head).toMatchObject({ status: 200, text: '', headers: { 'content-length': '2048' } })
    })

    it('are not sent again to who has them', async () => {
      const { etag = '' } = (await get('/static/hello.txt')).headers
      expect(etag).toMatch(/^"\w+"$/)
      expect(await getWith('/static/hello.txt', { 'if-none-match': etag })).toMatchObject({ status: 304, text: '' })
    })

    // It is called when the Response has been made: what it adds reaches only one that keeps the Headers it was made of.
    it('have what onFound adds only in a Response of @hono/node-server', async () => {
      const { headers } = await readAnswer(await behindMongrel2('/license'))
      expect(headers['cache-control']).toBe(replaced ? 'max-age=60' : undefined)
      const theirs = await readAnswer(await onNodeServer('/license'))
      expect(theirs.headers['cache-control']).toBe('max-age=60')
    })

    it('come from their directory only', async () => {
      for (const path of ['/static/nothing', '/static/%2e%2e/app.tsx', '/static/..%2fapp.tsx']) {
        expect((await get(path)).status).toBe(404)
      }
    })
  })

  describe('pages', () => {
    it('are rendered from JSX', async () => {
      const hello = await get('/pages/hello?name=%3CMongrel%3E')
      expect(hello.headers['content-type']).toBe('text/html; charset=UTF-8')
      expect(hello.text).toContain('<h1>Hello &lt;Mongrel&gt;</h1>')
      expect((await get('/pages/list')).text).toContain('<li class="item">ü</li><li class="item">&lt;b&gt;</li>')
    })

    it('are streamed, what is late behind what is not', async () => {
      const { text } = await get('/late')
      expect(text.indexOf('wait')).toBeGreaterThan(0)
      expect(text.indexOf('here it is')).toBeGreaterThan(text.indexOf('wait'))
    })

    it('are compressed', async () => {
      const page = await getWith('/lock', { 'accept-encoding': 'gzip' })
      expect(page.headers['content-encoding']).toBe('gzip')
      expect(page.text).toBe(readFileSync('package-lock.json', 'utf8'))
    })
  })

  describe('an interface for programs', () => {
    it('answers other origins', async () => {
      const preflight = await get('/api/items', () => ({
        method: 'OPTIONS',
        headers: { origin: 'http://a.example', 'access-control-request-method': 'PUT' },
      }))
      expect(preflight).toMatchObject({
        status: 204,
        headers: { 'access-control-allow-origin': 'http://a.example', 'access-control-allow-methods': 'GET,PUT' },
      })
      const items = await getWith('/api/items?pretty', { origin: 'http://a.example' })
      expect(items.headers).toMatchObject({
        'access-control-allow-origin': 'http://a.example',
        vary: 'Origin, Accept-Encoding',
      })
      expect(items.headers['x-content-type-options']).toBe('nosniff')
      expect(items.text).toBe(JSON.stringify({ items: [1, 2, 3] }, null, 2))
    })

    it('validates JSON', async () => {
      const put = (body: string) => () => ({ method: 'PUT', body, headers: { 'content-type': 'application/json' } })
      expect((await get('/api/items/5', put('{"name":"ü"}'))).text).toBe('{"id":"5","name":"ü"}')
      expect((await get('/api/items/5', put('{}'))).status).toBe(400)
      expect((await get('/api/items/5', put('{'))).status).toBe(400)
    })

    it('gives up what takes too long', async () => {
      expect((await get('/api/slow')).status).toBe(504)
    })
  })

  describe('bodies', () => {
    const post = (body: NonNullable<RequestInit['body']>) => () => ({ method: 'POST', body })

    it.each([
      ['none', Buffer.alloc(0)],
      ['small ones', Buffer.from([0, 1, 254, 255])],
      ['large ones', LARGE],
    ])('are read: %s', async (_name, bytes) => {
      expect((await get('/echo', post(bytes))).bytes.equals(bytes)).toBe(true)
      const chunked = await get('/echo', () => ({ method: 'POST', body: inChunks(bytes), duplex: 'half' }))
      expect(chunked.bytes.equals(bytes)).toBe(true)
    })

    it.each([
      ['a small', 10],
      ['a large', 200_000],
    ])('are forms with %s file', async (_name, size) => {
      const form = () => {
        const data = new FormData()
        data.set('name', 'value')
        data.set('file', new Blob(['x'.repeat(size - 1), 'y'], { type: 'text/x' }), 'ü.txt')
        return { method: 'POST', body: data }
      }
      expect(JSON.parse((await get('/form', form)).text)).toEqual({
        name: 'value',
        file: ['ü.txt', 'text/x', size, 'y'],
      })
    })

    it('are limited', async () => {
      expect((await get('/limited', post('x'.repeat(40_000)))).text).toBe('40000')
      const chunked = (size: number) => () => ({
        method: 'POST',
        body: inChunks(LARGE.subarray(0, size)),
        duplex: 'half' as const,
      })
      expect((await get('/limited', chunked(40_000))).text).toBe('40000')
      expect(await get('/limited', post(LARGE))).toMatchObject({ status: 413, text: 'too much' })
      expect(await get('/limited', chunked(200_000))).toMatchObject({ status: 413, text: 'too much' })
    })

    it('are passed on by a proxy', async () => {
      expect((await get('/proxy/pages/hello?name=proxy')).text).toContain('Hello proxy')
      const small = await get('/proxy/echo', post('to be passed on'))
      expect(small).toMatchObject({ text: 'to be passed on', headers: { 'x-method': 'POST' } })
    })

    it('are passed on by a proxy, uploads too', async () => {
      expect((await get('/proxy/echo', post(LARGE))).text).toBe(LARGE.toString())
    })
  })

  describe('streams', () => {
    it('arrive while they are written', async () => {
      const response = await behindMongrel2('/stream/held')
      const reader = response.body?.getReader()
      const text = async () => Buffer.from((await reader?.read())?.value ?? []).toString()
      expect(await text()).toBe('first ')
      await behindMongrel2('/stream/release', { method: 'POST' })
      expect(await text()).toBe('last')
      expect((await reader?.read())?.done).toBe(true)
    })

    it('hear that the client has left', async () => {
      const aborted = async () => Number(await (await behindMongrel2('/stream/aborted')).text())
      const before = await aborted()
      const controller = new AbortController()
      const response = await behindMongrel2('/stream/endless', { signal: controller.signal })
      await response.body?.getReader().read()
      controller.abort()
      await expect.poll(aborted).toBe(before + 1)
    })

    it('are events', async () => {
      const events = await getWith('/stream/events', { accept: 'text/event-stream' })
      expect(events.headers['content-type']).toBe('text/event-stream')
      expect(events.text).toMatch(/^event: count\ndata: number 1\ndata: of 3\nid: 1\n\n/)
      expect(events.text.match(/\n\n/g)).toHaveLength(3)
    })

    it('are piped', async () => {
      expect((await get('/stream/piped')).text).toBe('pipe: from a Blob')
    })
  })

  it('basic auth keeps strangers out', async () => {
    expect(await get('/private/page')).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Basic realm="drop-in"' },
    })
    const authorization = `Basic ${Buffer.from('user:pass').toString('base64')}`
    expect((await getWith('/private/page', { authorization })).text).toBe('for the user only')
  })

  it('signed cookies come back, each in a field of its own', async () => {
    const first = await get('/visit')
    expect(first.cookies).toEqual([
      expect.stringMatching(/^visits=1\..*; Path=\/; HttpOnly$/),
      expect.stringMatching(/^last=now\./),
    ])
    const cookie = first.cookies.map((value) => value.split(';')[0]).join('; ')
    expect((await getWith('/visit', { cookie })).text).toBe('visit 2')
  })

  it('errors become their responses', async () => {
    expect(await get('/teapot')).toMatchObject({ status: 418, text: 'short and stout' })
    expect(await get('/broken')).toMatchObject({ status: 500, text: '{"error":"broken"}' })
    expect((await get('/nowhere')).text).toContain('nothing at /nowhere')
    expect(await get('/moved')).toMatchObject({ status: 308, headers: { location: '/pages/hello' } })
  })

  it('the logger sees requests and responses', async () => {
    await get('/pages/hello?logged')
    const lines: string[] = JSON.parse(await (await behindMongrel2('/log')).text())
    expect(lines).toContainEqual('<-- GET /pages/hello?logged')
    expect(lines).toContainEqual(expect.stringMatching(/^--> GET \/pages\/hello\?logged .*200.* \d+m?s$/))
  })
})
