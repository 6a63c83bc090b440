import { existsSync, renameSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mongrel2Options } from '../../src/index.ts'
import { AdminClient } from '../support/admin-client.ts'
import { type CommandRun, Workplace } from '../support/command.ts'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { COMMAND_APP } from '../support/observed-command-app.ts'
import { entriesIn, inLog, inMetrics, metric, statusClasses, sum } from '../support/observed-counts.ts'
import { observedLoad } from '../support/observed-load.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

let mongrel2: Mongrel2
let log: string
let options: Mongrel2Options

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  log = join(mongrel2.directory, 'access.log')
  const logger = new CollectingLogger()
  const logging = { metrics: true, accessLog: log, accessLogFormat: 'json', logger }
  options = { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, ...logging }
})

afterEach(() => mongrel2.stop())

const serve = () =>
  serveWithWorkers({
    app: { module: new URL('../support/observed-app.ts', import.meta.url).href },
    workers: 2,
    threads: 2,
    options,
  })

const WAYS = [
  ['one process', []],
  ['workers with threads', ['-p', '2', '--threads', '2']],
  ['processes that pull directly', ['-p', '2', '--direct']],
] as const

/** The command with the app, its log and its admin address. */
async function serveCommand(place: Workplace, flags: readonly string[]): Promise<CommandRun> {
  const where = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, '--admin', './admin.sock']
  const run = place.run(['serve', 'app.ts', ...where, '--access-log', log, '--access-log-format', 'json', ...flags])
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

describe.each(WAYS)('%s', (_way, flags) => {
  const pipelined = !flags.some((flag) => flag === '--direct')

  it('has 50,000 requests of every kind in log, metrics and stats as their clients count them', async () => {
    await using place = new Workplace({ 'app.ts': COMMAND_APP })
    const run = await serveCommand(place, flags)
    const admin = new AdminClient(join(place.directory, 'admin.sock'))
    const ask = async (path: string) => (await admin.ask(path))[1]
    const counted = await observedLoad(mongrel2, Math.ceil(50_000 / (pipelined ? 14 : 11)), pipelined)
    const total = sum(counted.statuses)
    expect(total).toBeGreaterThanOrEqual(50_000)
    await expect
      .poll(async () => inMetrics(await ask('/metrics')))
      .toEqual({ ...statusClasses(counted.statuses), aborted: counted.aborted })
    expect(JSON.parse(await ask('/stats')).ended).toMatchObject({ total, aborted: counted.aborted })
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(inLog(await entriesIn(log))).toEqual(counted)
  }, 900_000)

  it('loses no line while its log is rotated under load', async () => {
    await using place = new Workplace({ 'app.ts': COMMAND_APP })
    const run = await serveCommand(place, flags)
    let over = false
    let rotations = 0
    const rotating = (async () => {
      for (; !over; await sleep(500)) {
        renameSync(log, `${log}.${++rotations}`)
        run.signal('SIGHUP')
        while (!existsSync(log)) await sleep(5)
      }
    })()
    const counted = await observedLoad(mongrel2, 300, pipelined)
    over = true
    await rotating
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(rotations).toBeGreaterThan(2)
    const files = [log, ...Array.from({ length: rotations }, (_, at) => `${log}.${at + 1}`)]
    const entries = await Promise.all(files.map(entriesIn))
    expect(entries.filter((found) => found.length > 0).length).toBeGreaterThan(2)
    expect(inLog(entries.flat()).statuses).toEqual(counted.statuses)
  }, 300_000)
})

/** Workers that are killed. */
const KILLS = 12

it('requests of workers that are killed are counted, too', async () => {
  const server = serve()
  await server.ready
  let kills = 0
  const killing = (async () => {
    for (; kills < KILLS; await sleep(300)) {
      const ready = server.stats().workers.filter(({ state }) => state === 'ready')
      const victim = ready.at(kills % 2)
      if (ready.length < 2 || victim === undefined) continue
      process.kill(victim.pid, 'SIGKILL')
      kills++
    }
  })()
  const outcomes: Record<string, number> = {}
  const client = async () => {
    for (let count = 0; kills < KILLS; count++) {
      const outcome = await ask(mongrel2.port, count % 4 === 0 ? '/stream' : '/plain')
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: 16 }, client))
  await killing
  await expect.poll(() => metric(server.metrics(), 'requests_total')).toBe(sum(outcomes))
  await server.close()
  const entries = await entriesIn(log)
  const logged: Record<string, number> = {}
  for (const { status, aborted } of entries) {
    const outcome = aborted ? 'closed' : String(status)
    logged[outcome] = (logged[outcome] ?? 0) + 1
  }
  expect(Object.keys(outcomes)).toEqual(expect.arrayContaining(['200', '502']))
  expect(logged).toEqual(outcomes)
}, 600_000)

/** The status of a complete answer, or `closed`. */
async function ask(port: number, target: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part
  })
  socket.write(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  await new Promise<void>((resolve) => {
    socket.on('end', () => socket.end())
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
  const [, status = 'closed'] = /^HTTP\/1\.1 (\d{3})/.exec(text) ?? []
  const complete = status !== '200' || target === '/plain' || text.endsWith('0\r\n\r\n')
  return complete ? status : 'closed'
}
