// npm run bench:memory
//
// Measures what the process of a server keeps for each client that does nothing, after a collection. The clients are messages as Mongrel2 sends
// them, so that no sockets of theirs are counted. Part of what the process takes in RAM is the space for new objects, which V8 lets grow to a
// fixed size once, however many clients there are: it is counted, and shown beside.

import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { getHeapSpaceStatistics } from 'node:v8'
import { SWEEP_INTERVAL } from '../../src/connection/keep-alive.ts'
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

/** In bytes. */
interface Sample {
  readonly heap: number
  readonly rss: number
  /** What the space for new objects has of `rss`. */
  readonly young: number
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
  const each = (part: keyof Sample) => (after[part] - before[part]) / CLIENTS
  return { heap: each('heap'), rss: each('rss'), young: each('young') }
}

async function settled(): Promise<Sample> {
  // The state of connections on which nothing is open is deleted then.
  await delay(2 * SWEEP_INTERVAL)
  for (let count = 0; count < 5; count++) {
    globalThis.gc?.()
    await delay(20)
  }
  const { heapUsed: heap, rss } = process.memoryUsage()
  const spaces = getHeapSpaceStatistics().filter(({ space_name }) => space_name === 'new_space')
  return { heap, rss, young: spaces[0]?.physical_space_size ?? 0 }
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
const rows = [['bytes for each of 8,000 clients', 'heap', 'wanted', 'RSS', 'wanted', 'of RSS for new objects']]
for (const [title, { heap, rss }] of Object.entries(KINDS)) {
  const sample = await measured(title)
  const text = (bytes: number | undefined) => bytes?.toFixed(0) ?? ''
  rows.push([title, ...[sample.heap, heap, sample.rss, rss, sample.young].map(text)])
}
console.log(renderText(rows))
