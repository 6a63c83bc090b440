import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Mongrel2Options, Mongrel2Server } from '../../src/index.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import {
  type Answer,
  createUploadFiles,
  MEGABYTES,
  PROGRAMS,
  type UploadClient,
  type UploadFile,
  WRITES_FIRST,
} from '../support/upload-clients.ts'

const CLIENTS: Record<string, UploadClient> = { 'a client that writes first': WRITES_FIRST, ...PROGRAMS }
const OPTIONS: Record<string, Partial<Mongrel2Options>> = {
  '/too-large': { maxBodySize: 500_000 },
  '/forbidden': { onUploadStart: () => new Response('forbidden', { status: 403 }) },
}
const ANSWERS: Record<string, Answer> = {
  '/too-large': { status: 413, connection: 'close', text: 'Bodies may have 500000 bytes' },
  '/forbidden': { status: 403, connection: 'close', text: 'forbidden' },
}

let directory: string
let files: Map<number, UploadFile>

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'unread-stored-uploads-'))
  files = await createUploadFiles(directory)
})

afterAll(async () => {
  await rm(directory, { recursive: true, force: true })
})

describe.each([
  ['without flow control', false],
  ['with flow control', true],
])('A stored upload that is answered at its start, %s,', (_mode, flowControl) => {
  let mongrel2: Mongrel2
  let servers: Mongrel2Server[]

  beforeAll(async () => {
    mongrel2 = await startMongrel2({ flowControl, routes: { '/too-large': {}, '/forbidden': {} } })
    const { directory: chroot, endpoints } = mongrel2
    const logger = new CollectingLogger()
    servers = Object.entries(OPTIONS).map(([path, options]) =>
      serveMongrel2(() => new Response('called'), { zeromq: endpoints[path] as string, chroot, logger, ...options }),
    )
    await Promise.all(servers.map((server) => server.ready))
  })

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.close({ timeout: 1000 })))
    await mongrel2.stop()
  })

  const stored = () => readdirSync(join(mongrel2.directory, 'tmp'))

  const table = Object.keys(CLIENTS).flatMap((client) =>
    Object.keys(ANSWERS).flatMap((path) => MEGABYTES.map((megabytes) => [client, path, megabytes] as const)),
  )
  it.each(table)(
    'reaches %s: %s, %d MB',
    async (name, path, megabytes) => {
      const client = CLIENTS[name] as UploadClient
      const url = `http://127.0.0.1:${mongrel2.port}${path}`
      expect(await client(url, files.get(megabytes) as UploadFile)).toEqual(ANSWERS[path])
      await expect.poll(stored).toEqual([])
    },
    90_000,
  )

  it('ends half a minute after its answer, when its client sends on', async () => {
    using client = new RawClient(mongrel2.port)
    client.send(`POST /forbidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${2 ** 31 - 1}\r\n\r\n`)
    const sending = (async () => {
      for (;;) {
        await client.written(Buffer.alloc(0x8000))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    const over = sending.catch((error: NodeJS.ErrnoException) => error.code)
    expect((await client.response()).status).toBe(403)
    await client.closed
    expect(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED']).toContain(await over)
    await expect.poll(stored).toEqual([])
  }, 90_000)
})
