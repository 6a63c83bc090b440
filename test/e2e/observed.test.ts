import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mongrel2Options, RequestEntry } from '../../src/index.ts'
import { Workplace } from '../support/command.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { fetch } from '../support/observed-app.ts'
import { type Counted, observedLoad } from '../support/observed-load.ts'
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

/** The same app for the command, which has the built package. */
const APP = readFileSync(new URL('../support/observed-app.ts', import.meta.url), 'utf8')
  .replace('../../src/index.ts', resolve('dist/src/index.js'))
  .replace(/^import type .*\n/m, '')
  .replace(/^export default .*/m, 'export default fetch')

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
    const counted = await observedLoad(mongrel2.port, 30)
    await expect.poll(() => metric(server.metrics(), 'requests_total')).toBe(sum(counted.statuses))
    const metrics = server.metrics()
    await server.close()
    const entries = await entriesIn(log)
    expect(inLog(entries)).toEqual(counted)
    expect(inMetrics(metrics)).toEqual({ ...classes(counted.statuses), aborted: counted.aborted })
    expect(metric(metrics, 'request_body_bytes_total')).toBe(counted.sent)
    expect(metric(metrics, 'response_bytes_total')).toBe(entries.reduce((total, { bytes }) => total + bytes, 0))
    expect(metric(metrics, 'request_duration_seconds_count')).toBe(entries.length)
  }, 60_000)
})

it.each([['--direct', '-p', '2'], ['-p', '2', '--threads', '2'], []])(
  'the command writes a line for each request (%s %s %s %s)',
  async (...flags) => {
    await using place = new Workplace({ 'app.ts': APP })
    const where = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory]
    const run = place.run(['serve', 'app.ts', ...where, '--access-log', log, '--access-log-format', 'json', ...flags])
    await run.prints(/^mongrel2-fetch serves/m)
    const counted = await observedLoad(mongrel2.port, 20, !flags.includes('--direct'))
    await expect.poll(async () => (await entriesIn(log)).length).toBe(sum(counted.statuses))
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(inLog(await entriesIn(log))).toEqual(counted)
  },
  60_000,
)

async function entriesIn(path: string): Promise<RequestEntry[]> {
  const text = await readFile(path, 'utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

/** The same counts by the log. */
function inLog(entries: readonly RequestEntry[]): Counted {
  const counted: Counted = { statuses: {}, bytes: 0, sent: 0, aborted: 0 }
  for (const { status = 'none', bytes, received, aborted } of entries) {
    counted.statuses[status] = (counted.statuses[status] ?? 0) + 1
    if (aborted) counted.aborted++
    else counted.bytes += bytes
    counted.sent += received
  }
  return counted
}

function classes(statuses: Counted['statuses']): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [status, count] of Object.entries(statuses)) {
    const name = `${status.slice(0, 1)}xx`
    counts[name] = (counts[name] ?? 0) + count
  }
  return counts
}

/** The counts by class of status, where there are any, and those aborted. */
function inMetrics(text: string): Record<string, number> {
  const pairs = Array.from(
    text.matchAll(/^mongrel2_fetch_requests_total\{status="(.+)"\} (\d+)$/gm),
    ([, name, count]) => [name, Number(count)],
  )
  const counts = Object.fromEntries(pairs.filter(([, count]) => count !== 0))
  return { ...counts, aborted: metric(text, 'requests_aborted_total') }
}

/** The sum of a metric's samples. */
function metric(text: string, name: string): number {
  return sum(
    Array.from(text.matchAll(new RegExp(`^mongrel2_fetch_${name}(?:\\{.*\\})? (.+)$`, 'gm')), ([, value]) =>
      Number(value),
    ),
  )
}

function sum(values: readonly number[] | Record<string, number>): number {
  return Object.values(values).reduce((total, value) => total + value, 0)
}
