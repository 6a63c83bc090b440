import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mongrel2Options } from '../../src/index.ts'
import { Workplace } from '../support/command.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { fetch } from '../support/observed-app.ts'
import { COMMAND_APP } from '../support/observed-command-app.ts'
import { entriesIn, inLog, inMetrics, metric, statusClasses, sum } from '../support/observed-counts.ts'
import { observedLoad } from '../support/observed-load.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

let mongrel2: Mongrel2
let log: string
let options: Mongrel2Options

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  log = join(mongrel2.directory, 'access.log')
  options = {
    zeromq: mongrel2.endpoint,
    chroot: mongrel2.directory,
    metrics: true,
    accessLog: log,
    accessLogFormat: 'json',
    logger: new CollectingLogger(),
  }
})

afterEach(() => mongrel2.stop())

const WAYS = {
  'one process': () => serveMongrel2(fetch, options),
  '2 workers with 2 threads': () =>
    serveWithWorkers({
      app: { module: new URL('../support/observed-app.ts', import.meta.url).href },
      workers: 2,
      threads: 2,
      options,
    }),
}

describe.each(Object.entries(WAYS))('%s', (_way, serve) => {
  it('count what clients count, in log and metrics', async () => {
    const server = serve()
    await server.ready
    const counted = await observedLoad(mongrel2, 30)
    await expect.poll(() => metric(server.metrics(), 'requests_total')).toBe(sum(counted.statuses))
    const metrics = server.metrics()
    await server.close()
    const entries = await entriesIn(log)
    expect(inLog(entries)).toEqual(counted)
    expect(inMetrics(metrics)).toEqual({ ...statusClasses(counted.statuses), aborted: counted.aborted })
    expect(metric(metrics, 'request_body_bytes_total')).toBe(counted.sent)
    expect(metric(metrics, 'response_bytes_total')).toBe(entries.reduce((total, { bytes }) => total + bytes, 0))
    expect(metric(metrics, 'request_duration_seconds_count')).toBe(entries.length)
  }, 60_000)
})

it('answers in place of a worker are counted, logged and recorded with what clients get', async () => {
  const record = join(mongrel2.directory, 'record')
  const server = serveWithWorkers({
    app: { module: new URL('../support/observed-app.ts', import.meta.url).href },
    workers: 1,
    options: { ...options, record, maxInFlight: 1, maxQueued: 1 },
  })
  await server.ready
  const clients = Array.from({ length: 3 }, () => new RawClient(mongrel2.port))
  const [lost, waiting, refused] = clients as [RawClient, RawClient, RawClient]
  lost.send(request('/never'))
  await expect.poll(() => server.stats().inFlight).toBe(1)
  waiting.send(request('/waiting'))
  await expect.poll(() => server.stats().queued).toBe(1)
  refused.send(request('/refused'))
  await refused.closed
  // No other worker is ready then for the one that waits.
  process.kill(server.stats().workers[0]?.pid ?? 0, 'SIGKILL')
  await Promise.all([lost.closed, waiting.closed])
  await expect.poll(() => metric(server.metrics(), 'requests_total')).toBe(3)
  const metrics = server.metrics()
  await server.close()
  const statuses: number[] = []
  for (const client of clients) statuses.push((await client.response()).status)
  expect(statuses).toEqual([502, 503, 503])
  const bytes = clients.map(({ bytesRead }) => bytesRead)
  const entries = await entriesIn(log)
  const inOrder = ['/never', '/waiting', '/refused'].map((target) => entries.find((entry) => entry.target === target))
  expect(inOrder.map((entry) => [entry?.status, entry?.bytes, entry?.worker, entry?.aborted])).toEqual(
    bytes.map((count, at) => [statuses[at], count, null, false]),
  )
  expect(metric(metrics, 'response_bytes_total')).toBe(sum(bytes))
  const recorded = (await readFile(record, 'utf8')).trim().split('\n')
  expect(recorded.map((line) => JSON.parse(line).response?.status).sort()).toEqual([502, 503, 503])
})

it.each([['--direct', '-p', '2'], ['-p', '2', '--threads', '2'], []])(
  'the command writes a line for each request (%s %s %s %s)',
  async (...flags) => {
    await using place = new Workplace({ 'app.ts': COMMAND_APP })
    const where = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
    const run = place.run(['serve', 'app.ts', ...where, '--access-log', log, '--access-log-format', 'json', ...flags])
    await run.prints(/^mongrel2-fetch serves/m)
    const counted = await observedLoad(mongrel2, 20, !flags.some((flag) => flag === '--direct'))
    await expect.poll(async () => (await entriesIn(log)).length).toBe(sum(counted.statuses))
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(inLog(await entriesIn(log))).toEqual(counted)
  },
  60_000,
)

/** Raw bytes of a user agent, each with what may follow in a forged line. */
const FORGERIES = [
  'a" 200 1 "-" "b',
  String.raw`a\" 200 1`,
  'a\tb',
  'a\x1b[2Jb',
  'a\x85b',
  'a\u2028b',
  'ümlaut',
  `${'x'.repeat(5000)}"`,
  '{"status":500}',
]

it.each(['combined', 'json', '{userAgent} {target}'])(
  'no client forges a line of the request log, as %s',
  async (accessLogFormat) => {
    const server = serveMongrel2(fetch, { ...options, accessLogFormat })
    await server.ready
    for (const agent of FORGERIES) {
      const client = new RawClient(mongrel2.port)
      client.send(request('/forged', 'GET', `User-Agent: ${agent}\r\nReferer: ${agent}\r\nConnection: close\r\n`))
      expect((await client.response()).status).toBe(200)
    }
    await server.close()
    const lines = (await readFile(log, 'latin1')).split('\n').slice(0, -1)
    const form = {
      combined: /^127\.0\.0\.1 - - \[[^\]]*\] "GET \/forged HTTP\/1\.1" 200 \d+ "[^"]*" "[^"]*"$/,
      json: /^\{"time":.*\}$/,
    }[accessLogFormat]
    expect(lines).toHaveLength(FORGERIES.length)
    for (const line of lines) {
      expect(line).toMatch(form ?? /^[^ ]+ \/forged$/)
      expect(line).toMatch(/^[ -~]*$/)
      if (accessLogFormat === 'json') expect(JSON.parse(line)).toMatchObject({ status: 200, target: '/forged' })
    }
  },
)
