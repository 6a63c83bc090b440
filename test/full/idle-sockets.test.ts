import { setTimeout as sleep } from 'node:timers/promises'
import { fetch } from 'undici'
import { expect, it } from 'vitest'
import { startMongrel2 } from '../support/mongrel2.ts'
import { ServerProcess } from '../support/server-process.ts'
import { RawWebSocket } from '../support/websocket-client.ts'

const SOCKETS = 10_000
/** How many are opened at once. */
const AT_ONCE = 100
/** Seconds after which Mongrel2 ends a connection of which it has heard nothing; 120 by default. */
const MIN_PING = 5
const SETTINGS = {
  'limits.min_ping': MIN_PING,
  'limits.min_read_rate': 300,
  'limits.min_write_rate': 300,
  'limits.tick_timer': 1,
  // With its defaults it has no room for the handler among so many sockets.
  'superpoll.max_fd': 24_000,
  'superpoll.hot_dividend': 2,
}
/** What a socket costs with us at most, in bytes. */
const MOST_MEMORY = 16 * 1024

it('10,000 open sockets are all open after three idle times of Mongrel2’s, and get a message', async () => {
  await using mongrel2 = await startMongrel2({ settings: SETTINGS, protocol: 'tnetstring' })
  const options = { zeromq: mongrel2.endpoint, keepAliveInterval: MIN_PING * 300 }
  await using server = await ServerProcess.start(new URL('idle-sockets/app.ts', import.meta.url), options)
  const clients: RawWebSocket[] = []
  const openSome = async (count: number) => {
    for (const end = clients.length + count; clients.length < end; ) {
      clients.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => RawWebSocket.open(mongrel2.port)))))
    }
  }
  try {
    await openSome(500) // what is compiled and allocated once
    const before = await server.report({ collect: true })
    await openSome(SOCKETS - clients.length)
    const after = await server.report({ collect: true })
    await sleep(3 * MIN_PING * 1000)
    expect(clients.filter(({ ended }) => ended)).toHaveLength(0)
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}/`)
    expect(await response.text()).toBe(String(SOCKETS))
    const heard = () => clients.filter(({ frames }) => frames[0]?.payload.toString() === 'still here').length
    await expect.poll(heard, { timeout: 30_000 }).toBe(SOCKETS)
    const opened = SOCKETS - 500
    const [heap, rss] = [after.heap - before.heap, after.rss - before.rss].map((bytes) => Math.round(bytes / opened))
    console.log(`Memory for each of ${opened} idle WebSockets: ${heap} bytes of heap and buffers, ${rss} bytes of RSS`)
    expect(heap).toBeLessThan(MOST_MEMORY)
  } finally {
    for (const client of clients) client.destroy()
  }
}, 180_000)
