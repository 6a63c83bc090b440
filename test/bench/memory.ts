// npm run bench:memory
//
// Measures what the process of a server keeps for each client that does nothing, after a collection. The clients are messages as Mongrel2 sends
// them, so that no sockets of theirs are counted.

import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type FetchHandler, serveMongrel2, Topic, upgradeWebSocket } from '../../src/index.ts'
import { Binding } from '../../src/link/inproc/binding.ts'
import { createMessage } from '../../src/wire/message.ts'
import { renderText } from './table.ts'

/** Clients before the first look: what the first ones bring about stays. */
const EARLY = 500
const CLIENTS = 8000
/** Connections in one turn. */
const TOGETHER = 50
const SENDER = '3c1c1c2e-0000-4000-8000-000000000000'

interface Kind {
  readonly handler: FetchHandler
  readonly fields: readonly string[]
  readonly body?: string
  /** Bytes a client, by the goals. */
  readonly heap?: number
  readonly rss?: number
}

const topic = new Topic()
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

const KINDS: Readonly<Record<string, Kind>> = {
  'an idle WebSocket': {
    handler: (request) => upgradeWebSocket(request).response,
    fields: ['upgrade', 'websocket', 'connection', 'Upgrade', 'sec-websocket-version', '13', 'sec-websocket-key', KEY],
    body: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    heap: 2048,
    rss: 4096,
  },
  'an event stream of a Topic': { handler: (request) => topic.stream(request), fields: [], heap: 3072, rss: 6144 },
  'an idle connection': { handler: () => new Response('hello'), fields: [] },
}

interface Sample {
  readonly heap: number
  readonly rss: number
}

async function measure({ handler, fields, body = '' }: Kind): Promise<Sample> {
  const directory = mkdtempSync(join(tmpdir(), 'mongrel2-fetch-memory-'))
  const place = { sendSpec: 'inproc://memory', recvSpec: `ipc://${directory}/replies` }
  const binding = new Binding(Object.values(place), '', () => {})
  const server = serveMongrel2(handler, { zeromq: { ...place, controlPort: false } })
  await server.ready
  const method = body === '' ? 'GET' : 'WEBSOCKET_HANDSHAKE'
  const own = ['PATH', '/', 'URI', '/', 'VERSION', 'HTTP/1.1', 'PATTERN', '/', 'URL_SCHEME', 'http']
  const all = [...fields, 'host', 'localhost', ...own, 'REMOTE_ADDR', '127.0.0.1', 'DOWNLOAD_CREDITS', '102400']
  const request = (id: number) =>
    createMessage({ sender: SENDER, connectionId: id, path: '/' }, [...all, 'METHOD', method], Buffer.from(body))
  const credits = (id: number) =>
    createMessage(
      { sender: SENDER, connectionId: id, path: '@*' },
      ['METHOD', 'JSON', 'DOWNLOAD_CREDITS', '100000'],
      Buffer.from('{"type":"credits"}'),
    )
  const connect = async (first: number, count: number) => {
    for (const message of [request, credits]) {
      for (let id = first; id < first + count; id++) {
        binding.deal(message(id))
        if (id % TOGETHER === 0) await delay(10)
      }
      await delay(200)
    }
  }
  await connect(1, EARLY)
  const before = await settled()
  await connect(EARLY + 1, CLIENTS)
  const after = await settled()
  rmSync(directory, { recursive: true })
  return { heap: (after.heapUsed - before.heapUsed) / CLIENTS, rss: (after.rss - before.rss) / CLIENTS }
}

async function settled(): Promise<NodeJS.MemoryUsage> {
  for (let count = 0; count < 5; count++) {
    globalThis.gc?.()
    await delay(20)
  }
  return process.memoryUsage()
}

/** Measures a kind in a process of its own. */
function measured(kind: string): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [kind], { execArgv: ['--import', 'tsx', '--expose-gc'] })
    child.once('message', (sample) => resolve(sample as Sample))
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the server of ${kind} ended with ${code}`)))
  })
}

const [kind] = process.argv.slice(2)
if (kind !== undefined) {
  process.send?.(await measure(KINDS[kind] as Kind))
  process.exit()
}
const rows = [['bytes for each of 8,000 clients', 'heap', 'wanted', 'RSS', 'wanted']]
for (const [title, { heap, rss }] of Object.entries(KINDS)) {
  const sample = await measured(title)
  rows.push([title, sample.heap.toFixed(0), String(heap ?? ''), sample.rss.toFixed(0), String(rss ?? '')])
}
console.log(renderText(rows))
