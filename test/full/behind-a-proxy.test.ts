import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { Topic, upgradeWebSocket } from '../../src/index.ts'
import { echoOf } from '../support/echo.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { createNginxDirectory, type Nginx, startNginx } from '../support/nginx.ts'
import { serveMongrel2 } from '../support/serve.ts'

// The configuration of nginx that docs/behind-a-proxy.md shows, in front of Mongrel2.

const [, CONFIGURATION = ''] = /^```nginx\n(.*?)^```$/ms.exec(readFileSync('docs/behind-a-proxy.md', 'utf8')) ?? []
const MOST = 20

const topic = new Topic()
let mongrel2: Mongrel2
let server: Mongrel2Server
let nginx: Nginx

beforeAll(async () => {
  mongrel2 = await startMongrel2({ settings: { no_clobber_xff: 1 }, uploads: 'stream' })
  server = serveMongrel2(
    async (request, { mongrel2: { remoteAddress } }) => {
      const { pathname } = new URL(request.url)
      if (request.headers.get('upgrade')?.toLowerCase() === 'websocket') {
        const { socket, response } = upgradeWebSocket(request)
        socket.onmessage = ({ data }) => socket.send(data)
        return response
      }
      if (pathname === '/events') return topic.stream(request)
      if (request.method === 'POST') return new Response(request.body)
      return Response.json([request.url, remoteAddress])
    },
    { zeromq: mongrel2.endpoint, trustProxy: 1 },
  )
  await server.ready
  const port = await freePort()
  const http = CONFIGURATION.replaceAll('127.0.0.1:6767', `127.0.0.1:${mongrel2.port}`).replace(
    'listen 80;',
    `listen 127.0.0.1:${port};`,
  )
  expect(http).toContain(`127.0.0.1:${port}`)
  nginx = await startNginx(await createNginxDirectory(), port, http)
})

afterAll(async () => {
  await nginx?.[Symbol.asyncDispose]()
  await server?.close()
  await mongrel2?.stop()
})

it('the app knows the client and the URL, whatever the client says of them', async () => {
  const forged = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'other.example' }
  const response = await fetch(`${nginx.origin}/a?b=c`, { headers: forged })
  expect(await response.json()).toEqual([`${nginx.origin}/a?b=c`, '127.0.0.1'])
})

it('WebSockets open beside requests whose connections are kept', async () => {
  for (let round = 1; round <= MOST; round++) {
    await Promise.all([1, 2, 3].map(async () => await (await fetch(nginx.origin)).text()))
    expect(await echoOf(nginx.origin.replace('http', 'ws'), 'hello')).toBe('hello')
  }
  // None of the kept connections was used up by a handshake.
  expect(server.stats().connections).toBeLessThan(MOST)
})

it('events arrive one by one', async () => {
  const { body } = await fetch(`${nginx.origin}/events`, { signal: AbortSignal.timeout(60_000) })
  const reader = body?.getReader()
  for (const text of ['one', 'two']) {
    await expect.poll(() => topic.size).toBe(1)
    topic.send(text)
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(`data: ${text}\n\n`)
  }
  await reader?.cancel()
  await expect.poll(() => topic.size).toBe(0)
})

it('a body passes while the client sends it', async () => {
  const parts = new TransformStream<Uint8Array, Uint8Array>()
  const writer = parts.writable.getWriter()
  const asked = fetch(nginx.origin, { method: 'POST', body: parts.readable, duplex: 'half' })
  await writer.write(Buffer.from('a'.repeat(1000)))
  const reader = (await asked).body?.getReader()
  expect((await reader?.read())?.value?.length).toBe(1000)
  await writer.write(Buffer.from('b'))
  await writer.close()
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('b')
  expect((await reader?.read())?.done).toBe(true)
})
