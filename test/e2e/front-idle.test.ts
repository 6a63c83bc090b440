import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Listener } from '../../src/front/listener.ts'
import { checkSettings } from '../../src/front/options.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'

const IDLE_TIMEOUT = 500

let directory: string
let listener: Listener
let client: RawClient

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'front-idle-'))
  const route = { path: '/', sendSpec: spec('send'), recvSpec: spec('recv'), sendIdent: 'front', recvIdent: '' }
  const settings = { ...checkSettings({}), eagerChunks: true, lateHandshakes: true, idleTimeout: IDLE_TIMEOUT }
  listener = await Listener.start(
    { ...settings, routes: [{ ...route, protocol: 'tnetstring' }] },
    { port: 0, host: '127.0.0.1' },
  )
  client = new RawClient(listener.address?.port ?? 0)
})

afterEach(async () => {
  client.destroy()
  await listener.close()
  rmSync(directory, { recursive: true })
})

function spec(name: string): string {
  return `ipc://${directory}/${name}`
}

it('A client that says nothing is gone after the idle timeout', async () => {
  await client.closed
})

it('A client whose handler is at work stays, and is gone when it says nothing after the answer', async () => {
  await using server = serveMongrel2(
    async () => {
      await sleep(3 * IDLE_TIMEOUT)
      return new Response('late')
    },
    { zeromq: `${spec('send')},${spec('recv')}`, keepAliveInterval: IDLE_TIMEOUT / 4 },
  )
  await server.ready
  client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  expect((await client.response()).body.toString()).toBe('late')
  await client.closed
})

it('A client that sends its head byte by byte is refused after the idle timeout', async () => {
  const head = `GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(1000)}\r\n\r\n`
  const refused = client.response()
  for (const letter of head) {
    client.send(letter)
    if ((await Promise.race([refused, sleep(20)])) !== undefined) break
  }
  expect((await refused).status).toBe(400)
})
