import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fetch } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFront, type Front } from '../../src/gateway/index.ts'
import { LACKS } from '../support/embedded.ts'
import { freePorts } from '../support/free-port.ts'
import { CollectingLogger } from '../support/logger.ts'
import { RawClient } from '../support/raw-client.ts'
import { RawHandler } from '../support/raw-handler.ts'
import { serveMongrel2 } from '../support/serve.ts'

let directory: string
let front: Front | undefined
let logger: CollectingLogger

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'front-'))
  logger = new CollectingLogger()
})

afterEach(async () => {
  await front?.close()
  front = undefined
  rmSync(directory, { recursive: true })
})

const endpoint = (name: string) => ({
  sendSpec: `ipc://${directory}/${name}-send`,
  recvSpec: `ipc://${directory}/${name}-recv`,
})

describe('createFront', () => {
  it('says at its start, once, that it is not Mongrel2', async () => {
    front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint('a') }], logger })
    expect(logger.lines).toEqual([
      {
        level: 'warn',
        line: `mongrel2-fetch front at http://127.0.0.1:${front.address.port}/: this is the embedded stand-in for development, not Mongrel2`,
      },
    ])
  })

  it('gives each path to the handler of the longest route, over ipc and tcp', async () => {
    const [send, recv] = await freePorts(2)
    const tcp = { sendSpec: `tcp://127.0.0.1:${send}`, recvSpec: `tcp://127.0.0.1:${recv}` }
    front = await createFront({
      port: 0,
      routes: [
        { path: '/a', ...endpoint('a') },
        { path: '/a/b/', ...tcp, protocol: 'tnetstring' },
        { path: '/c', ...endpoint('a') },
      ],
      logger,
    })
    await using a = serveMongrel2((_request, { mongrel2 }) => new Response(`a ${mongrel2.pattern}`), {
      zeromq: endpoint('a'),
    })
    await using b = serveMongrel2((_request, { mongrel2 }) => new Response(`b ${mongrel2.pattern}`), { zeromq: tcp })
    await Promise.all([a.ready, b.ready])
    const paths = ['/a', '/abc', '/a/b', '/a/b/', '/a/b/c', '/c/', '/d']
    const url = `http://127.0.0.1:${front.address.port}`
    const texts = await Promise.all(paths.map(async (path) => (await fetch(url + path)).text()))
    expect(texts).toEqual(['a /a', 'a /a', 'a /a', 'b /a/b/', 'b /a/b/', 'a /c', 'Not Found'])
  })

  it('listens at IPv6 and tells addresses as they are', async () => {
    front = await createFront({ port: 0, host: '::', routes: [{ path: '/', ...endpoint('a') }], logger })
    await using server = serveMongrel2((_request, { mongrel2 }) => new Response(mongrel2.remoteAddress), {
      zeromq: endpoint('a'),
    })
    await server.ready
    const hosts = ['[::1]', '127.0.0.1']
    const texts = await Promise.all(
      hosts.map(async (host) => (await fetch(`http://${host}:${front?.address.port}/`)).text()),
    )
    expect(texts).toEqual(['::1', '127.0.0.1'])
  })

  it('reports replies that Mongrel2 could not read, and those that it might crash on', async () => {
    front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint('a'), sendIdent: 'test' }], logger })
    using handler = await RawHandler.connect(`${endpoint('a').sendSpec},${endpoint('a').recvSpec}`)
    await handler.publish('test 3:X 1, 26:3:ctl,16:7:credits,3:1.5^}]')
    expect(await logger.next('error')).toMatch(/dropped a reply .*expected keep-alive, credits or cancel: test 3:X 1, /)
  })

  it('is described in docs/gateway.md with all that it lacks', () => {
    const page = readFileSync('docs/gateway.md', 'utf8')
    for (const text of Object.values(LACKS)) expect(page).toContain(` | ${text} |`)
  })

  it('rejects where an address is taken, and leaves nothing open', async () => {
    front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint('a') }], logger })
    const [send] = await freePorts(1)
    const routes = [{ path: '/', sendSpec: `tcp://127.0.0.1:${send}`, recvSpec: endpoint('b').recvSpec }]
    await expect(createFront({ port: front.address.port, routes, logger })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    })
    await using again = await createFront({ port: 0, routes, logger })
    await expect(createFront({ port: 0, routes, logger })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(again.address.port).toBeGreaterThan(0)
  })

  it('does not take its own answers from a client that is still sending', async () => {
    front = await createFront({ port: 0, uploads: 'none', routes: [{ path: '/a', ...endpoint('a') }], logger })
    for (const [path, status] of [
      ['/a', 413],
      ['/b', 404],
    ] as const) {
      using client = new RawClient(front.address.port)
      client.pause()
      client.send(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n`)
      for (let n = 0; n < 20; n++) {
        await client.written(Buffer.alloc(1e6))
        await sleep(75)
      }
      client.resume()
      expect((await client.response()).status).toBe(status)
    }
  })

  it('ends every connection when it is closed, the ones that wait for an answer too', async () => {
    front = await createFront({ port: 0, routes: [{ path: '/', ...endpoint('a') }], logger })
    const answers = [1, 2].map((n) => fetch(`http://127.0.0.1:${front?.address.port}/${n}`))
    const failed = Promise.all(answers.map((answer) => expect(answer).rejects.toThrow()))
    using handler = await RawHandler.connect(`${endpoint('a').sendSpec},${endpoint('a').recvSpec}`)
    await handler.next()
    await handler.next()
    await Promise.all([front.close(), front.close()])
    await failed
  })
})
