import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startMongrel2 } from '../support/mongrel2.ts'
import { request as head, RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { ServerProcess } from '../support/server-process.ts'

const MIB = 1024 * 1024
const APP = new URL('gateway/app.ts', import.meta.url)

/** So many MiB, no two alike. */
function* mebibytes(count: number): Generator<Buffer> {
  for (let n = 0; n < count; n++) yield Buffer.alloc(MIB, `the mebibyte number ${n} `)
}

function digestOf(count: number): string {
  const hash = createHash('sha256')
  for (const mebibyte of mebibytes(count)) hash.update(mebibyte)
  return hash.digest('hex')
}

async function upload(port: number, count: number, chunked: boolean): Promise<string> {
  const headers = chunked ? {} : { 'content-length': count * MIB }
  const sending = request({ host: '127.0.0.1', port, method: 'POST', path: '/hash', headers })
  const answer = new Promise<string>((resolve, reject) => {
    sending.on('response', (response) => resolve(text(response)))
    sending.on('error', reject)
  })
  await pipeline(Readable.from(mebibytes(count)), sending)
  return await answer
}

async function download(port: number, count: number): Promise<string> {
  const asked = request({ host: '127.0.0.1', port, path: `/${count}` }).end()
  const hash = createHash('sha256')
  await new Promise<void>((resolve, reject) => {
    asked.on('error', reject).on('response', (response) => {
      response.on('error', reject).on('end', resolve)
      response.on('data', (bytes: Buffer) => hash.update(bytes))
    })
  })
  return hash.digest('hex')
}

const memoryOf = (pid: number) =>
  1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

it.each<[what: string, transfer: (port: number, count: number) => Promise<string>]>([
  ['up, with a length', (port, count) => upload(port, count, false)],
  ['up, in chunks', (port, count) => upload(port, count, true)],
  ['down', download],
])(
  '1 GiB %s goes through in flat memory, of the gateway and of the handler',
  async (_, transfer) => {
    await using front = await startMongrel2({ embedded: true, uploads: 'stream', flowControl: true })
    await using server = await ServerProcess.start(APP, { zeromq: front.endpoint })
    /** Transfers so many MiB; the most memory that both had meanwhile. */
    const mostDuring = async (count: number): Promise<[gateway: number, handler: number]> => {
      let done = false
      const most: [number, number] = [0, 0]
      const watch = (async () => {
        while (!done) {
          most[0] = Math.max(most[0], memoryOf(front.pid))
          most[1] = Math.max(most[1], (await server.report()).rss)
          await sleep(100)
        }
      })()
      expect(await transfer(front.port, count)).toBe(digestOf(count))
      done = true
      await watch
      return most
    }
    // The heap's young generation grows to its size.
    const before = await mostDuring(256)
    const after = await mostDuring(1024)
    for (const at of [0, 1] as const) expect(after[at] - before[at]).toBeLessThan(32 * MIB)
  },
  300_000,
)

it('200 requests on each of 50 connections leave the gateway as it was', async () => {
  await using front = await startMongrel2({ embedded: true, flowControl: true })
  await using server = serveMongrel2(() => new Response('x'), { zeromq: front.endpoint })
  await server.ready
  const round = async () => {
    const clients = Array.from({ length: 50 }, () => new RawClient(front.port))
    await Promise.all(
      clients.map(async (client) => {
        for (let batch = 0; batch < 4; batch++) {
          client.send(head('/').repeat(50))
          for (let answer = 0; answer < 50; answer++) expect((await client.response()).status).toBe(200)
        }
        client.destroy()
      }),
    )
    await sleep(1500)
    return memoryOf(front.pid)
  }
  await round()
  const before = await round()
  for (let again = 0; again < 4; again++) await round()
  expect((await round()) - before).toBeLessThan(32 * MIB)
}, 300_000)
