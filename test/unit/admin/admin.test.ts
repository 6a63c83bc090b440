import { createHash } from 'node:crypto'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { type AdminOptions, createAdmin } from '../../../src/admin/index.ts'
import { Mongrel2Error } from '../../../src/runtime/errors.ts'
import { StatedServer } from '../../support/admin-server.ts'

const TOKEN = 'a-token-of-some-length'

/** Asks the handler of a server; headers as an object. */
function asking(options: AdminOptions = {}, server = new StatedServer()) {
  const handler = createAdmin(server, options)
  return async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const response = await handler(new Request(`http://example.org:8080${path}`, { method, headers }))
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
}

describe('The routes', () => {
  it('tell that the process lives, and whether it is ready', async () => {
    const server = new StatedServer()
    const ask = asking({}, server)
    expect(await ask('/healthz')).toMatchObject({ status: 200, text: 'ok\n' })
    expect(await ask('/readyz')).toMatchObject({ status: 200, text: 'ready\n' })
    server.attach(false)
    server.state = { ...server.state, closing: true, workers: [] }
    expect(await ask('/readyz')).toMatchObject({
      status: 503,
      text: 'the server closes\nno Mongrel2 at ipc://send,ipc://recv\nno worker is ready\n',
    })
    expect(await ask('/healthz')).toMatchObject({ status: 200 })
  })

  it('tell the state as JSON', async () => {
    const server = new StatedServer()
    const ask = asking({}, server)
    server.ended(200, 7)
    server.accounts.logger.warn?.('mongrel2-fetch: something')
    const { status, headers, text } = await ask('/stats')
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json'])
    const stats = JSON.parse(text)
    expect(stats).toMatchObject({ ...server.state, pid: process.pid, obstacles: [] })
    expect(stats.ended).toMatchObject({ total: 1, latency: { p50: 7.5 } })
    expect(stats.warnings).toEqual([{ time: expect.any(Number), level: 'warn', line: 'mongrel2-fetch: something' }])
    expect(stats.totals).toBeUndefined()
  })

  it('have the metrics in both formats, and a sentence where nothing is counted', async () => {
    const ask = asking()
    const plain = await ask('/metrics')
    expect(plain.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(plain.text).toMatch(/^mongrel2_fetch_requests_total\{/m)
    const accept = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3'
    const open = await ask('/metrics', { accept })
    expect(open.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
    expect(open.text.endsWith('# EOF\n')).toBe(true)
    expect(await asking({}, new StatedServer(false))('/metrics')).toMatchObject({
      status: 501,
      text: 'Requests are not counted: expected the option metrics to be true.\n',
    })
  })

  it.each([
    [undefined, 501, 'Only workers can be replaced, and this server has none.\n'],
    [async () => {}, 200, 'The workers are replaced.\n'],
    [
      () => Promise.reject(new Mongrel2Error('load_failed', 'a worker could not load it')),
      409,
      'a worker could not load it\n',
    ],
    [() => Promise.reject(new Mongrel2Error('closed', 'it is closed')), 503, 'it is closed\n'],
  ])('reload %#', async (reload, status, text) => {
    const server = Object.assign(new StatedServer(), reload && { reload })
    expect(await asking({ trusted: true }, server)('/reload', {}, 'POST')).toMatchObject({ status, text })
  })

  it.each([
    ['/nothing', 'GET', 404, null],
    ['/toString', 'GET', 404, null],
    ['/stats', 'POST', 405, 'GET, HEAD'],
    ['/', 'DELETE', 405, 'GET, HEAD'],
    ['/reload', 'GET', 405, 'POST'],
    ['/reload', 'HEAD', 405, 'POST'],
  ])('refuse %s by %s with %d', async (path, method, status, allow) => {
    const answer = await asking({ trusted: true })(path, {}, method)
    expect([answer.status, answer.headers.get('allow')]).toEqual([status, allow])
  })

  it.each(['/', '/healthz', '/readyz', '/metrics', '/stats', '/events'])(
    '%s answers HEAD as GET, without a body',
    async (path) => {
      const { status, headers, text } = await asking()(path, {}, 'HEAD')
      expect([status, text, headers.get('cache-control')]).toEqual([200, '', 'no-store'])
    },
  )

  it('work below a prefix of an app', async () => {
    const app = new Hono()
    app.mount('/admin', createAdmin(new StatedServer()))
    for (const path of ['/admin', '/admin/', '/admin/stats']) expect((await app.request(path)).status).toBe(200)
    expect((await app.request('/admin/nothing')).status).toBe(404)
  })
})

describe('The page', () => {
  it('may run its own script and style, and nothing else', async () => {
    const { headers, text } = await asking()('/')
    const policy = headers.get('content-security-policy') ?? ''
    for (const tag of ['script', 'style']) {
      const codes = [...text.matchAll(new RegExp(`<${tag}\\b[^>]*>(.*?)</${tag}>`, 'gs'))].map(([, code = '']) => code)
      expect(codes).toHaveLength(1)
      expect(policy).toContain(
        `${tag}-src 'sha256-${createHash('sha256')
          .update(codes[0] ?? '')
          .digest('base64')}'`,
      )
    }
    expect(policy).toMatch(/^default-src 'none';/)
    expect(policy).toContain("frame-ancestors 'none'")
    expect(text).not.toMatch(/\son\w+=|\sstyle=|(?:src|href)="(?!data:)/)
  })

  it('gets an event a second, the first with the past, until the server closes', async () => {
    const server = new StatedServer()
    const response = await createAdmin(server)(new Request('http://localhost/events'))
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const events: { stats: { closing: boolean }; seconds: { time: number }[]; reloads: boolean }[] = []
    const decoder = new TextDecoder()
    for await (const bytes of response.body as AsyncIterable<Uint8Array>) {
      const [, data = ''] = /^retry: 1000\ndata: (.*)\n\n$/.exec(decoder.decode(bytes)) ?? []
      events.push(JSON.parse(data))
      if (events.length === 3) server.state = { ...server.state, closing: true }
    }
    expect(events.map(({ stats }) => stats.closing)).toEqual([false, false, false, true])
    expect(events[0]?.reloads).toBe(false)
    const times = events.flatMap(({ seconds }) => seconds.map(({ time }) => time))
    expect(new Set(times).size).toBe(times.length)
    expect(times.length).toBeGreaterThanOrEqual(2)
  })
})

describe('Access', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  it.each([
    ['the token', `Bearer ${TOKEN}`, 200],
    ['the token, another spelling', `bearer  ${TOKEN}`, 200],
    ['the token as password', basic(`anybody:${TOKEN}`), 200],
    ['no token', undefined, 401],
    ['another token', `Bearer ${TOKEN}x`, 401],
    ['the beginning of the token', `Bearer ${TOKEN.slice(0, -1)}`, 401],
    ['another password', basic(`anybody:${TOKEN.toUpperCase()}`), 401],
    ['the token as name', basic(`${TOKEN}:`), 401],
    ['another scheme', `Digest ${TOKEN}`, 401],
  ])('with %s', async (_what, authorization, status) => {
    const reload = async () => {}
    const ask = asking({ token: TOKEN }, Object.assign(new StatedServer(), { reload }))
    const headers = authorization === undefined ? {} : { authorization }
    for (const path of ['/', '/stats', '/metrics', '/nothing']) {
      const answer = await ask(path, headers)
      expect(answer.status).toBe(status === 200 && path === '/nothing' ? 404 : status)
      if (status === 401) expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm=/)
    }
    expect((await ask('/reload', headers, 'POST')).status).toBe(status)
    for (const path of ['/healthz', '/readyz']) expect((await ask(path, headers)).status).toBe(200)
  })

  it('without a token is for everybody to read, and for trusted clients to act', async () => {
    const reload = async () => {}
    const server = Object.assign(new StatedServer(), { reload })
    const ask = asking({}, server)
    expect((await ask('/stats')).status).toBe(200)
    expect(await ask('/reload', {}, 'POST')).toMatchObject({ status: 403, text: expect.stringContaining('token') })
    expect((await asking({ trusted: true }, server)('/reload', {}, 'POST')).status).toBe(200)
    expect((await asking({ trusted: true, token: TOKEN }, server)('/reload', {}, 'POST')).status).toBe(401)
  })

  it.each([
    [{ 'sec-fetch-site': 'same-origin' }, 200],
    [{ 'sec-fetch-site': 'none' }, 200],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ origin: 'http://example.org:8080' }, 200],
    [{ origin: 'https://example.org:8080' }, 200],
    [{ origin: 'http://example.org' }, 403],
    [{ origin: 'http://evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' }, 403],
  ])('of a request with %j ends with %d', async (headers, status) => {
    const reload = async () => {}
    const ask = asking({ trusted: true }, Object.assign(new StatedServer(), { reload }))
    expect((await ask('/reload', headers, 'POST')).status).toBe(status)
    expect((await ask('/stats', headers)).status).toBe(status)
  })

  it.each(['', 'short', 'sixteen characters', 'sechzehn-Zeichen-ä', 17])(
    'refuses the token %j and does not show it',
    (token) => {
      const wrong = { token } as AdminOptions
      expect(() => createAdmin(new StatedServer(), wrong)).toThrow(
        /^token: expected at least 16 printable characters of ASCII, got "\d+ characters"$/,
      )
    },
  )

  it('refuses an unknown option', () => {
    expect(() => createAdmin(new StatedServer(), { tokens: '' } as AdminOptions)).toThrow(/did you mean token\?/)
  })
})
