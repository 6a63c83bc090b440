import { linkSync, openSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'
import { nodeFs } from '../support/touched-files.ts'
import { type UploadFile, WRITES_FIRST } from '../support/upload-clients.ts'

// To let opening fail, and to lead it elsewhere.
vi.mock('../../src/runtime/process/node-fs.ts', async () => (await import('../support/touched-files.ts')).nodeFs)

/** Answers the next opening of a file, however it is opened. */
function openOnce(answer: () => number): void {
  const { open, openSync } = nodeFs.fs
  const answered = () => {
    open.mockReset()
    openSync.mockReset()
    return answer()
  }
  openSync.mockImplementationOnce(answered)
  open.mockImplementationOnce((...parameters: unknown[]) => {
    const done = parameters.at(-1) as (error: unknown, file?: number) => void
    try {
      done(null, answered())
    } catch (error) {
      done(error)
    }
  })
}

const LARGE = 'x'.repeat(30_000)
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const lengthOf = (bytes: number) => `Content-Length: ${bytes}\r\n`

describe.skipIf(lacks('stored uploads'))('a stored body', () => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server | undefined
  let logger: CollectingLogger
  let called: number

  beforeEach(async () => {
    mongrel2 = await startMongrel2()
    logger = new CollectingLogger()
    called = 0
  })

  afterEach(async () => {
    await server?.close()
    await mongrel2.stop()
  })

  async function serve(options: Partial<Mongrel2Options> = {}): Promise<void> {
    const handler = () => {
      called++
      return new Response('fine')
    }
    server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger, ...options })
    await server.ready
  }

  const files = () => readdirSync(join(mongrel2.directory, 'tmp'))

  async function upload40MB(): Promise<UploadFile> {
    const path = join(mongrel2.directory, 'body')
    writeFileSync(path, Buffer.alloc(40e6))
    return { path, size: 40e6 }
  }

  /** Sends a large body and resolves with the status of the answer. */
  async function upload(): Promise<number> {
    using client = new RawClient(mongrel2.port)
    return (await client.send(request('/', 'POST', lengthOf(LARGE.length)) + LARGE).response()).status
  }

  it('in chunks is ended as soon as it is seen to be larger than maxBodySize', async () => {
    await serve({ maxBodySize: 100_000 })
    using client = new RawClient(mongrel2.port)
    client.send(request('/', 'POST', CHUNKED))
    const response = client.response()
    const chunk = `7530\r\n${LARGE}\r\n`
    while (!client.ended && client.bytesRead === 0) {
      client.send(chunk)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect((await response).status).toBe(413)
    client.send('0\r\n\r\n') // before its end, it would be waited for
    await client.closed
    await expect.poll(files).toEqual([])
    expect(called).toBe(0)
  })

  it.each<[what: string, status: number, options: Partial<Mongrel2Options>]>([
    ['maxBodySize', 413, { maxBodySize: 100_000 }],
    ['maxBodySize, where others pull, too', 413, { maxBodySize: 100_000, shared: true }],
    ['onUploadStart', 403, { onUploadStart: () => new Response('no', { status: 403 }) }],
  ])('that is answered by %s reaches a client that writes all of it first', async (_what, status, options) => {
    await serve(options)
    expect(await WRITES_FIRST(`http://127.0.0.1:${mongrel2.port}/`, await upload40MB())).toMatchObject({ status })
    await expect.poll(files).toEqual([])
    expect(called).toBe(0)
  })

  it('that is answered by a worker reaches such a client, too', async () => {
    await using workers = serveWithWorkers({
      workers: 1,
      options: { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger, maxBodySize: 100_000 },
    })
    await workers.ready
    expect(await WRITES_FIRST(`http://127.0.0.1:${mongrel2.port}/`, await upload40MB())).toMatchObject({ status: 413 })
    await expect.poll(files).toEqual([])
  })

  it('that was answered takes little room while its client sends on', async () => {
    await serve({ maxBodySize: 100_000 })
    using client = new RawClient(mongrel2.port)
    client.send(request('/', 'POST', lengthOf(100e6)))
    expect((await client.response()).status).toBe(413)
    const piece = Buffer.alloc(1e6)
    let most = 0
    let largest = 0
    for (let sent = 0; sent < 60e6; sent += piece.length) {
      await client.written(piece)
      await sleep(20)
      for (const name of files()) {
        const { blocks, size } = statSync(join(mongrel2.directory, 'tmp', name))
        most = Math.max(most, blocks * 512)
        largest = Math.max(largest, size)
      }
    }
    expect(largest).toBeGreaterThan(40e6)
    expect(most).toBeLessThan(30e6)
    expect(called).toBe(0)
  })

  it('of other processes, too, is refused at its start where maxBodySize is exceeded or nobody could tell', async () => {
    await serve({ maxBodySize: 100_000, shared: true })
    for (const [fields, status] of [
      [lengthOf(1_000_000), 413],
      [CHUNKED, 411],
    ] as const) {
      using client = new RawClient(mongrel2.port)
      const body = fields === CHUNKED ? `7530\r\n${LARGE}\r\n0\r\n\r\n` : 'x'.repeat(1_000_000)
      expect((await client.send(request('/', 'POST', fields) + body).response()).status).toBe(status)
      await client.closed
    }
    expect(await upload()).toBe(200)
    await expect.poll(files).toEqual([])
  })

  it('whose file has another name is refused', async () => {
    const other = join(mongrel2.directory, 'other')
    await serve({
      onUploadStart: () => {
        const [name = ''] = files()
        linkSync(join(mongrel2.directory, 'tmp', name), other)
        return undefined
      },
    })
    expect([await upload(), called]).toEqual([400, 0])
    expect(logger.warnings.join()).toMatch(/refused an upload: .* has 2 names/)
  })

  it('whose file turns out to lie elsewhere when it is open is refused', async () => {
    const outside = join(mongrel2.directory, '..', `outside-${process.pid}`)
    writeFileSync(outside, LARGE)
    await serve()
    openOnce(() => openSync(outside, 'r'))
    expect([await upload(), called]).toEqual([400, 0])
    expect(logger.warnings.join()).toMatch(/refused an upload: .* leads to .*outside/)
  })

  it('that cannot be opened is answered with 500, says why, and leaves no file', async () => {
    await serve()
    openOnce(() => {
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    })
    expect([await upload(), called]).toEqual([500, 0])
    expect(logger.warnings.join()).toMatch(/EMFILE.*no file descriptors are left/)
    await expect.poll(files).toEqual([])
    expect(await upload()).toBe(200)
  })
})
