import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startMongrel2 } from '../support/mongrel2.ts'
import { ServerProcess } from '../support/server-process.ts'

const MIB = 1024 * 1024
const APP = new URL('stream-uploads/app.ts', import.meta.url)

/** So many MiB, no two alike. */
function* mebibytes(count: number): Generator<Buffer> {
  for (let n = 0; n < count; n++) yield Buffer.alloc(MIB, `the mebibyte number ${n} `)
}

/** Uploads so many MiB and resolves with what the server says of them. */
async function upload(port: number, count: number, chunked: boolean): Promise<string> {
  const headers = chunked ? {} : { 'content-length': count * MIB }
  const sending = request({ host: '127.0.0.1', port, method: 'POST', path: '/', headers })
  const answer = new Promise<string>((resolve, reject) => {
    sending.on('response', (response) => resolve(text(response)))
    sending.on('error', reject)
  })
  // Mongrel2 ends a connection for a chunk of over 100 KiB.
  const pieces = (function* () {
    for (const mebibyte of mebibytes(count))
      for (let at = 0; at < MIB; at += 65_536) yield mebibyte.subarray(at, at + 65_536)
  })()
  await pipeline(Readable.from(pieces), sending)
  return await answer
}

it.each([false, true])(
  '1 GiB streamed into a slow handler leaves its process as it was (in chunks: %s)',
  async (chunked) => {
    await using mongrel2 = await startMongrel2({ uploads: 'stream' })
    await using server = await ServerProcess.start(APP, { zeromq: mongrel2.endpoint })
    /** Uploads so many MiB; the most memory that the server had meanwhile. */
    const mostDuring = async (count: number) => {
      let done = false
      let most = 0
      const watch = (async () => {
        while (!done) {
          most = Math.max(most, (await server.report()).rss)
          await sleep(100)
        }
      })()
      const answer = await upload(mongrel2.port, count, chunked)
      done = true
      await watch
      const expected = createHash('sha256')
      for (const mebibyte of mebibytes(count)) expected.update(mebibyte)
      expect(answer).toBe(expected.digest('hex'))
      return most
    }
    // The heap's young generation grows to its size.
    const before = await mostDuring(256)
    expect((await mostDuring(1024)) - before).toBeLessThan(32 * MIB)
  },
  300_000,
)
