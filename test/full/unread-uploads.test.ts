import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium as browserType, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { ServerProcess } from '../support/server-process.ts'
import { answerUnread, UNREAD, UNREAD_OPTIONS } from '../support/unread-uploads.ts'
import {
  chromium,
  createUploadFiles,
  MEGABYTES,
  PROGRAMS,
  type UploadClient,
  type UploadFile,
  WRITES_FIRST,
} from '../support/upload-clients.ts'

const CHROMIUM = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
const APP = new URL('unread-uploads/app.ts', import.meta.url)
let directory: string
let browser: Browser
let files: Map<number, UploadFile>

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'unread-uploads-'))
  files = await createUploadFiles(directory)
  // Its sandbox does not work for root.
  browser = await browserType.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
})

afterAll(async () => {
  await browser?.close()
  await rm(directory, { recursive: true, force: true })
})

describe.each([
  ['without flow control', false],
  ['with flow control', true],
])('An upload that nobody reads to its end, %s,', (_mode, flowControl) => {
  let mongrel2: Mongrel2
  let servers: Mongrel2Server[]
  let page: Page
  const clients: Record<string, UploadClient> = {
    'a client that writes first': WRITES_FIRST,
    ...PROGRAMS,
    Chromium: (url, file) => chromium(page)(url, file),
  }

  beforeAll(async () => {
    const paths = ['/', ...Object.keys(UNREAD_OPTIONS)]
    const routes = Object.fromEntries(paths.map((path) => [path, {}]))
    mongrel2 = await startMongrel2({ uploads: 'stream', flowControl, routes })
    const logger = new CollectingLogger()
    servers = paths.map((path) =>
      serveMongrel2(answerUnread, { zeromq: mongrel2.endpoints[path] as string, logger, ...UNREAD_OPTIONS[path] }),
    )
    await Promise.all(servers.map((server) => server.ready))
    page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${mongrel2.port}/`)
  })

  afterAll(async () => {
    await page?.close()
    await Promise.all(servers.map((server) => server.close({ timeout: 1000 })))
    await mongrel2.stop()
  })

  const table = Object.keys(clients).flatMap((client) =>
    Object.keys(UNREAD).flatMap((path) => MEGABYTES.map((megabytes) => [client, path, megabytes] as const)),
  )
  it.each(table)(
    'by %s is answered: %s, %d MB',
    async (name, path, megabytes) => {
      const client = clients[name] as UploadClient
      const { connection, ...answer } = await client(
        `http://127.0.0.1:${mongrel2.port}${path}`,
        files.get(megabytes) as UploadFile,
      )
      expect(answer).toEqual(UNREAD[path])
      // What is missing of 1 MB is little enough to be read for the sake of the next request.
      if (megabytes > 1 && name !== 'Chromium') expect(connection).toBe('close')
    },
    90_000,
  )
})

describe.each([
  ['of a known length', `Content-Length: ${2 ** 31 - 1}`],
  ['in chunks', 'Transfer-Encoding: chunked'],
])('An upload %s that does not end', (what, field) => {
  it('is thrown away for half a minute, in flat memory, and its client is sent away', async () => {
    await using mongrel2 = await startMongrel2({ uploads: 'stream' })
    await using server = await ServerProcess.start(APP, { zeromq: mongrel2.endpoint })
    const before = (await server.report()).rss
    using client = new RawClient(mongrel2.port)
    client.send(`POST /forbidden HTTP/1.1\r\nHost: localhost\r\n${field}\r\n\r\n`)
    const piece = what === 'in chunks' ? Buffer.from(`8000\r\n${'x'.repeat(0x8000)}\r\n`) : Buffer.alloc(0x8000)
    /** Resolves when so many messages have reached the server, or the connection has ended. */
    const arrived = async (messages: number) => {
      while (!client.ended && (await server.report()).stats.messages < messages);
    }
    let sent = 0
    const sending = (async () => {
      for (;;) {
        await client.written(piece)
        sent += piece.length
        // Not so fast that a body of known length comes to its end.
        if (sent % (32 * piece.length) === 0) await sleep(50)
        // Each chunk is a message behind the request's. A client that fills Mongrel2's socket hears of the end a minute later.
        if (what === 'in chunks') await arrived(1 + sent / piece.length)
      }
    })()
    const over = sending.catch((error: NodeJS.ErrnoException) => error.code)
    expect((await client.response()).status).toBe(403)
    await client.closed
    expect(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED']).toContain(await over)
    expect(sent).toBeGreaterThan(100e6)
    expect((await server.report()).rss - before).toBeLessThan(64e6)
  }, 90_000)
})
