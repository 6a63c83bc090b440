import { Pool } from 'undici'
import { expect, it } from 'vitest'
import { startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'

const CLIENTS = 64
const REQUESTS = 200_000
const WARM_UP = 50_000
/** Bytes that RSS may have grown by from the end of the warm-up to the end of the run. */
const FLAT = 32 * 1024 * 1024

it('answers 200,000 requests over keep-alive with 64 clients, none lost, RSS flat after the warm-up', async () => {
  await using mongrel2 = await startMongrel2()
  await using server = serveMongrel2((request) => new Response(request.url.slice(request.url.lastIndexOf('/') + 1)), {
    zeromq: mongrel2.endpoint,
    chroot: mongrel2.directory,
  })
  await server.ready
  const pool = new Pool(`http://127.0.0.1:${mongrel2.port}`, { connections: CLIENTS, pipelining: 1 })
  let sent = 0
  let right = 0
  let warm = 0
  const client = async () => {
    while (sent < REQUESTS) {
      const name = String(sent++)
      const { body } = await pool.request({ path: `/${name}`, method: 'GET' })
      if ((await body.text()) === name) right++
      if (right === WARM_UP) warm = process.memoryUsage.rss()
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  const { requests, inFlight, malformed, rejected } = server.stats()
  expect({ right, requests, inFlight, malformed, rejected }).toEqual({
    right: REQUESTS,
    requests: REQUESTS,
    inFlight: 0,
    malformed: 0,
    rejected: 0,
  })
  await pool.close()
  expect(process.memoryUsage.rss() - warm).toBeLessThan(FLAT)
}, 180_000)
