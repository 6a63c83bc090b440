import { Pool } from 'undici'
import { expect, it } from 'vitest'
import { startMongrel2 } from '../support/mongrel2.ts'
import { ServerProcess } from '../support/server-process.ts'

const CLIENTS = 64
const REQUESTS = 200_000
const WARM_UP = 50_000
/** Bytes that the server's process may have grown by from the end of the warm-up to the end of the run. */
const FLAT = 32 * 1024 * 1024
/** Of these, bytes of objects and buffers that are still in use. */
const HEAP_FLAT = 4 * 1024 * 1024

it('answers 200,000 requests over keep-alive with 64 clients, none lost, RSS flat after the warm-up', async () => {
  await using mongrel2 = await startMongrel2()
  await using server = await ServerProcess.start(new URL('load/app.ts', import.meta.url), {
    zeromq: mongrel2.endpoint,
    chroot: mongrel2.directory,
  })
  const pool = new Pool(`http://127.0.0.1:${mongrel2.port}`, { connections: CLIENTS, pipelining: 1 })
  let sent = 0
  let right = 0
  const ask = async (until: number) => {
    while (sent < until) {
      const name = String(sent++)
      const { body } = await pool.request({ path: `/${name}`, method: 'GET' })
      if ((await body.text()) === name) right++
    }
  }
  const run = async (until: number) => {
    await Promise.all(Array.from({ length: CLIENTS }, () => ask(until)))
    return await server.report({ collect: true })
  }
  const warm = await run(WARM_UP)
  const end = await run(REQUESTS)
  await pool.close()
  const { requests, inFlight, malformed, rejected } = end.stats
  expect({ right, requests, inFlight, malformed, rejected }).toEqual({
    right: REQUESTS,
    requests: REQUESTS,
    inFlight: 0,
    malformed: 0,
    rejected: 0,
  })
  expect(end.heap - warm.heap).toBeLessThan(HEAP_FLAT)
  // The allocator gives pages back some time after their objects are gone.
  const grown = async () => (await server.report({ collect: true })).rss - warm.rss
  await expect.poll(grown).toBeLessThan(FLAT)
}, 600_000)
