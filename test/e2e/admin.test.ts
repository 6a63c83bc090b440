import { once } from 'node:events'
import { chmodSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AdminStats } from '../../src/admin/index.ts'
import type { ConnectionState } from '../../src/index.ts'
import { AdminClient, ReadinessWatch } from '../support/admin-client.ts'
import { type CommandRun, Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { get, RawClient, request } from '../support/raw-client.ts'

/** An app that says its version; a request of `/wait` is open until a file appears. */
const appOf = (version: string) => `import { existsSync } from 'node:fs'
export default async (request) => {
  const { pathname } = new URL(request.url)
  while (pathname === '/wait' && !existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 20))
  return new Response('${version}', { status: pathname === '/missing' ? 404 : 200 })
}
`
const TOKEN = 'a-token-of-some-length'

let place: Workplace
let mongrel2: Mongrel2

beforeEach(async () => {
  place = new Workplace({ 'app.js': appOf('1'), token: `${TOKEN}\n` })
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

function start(...args: string[]): CommandRun {
  return startWith({}, ...args)
}

/** Starts it with variables of the environment. */
function startWith(env: Readonly<Record<string, string>>, ...args: string[]): CommandRun {
  return place.run(['serve', 'app.js', '--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, ...args], env)
}

/** Serves the app with an admin address; resolves when it serves. */
async function serve(...args: string[]): Promise<CommandRun> {
  const run = start('--admin', './admin.sock', ...args)
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

/** A client of the socket in the working directory. */
const client = () => new AdminClient(join(place.directory, 'admin.sock'))

async function ask(path = '/'): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${mongrel2.port}${path}`, { headers: { connection: 'close' } })).text()
}

async function stats(): Promise<AdminStats> {
  return JSON.parse((await client().ask('/stats'))[1])
}

const WORKERS = [
  ['workers with threads', ['-p', '2', '--threads', '2']],
  ['processes that pull directly', ['-p', '2', '--direct']],
] as const
/** All of them with FULL=1. */
const WAYS = process.env.FULL === '1' ? ([['one process', []], ...WORKERS] as const) : ([WORKERS[0]] as const)

describe('Readiness', () => {
  it.each(WAYS)('of %s is told through start, loss of Mongrel2 and drain', async (_way, flags) => {
    await mongrel2.kill()
    await using watch = new ReadinessWatch(client())
    await watch.is('none')
    const run = start('--admin', './admin.sock', ...flags)
    const [sendSpec, recvSpec] = mongrel2.endpoint.split(',')
    const missing = `no Mongrel2 at ${sendSpec},${recvSpec}`
    await watch.is(new RegExp(`^${missing}`))
    await mongrel2.restart()
    await watch.is('ready')
    await mongrel2.kill()
    await watch.is(missing)
    await mongrel2.restart()
    await watch.is('ready')

    const last = ask('/wait')
    await expect.poll(async () => (await stats()).inFlight).toBe(1)
    run.signal('SIGTERM')
    await watch.is(/^the server closes/)
    const known = watch.answers.length
    expect((await client().ask('/healthz'))[0]).toBe(200)
    place.write('go', '')
    expect(await last).toBe('1')
    expect(await run.ended).toBe(0)
    await watch.is('none')
    expect(watch.answers.slice(known).filter((answer) => answer === 'ready')).toEqual([])
  })

  it.each(WAYS)('of %s ends with the signal, whatever the service manager takes', async (_way, flags) => {
    // Tells that it is called, and goes on when it is told to.
    place.write('systemd-notify', '#!/bin/sh\necho "$1" >> told\nuntil [ -e "$1" ]; do sleep 0.05; done\n')
    chmodSync(join(place.directory, 'systemd-notify'), 0o755)
    const path = `${place.directory}${delimiter}${process.env.PATH}`
    const run = startWith({ NOTIFY_SOCKET: '/none', PATH: path }, '--admin', './admin.sock', ...flags)
    await run.prints(/^mongrel2-fetch serves/m)
    const told = () => readFileSync(join(place.directory, 'told'), { encoding: 'utf8', flag: 'a+' }).split('\n')
    await expect.poll(told).toContain('READY=1')
    const last = ask('/wait')
    await expect.poll(async () => (await stats()).inFlight).toBe(1)
    expect(await client().ask('/readyz')).toEqual([200, 'ready\n'])
    run.signal('SIGTERM')
    await run.prints(/got SIGTERM/)
    expect(await client().ask('/readyz')).toEqual([503, expect.stringMatching(/^the server closes\n/)])
    place.write('READY=1', '')
    await expect.poll(told).toContain('STOPPING=1')
    expect(await client().ask('/readyz')).toEqual([503, expect.stringMatching(/^the server closes\n/)])
    place.write('go', '')
    expect(await last).toBe('1')
    place.write('STOPPING=1', '')
    expect(await run.ended).toBe(0)
  })

  it.each(WORKERS)('of %s stays through a reload', async (_way, flags) => {
    const run = await serve(...flags)
    await using watch = new ReadinessWatch(client())
    await watch.is('ready')
    place.write('app.js', appOf('2'))
    expect(await client().ask('/reload', {}, 'POST')).toEqual([200, 'The workers are replaced.\n'])
    expect(await ask()).toBe('2')
    expect(run.stderr).toMatch(/^mongrel2-fetch got POST \/reload: new workers load the app$/m)
    expect(run.stderr).toMatch(/^mongrel2-fetch has replaced its workers$/m)
    expect(watch.answers).toEqual(['ready'])
  })
})

describe("Mongrel2's list of connections", () => {
  it.each([
    ['one process', []],
    ['workers with threads', ['-p', '2', '--threads', '2']],
    ['processes that pull directly', ['-p', '2', '--direct']],
  ] as const)('has what %s knows of each', async (_way, flags) => {
    await serve(...flags)
    const open = ask('/wait')
    using idle = new RawClient(mongrel2.port)
    await get(idle, '/')
    await expect.poll(async () => (await stats()).inFlight).toBe(1)
    const listed = ['mongrel2', 'status', '--control', mongrel2.controlPort, '--admin', './admin.sock']
    const json = place.run([...listed, '--json'])
    expect(await json.ended).toBe(0)
    const connections: { ours: string; worker?: number }[] = JSON.parse(json.stdout)
    // An idle one is forgotten after a while.
    const [kept, busy] = [/^(?:idle|unknown)$/, /^open$/].map((state) => expect.stringMatching(state))
    expect(connections.map(({ ours }) => ours)).toEqual(expect.arrayContaining([kept, busy]))
    expect(connections.length).toBe(2)
    const pids = (await stats()).workers?.map(({ pid }) => pid) ?? [(await stats()).pid]
    for (const { ours, worker } of connections) if (ours !== 'unknown') expect(pids).toContain(worker)
    const table = place.run(listed)
    expect(await table.ended).toBe(0)
    expect(table.stdout).toMatch(/ours +worker\n(?:.*\n)?.*\bopen +\d+$/m)
    place.write('go', '')
    expect(await open).toBe('1')
  })

  it('tells when a process that pulls directly does not answer', async () => {
    await serve('-p', '1', '--direct')
    const pid = (await stats()).workers?.[0]?.pid ?? 0
    process.kill(pid, 'SIGSTOP')
    try {
      const run = place.run(['mongrel2', 'status', '--control', mongrel2.controlPort, '--admin', './admin.sock'])
      expect(await run.ended).toBe(1)
      expect(run.stderr).toContain(`answers 503: process ${pid} did not tell its connections within 2000 ms`)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  })

  it('says which Mongrel2 has the connection where several have one of its number', async () => {
    await using other = await startMongrel2()
    await serve('--zeromq', other.endpoint)
    const clients: RawClient[] = []
    /** Opens a request at each; resolves with the numbers of all connections there. */
    const openAt = async (...each: Mongrel2[]) => {
      clients.push(...each.map(({ port }) => new RawClient(port).send(request('/wait'))))
      await expect.poll(async () => (await stats()).inFlight).toBe(clients.length)
      const known: ConnectionState[] = JSON.parse((await client().ask('/connections'))[1])
      return [mongrel2, other].map(({ endpoint }) => {
        return known.flatMap(({ recvSpec, connection }) => (endpoint.endsWith(`,${recvSpec}`) ? connection : []))
      }) as [number[], number[]]
    }
    let [ids, others] = await openAt(mongrel2, other)
    while (!ids.some((id) => others.includes(id))) {
      ;[ids, others] = await openAt(Math.max(...ids) < Math.max(...others) ? mongrel2 : other)
    }
    const listed = ['mongrel2', 'status', '--control', mongrel2.controlPort, '--admin', './admin.sock', '--json']
    const json = place.run(listed)
    expect(await json.ended).toBe(0)
    const both = JSON.parse(json.stdout).filter(({ id }: { id: number }) => others.includes(id))
    const places = [mongrel2, other].map(({ endpoint }) => `open at ${endpoint.split(',')[1]}`)
    expect(both[0].ours.split(', ').sort()).toEqual(places.sort())
    expect(both[0]).not.toHaveProperty('worker')
    place.write('go', '')
    for (const client of clients) {
      expect((await client.response()).body.toString()).toBe('1')
      client.destroy()
    }
  })
})

describe('The admin address', () => {
  it.each(WAYS)('of %s has the figures of what clients asked', async (_way, flags) => {
    await serve(...flags)
    for (const path of ['/', '/', '/missing']) await ask(path)
    await expect.poll(async () => (await stats()).ended?.total).toBe(3)
    const { ended, workers, links } = await stats()
    expect(ended?.byClass).toMatchObject({ '2xx': 2, '4xx': 1, '5xx': 0 })
    expect(workers?.map(({ state }) => state)).toEqual(flags.length === 0 ? undefined : ['ready', 'ready'])
    expect(links.map(({ attached }) => attached)).toEqual([true])
    expect((await client().ask('/metrics'))[1]).toMatch(/^mongrel2_fetch_requests_total\{status="2xx"\} 2$/m)
  })

  it('at a path is for this user, and a socket that was left behind is no obstacle', async () => {
    const run = await serve()
    const path = join(place.directory, 'admin.sock')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    run.signal('SIGKILL')
    await run.ended
    expect(statSync(path).isSocket()).toBe(true)
    const again = await serve()
    expect(again.stderr).toMatch(/^mongrel2-fetch shows its state at \.\/admin\.sock$/m)
    again.signal('SIGTERM')
    expect(await again.ended).toBe(0)
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
  })

  it('is there while the app is being loaded', async () => {
    place.write(
      'app.js',
      `${appOf('1')}while (!existsSync('load')) await new Promise((resolve) => setTimeout(resolve, 20))`,
    )
    const run = start('--admin', './admin.sock')
    await run.prints(/^mongrel2-fetch shows its state/m)
    expect(await client().ask('/healthz')).toEqual([200, 'ok\n'])
    expect(await client().ask('/readyz')).toEqual([503, 'the app is being loaded\n'])
    place.write('load', '')
    await run.prints(/^mongrel2-fetch serves/m)
    expect(await client().ask('/readyz')).toEqual([200, 'ready\n'])
  })

  it('keeps the old workers when the app does not load, and says why', async () => {
    await serve('-p', '2')
    place.write('app.js', 'no JavaScript')
    const [status, text] = await client().ask('/reload', {}, 'POST')
    expect([status, text]).toEqual([409, expect.stringMatching(/^a worker could not load the app: .*SyntaxError/s)])
    expect(await ask()).toBe('1')
    const { warnings } = await stats()
    expect(warnings?.map(({ line }) => line).join('\n')).toMatch(/^mongrel2-fetch lost worker \d+: .*SyntaxError/ms)
  })

  it('at a port of this machine is to read only, and only by names of this machine', async () => {
    const port = await freePort()
    const run = start('-p', '1', '--admin', `127.0.0.1:${port}`)
    await run.prints(/^mongrel2-fetch serves/m)
    expect(run.stderr).toContain(`mongrel2-fetch shows its state at http://127.0.0.1:${port}/\n`)
    const admin = new AdminClient(port)
    const asked = async (host: string, path = '/stats') => (await admin.ask(path, { host }))[0]
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, '[::1]', 'me.localhost'])
      expect(await asked(host)).toBe(200)
    for (const host of ['evil.example', `127.0.0.1.evil.example:${port}`]) {
      expect(await asked(host)).toBe(403)
      expect(await asked(host, '/healthz')).toBe(403)
    }
    for (const host of ['me@localhost', 'a b']) expect(await asked(host)).toBe(400)
    for (const path of ['http://localhost/stats', '*', 'stats']) expect((await admin.ask(path))[0]).toBe(400)
    expect((await admin.ask('//evil.example/stats'))[0]).toBe(404)
    expect((await admin.ask('/stats', {}, 'TRACE'))[0]).toBe(400)
    expect((await admin.ask('/reload', {}, 'POST'))[0]).toBe(403)
  })

  it('may be anywhere with a token, which it then wants', async () => {
    const port = await freePort()
    const run = start('-p', '1', '--admin', `:${port}`, '--admin-token-file', 'token')
    await run.prints(/^mongrel2-fetch serves/m)
    const admin = new AdminClient(port)
    const authorization = `Bearer ${TOKEN}`
    expect((await admin.ask('/readyz', { host: 'probe.example' }))[0]).toBe(200)
    expect((await admin.ask('/stats', { host: 'admin.example' }))[0]).toBe(401)
    expect((await admin.ask('/stats', { host: 'admin.example', authorization }))[0]).toBe(200)
    expect((await admin.ask('/reload', { authorization }, 'POST'))[0]).toBe(200)
  })

  it.each([
    ['0.0.0.0:0', [], 2, '--admin cannot be used without --admin-token-file, since other machines can connect there'],
    [':0', [], 2, '--admin cannot be used without --admin-token-file'],
    ['localhost', [], 2, '--admin: expected HOST:PORT, :PORT or the path of a socket'],
    [':0', ['--admin-token-file', 'nothing'], 2, '--admin-token-file: ENOENT'],
    [
      ':0',
      ['--admin-token-file', 'short'],
      2,
      '--admin-token-file: expected at least 16 printable characters of ASCII in short',
    ],
    ['./short', [], 4, '--admin cannot listen: expected a path that is free'],
  ])('refuses %s with %j: exit code %d', async (admin, more, code, message) => {
    place.write('short', 'short')
    const run = start('--admin', admin, ...more)
    expect(await run.ended).toBe(code)
    expect(run.stderr).toContain(`mongrel2-fetch: ${message}`)
    expect(run.stderr).not.toMatch(/short"|"short/)
  })

  it('refuses a port that is in use, and a socket', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const run = start('--admin', `127.0.0.1:${port}`)
    expect(await run.ended).toBe(4)
    expect(run.stderr).toMatch(/^mongrel2-fetch: --admin cannot listen: .*EADDRINUSE/m)
    taken.close()
    const first = await serve()
    const second = start('--admin', './admin.sock')
    expect(await second.ended).toBe(4)
    expect(second.stderr).toMatch(/EADDRINUSE/)
    expect((await client().ask('/readyz'))[0]).toBe(200)
    first.signal('SIGTERM')
    await first.ended
  })
})

describe('mongrel2-fetch status', () => {
  const status = (...args: string[]) => place.run(['status', ...args])

  it('shows the state as a table or JSON, and ends with 1 where the server is not ready', async () => {
    await serve('-p', '2')
    await ask()
    await expect.poll(async () => (await stats()).ended?.total).toBe(1)
    const table = status('--admin', './admin.sock')
    expect(await table.ended).toBe(0)
    expect(table.stdout).toMatch(/^ready\nprocess +\d+, mongrel2-fetch /)
    expect(table.stdout).toMatch(/^requests +1, now [\d.]+ a second\nstatuses +1 2xx, 0 aborted\nlatency +p50 /m)
    expect(table.stdout).toMatch(/^link +state +since\nipc:.* +up +\d+ s$/m)
    expect(table.stdout.match(/^ *\d+ +- +ready /gm)).toHaveLength(2)
    const json = status('--admin', './admin.sock', '--json')
    expect(await json.ended).toBe(0)
    expect(JSON.parse(json.stdout)).toMatchObject({ obstacles: [], ended: { total: 1 } })
    await mongrel2.kill()
    await expect.poll(async () => (await client().ask('/readyz'))[0]).toBe(503)
    const later = status('--admin', './admin.sock')
    expect(await later.ended).toBe(1)
    expect(later.stdout).toMatch(/^not ready: no Mongrel2 at /)
  })

  it('watches until it is stopped, also while the server is away', async () => {
    place.write('mongrel2-fetch.config.json', '{ "admin": "./admin.sock", "adminTokenFile": "token" }')
    const run = status('--watch')
    await run.prints(
      /^\.\/admin\.sock does not answer: nobody listens there: start serve with --admin \.\/admin\.sock$/m,
    )
    const server = start()
    await server.prints(/^mongrel2-fetch serves/m)
    await run.prints(/^ready$.*^ready$/ms)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it.each([
    [[], {}, 2, 'expected --admin HOST:PORT or --admin PATH, as serve has it'],
    [['--admin', './nothing.sock'], {}, 1, './nothing.sock does not answer: nobody listens there'],
    [
      ['--admin', './admin.sock'],
      {},
      1,
      './admin.sock needs a token, and none is given: name its file by --admin-token-file',
    ],
    [
      ['--admin', './admin.sock', '--admin-token-file', 'other'],
      {},
      1,
      './admin.sock needs a token, and the given one is another',
    ],
    [[], { MONGREL2_FETCH_ADMIN: './admin.sock', MONGREL2_FETCH_ADMIN_TOKEN_FILE: 'token' }, 0, ''],
    [['app.js'], {}, 2, 'expected no argument, got 1: app.js'],
  ])('%j with %j ends with %d', async (args, env, code, message) => {
    place.write('other', 'another-token-of-some-length')
    await serve('--admin-token-file', 'token')
    const run = place.run(['status', ...args], env)
    expect(await run.ended).toBe(code)
    expect(run.stderr).toContain(message)
  })
})

describe('Restarts', () => {
  it('are counted for each place of a worker, in /stats, the metrics and status', async () => {
    await serve('-p', '2')
    const counted = async () => (await stats()).places?.map(({ node, place, restarts }) => [node, place, restarts])
    expect(await counted()).toEqual([
      ['', 1, 0],
      ['', 2, 0],
    ])
    const pidAt = async (number: number) => (await stats()).workers?.find(({ place }) => place === number)?.pid ?? 0
    const [first, second] = [await pidAt(1), await pidAt(2)]
    process.kill(second, 'SIGKILL')
    const ready = async () => (await stats()).workers?.filter(({ state }) => state === 'ready').length
    await expect.poll(async () => [(await counted())?.at(1), await ready()]).toEqual([['', 2, 1], 2])
    expect([await pidAt(1), (await pidAt(2)) !== second]).toEqual([first, true])
    await client().ask('/reload', {}, 'POST')
    expect(await counted()).toEqual([
      ['', 1, 1],
      ['', 2, 2],
    ])
    const [, metrics] = await client().ask('/metrics')
    expect(metrics.match(/^mongrel2_fetch_worker_restarts_total.*/gm)).toEqual([
      'mongrel2_fetch_worker_restarts_total{node="",place="1"} 1',
      'mongrel2_fetch_worker_restarts_total{node="",place="2"} 2',
    ])
    expect(metrics).toContain(`mongrel2_fetch_worker_up{node="",place="2",pid="${await pidAt(2)}"} 1\n`)
    const table = place.run(['status', '--admin', './admin.sock'])
    expect(await table.ended).toBe(0)
    expect(table.stdout).toMatch(/^ *worker .* age +restarts +memory/m)
    for (const number of [1, 2]) {
      expect(table.stdout).toMatch(new RegExp(`^ *${await pidAt(number)} +- +ready .* \\d+ s +${number} +`, 'm'))
    }
  })
})

describe('SIGUSR2', () => {
  it.each([
    ['one process that counts nothing', [], /^ {4}messages +\d+$/m],
    ['workers', ['-p', '2', '--metrics'], /^ {4}requests +1, now/m],
  ])('writes the state of %s to the log', async (_what, flags, line) => {
    const run = start(...flags)
    await run.prints(/^mongrel2-fetch serves/m)
    await (await fetch(`http://127.0.0.1:${mongrel2.port}/`)).text()
    run.signal('SIGUSR2')
    await run.prints(/^mongrel2-fetch got SIGUSR2: ready$/m)
    await run.prints(line)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  })
})
