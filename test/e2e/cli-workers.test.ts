import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CommandRun, Workplace } from '../support/command.ts'
import { lacks } from '../support/embedded.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { ServiceManager } from '../support/service-manager.ts'

/** Which says who answers: process, thread and version. More than types, so that Node alone cannot read it. */
const appOf = (version: string) => `import { threadId } from 'node:worker_threads'
enum Path { sleep = '/sleep', loop = '/loop', fail = '/fail', never = '/never' }
export const fetch = async (request: Request): Promise<Response> => {
  const { pathname } = new URL(request.url)
  if (pathname === Path.sleep) console.log('sleeps')
  if (pathname === Path.sleep) await new Promise((resolve) => setTimeout(resolve, 300))
  if (pathname === Path.loop) for (;;);
  if (pathname === Path.fail) throw new Error('the handler fails')
  if (pathname === Path.never) { console.log('never'); await new Promise(() => {}) }
  return new Response(\`\${process.pid} \${threadId} ${version}\`)
}
export default fetch
`

let place: Workplace
let mongrel2: Mongrel2

beforeEach(async () => {
  place = new Workplace({ 'app.ts': appOf('1') })
  mongrel2 = await startMongrel2()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

/** Runs the app and resolves when it serves. */
async function serve(...args: string[]): Promise<CommandRun> {
  const run = start(...args)
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

function start(...args: string[]): CommandRun {
  return place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, ...args])
}

async function ask(path = '/'): Promise<Response> {
  return await fetch(`http://127.0.0.1:${mongrel2.port}${path}`, { headers: { connection: 'close' } })
}

/** Who answers: process, thread and version. */
async function answer(path = '/'): Promise<string[]> {
  return (await (await ask(path)).text()).split(' ')
}

/** The processes of the workers that the log says have started. */
function startedBy(run: CommandRun): number[] {
  return [...run.stderr.matchAll(/^mongrel2-fetch started worker (\d+)$/gm)].map(([, pid]) => Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('mongrel2-fetch serve with workers', () => {
  it('serves by so many threads in so many processes, says so line by line, and ends with 0', async () => {
    const run = await serve('-p', '2', '--threads', '2')
    expect(run.stdout).toBe(
      `mongrel2-fetch serves app.ts at ${mongrel2.endpoint} by 2 worker processes with 2 threads each\n`,
    )
    const answers = await Promise.all(Array.from({ length: 4 }, () => answer('/sleep')))
    const pids = startedBy(run)
    expect(pids).toHaveLength(2)
    for (const pid of pids) {
      expect(new Set(answers.filter(([process]) => Number(process) === pid).map(([, thread]) => thread)).size).toBe(2)
    }
    const last = answer('/sleep')
    await expect.poll(() => run.stdout.match(/^sleeps$/gm)?.length).toBe(5)
    run.signal('SIGTERM')
    expect((await last)[2]).toBe('1')
    expect(await run.ended).toBe(0)
    for (const pid of pids) expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch ended worker ${pid}$`, 'm'))
    expect(run.stderr).toMatch(/^mongrel2-fetch ended app\.ts after 5 messages$/m)
    expect(pids.filter(isAlive)).toEqual([])
  })

  it.each([
    ['one process', ['-p', '1']],
    ['threads', ['--threads', '2']],
  ])('gives %s what the configuration file has as code, and the export that is named', async (_, flags) => {
    place.write(
      'mongrel2-fetch.config.ts',
      "export default { onError: (error: Error) => new Response('handled: ' + error.message, { status: 418 }) }",
    )
    await serve(...flags, '--export', 'fetch')
    expect((await answer())[2]).toBe('1')
    const failed = await ask('/fail')
    expect([failed.status, await failed.text()]).toEqual([418, 'handled: the handler fails'])
  })

  it('has the quick global objects in workers, unless told otherwise, and Node there with its arguments', async () => {
    place.write(
      'app.ts',
      `const replaced = Object.getPrototypeOf(Response) !== Function.prototype
      export default () => new Response(replaced + ' ' + process.execArgv.join())`,
    )
    const run = await serve('--exec-argv', '--no-warnings --stack-trace-limit=7')
    expect(await answer()).toEqual(['true', '--no-warnings,--stack-trace-limit=7'])
    run.signal('SIGTERM')
    await run.ended
    await serve('-p', '1', '--no-override-global-objects')
    expect((await answer())[0]).toBe('false')
  })

  it('leaves no request of a worker that is killed unanswered, and starts another', async () => {
    const run = await serve('-p', '1')
    const lost = ask('/never')
    await run.prints(/^never$/m)
    const [pid = 0] = startedBy(run)
    process.kill(pid, 'SIGKILL')
    expect((await lost).status).toBe(502)
    await expect.poll(() => startedBy(run).length).toBe(2)
    expect(Number((await answer())[0])).toBe(startedBy(run)[1])
    expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch lost worker ${pid}: it was ended by SIGKILL$`, 'm'))
  })

  it('replaces workers after --max-requests, and kills one that hangs for --worker-timeout', async () => {
    const run = await serve('--max-requests', '2', '--worker-timeout', '1000')
    await answer()
    await answer()
    await run.prints(/^mongrel2-fetch replaces worker \d+: it got 2 requests$/m)
    await expect.poll(() => startedBy(run).length).toBe(2)
    expect((await ask('/loop')).status).toBe(502)
    await run.prints(/it gave no sign of life within workerTimeout, 1000 ms$/m)
  })

  it.each([
    ['a process', ['-p', '2']],
    ['a thread', ['--threads', '2']],
    ['a process that pulls for itself', ['-p', '2', '--direct']],
  ])('ends with 3 and says why when %s cannot load the app', async (_, flags) => {
    place.write('app.ts', "enum Day { today }\nthrow new Error('not ' + Day[0])")
    const run = start(...flags)
    expect(await run.ended).toBe(3)
    expect(run.stderr).toMatch(
      /^mongrel2-fetch: app\.ts is not served: a worker could not load the app: \S+app\.ts could not be loaded:\nError: not today\n {4}at .*app\.ts:2/m,
    )
    expect(run.stdout).toBe('')
  })

  it.each([
    ['', []],
    [' directly', ['--direct']],
  ])('ends at once on a second signal, and its workers that pull%s with it', async (_, flags) => {
    const run = await serve('-p', '2', ...flags)
    ask('/never').catch(() => {})
    await run.prints(/^never$/m)
    run.signal('SIGTERM')
    await run.prints(/got SIGTERM/)
    // More than what counts as together.
    await sleep(400)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(143)
    await expect.poll(() => startedBy(run).filter(isAlive)).toEqual([])
  })
})

describe('mongrel2-fetch serve --direct', () => {
  it('has every process pull for itself, and ends with 0 when they have answered', async () => {
    const run = await serve('-p', '2', '--direct')
    expect(run.stdout).toBe(
      `mongrel2-fetch serves app.ts at ${mongrel2.endpoint} by 2 worker processes, which pull directly\n`,
    )
    const answers = await Promise.all(Array.from({ length: 4 }, () => answer('/sleep')))
    expect(new Set(answers.map(([pid]) => Number(pid)))).toEqual(new Set(startedBy(run)))
    const last = answer('/sleep')
    await expect.poll(() => run.stdout.match(/^sleeps$/gm)?.length).toBe(5)
    run.signal('SIGTERM')
    expect((await last)[2]).toBe('1')
    expect(await run.ended).toBe(0)
    expect(startedBy(run)).toHaveLength(2)
    for (const pid of startedBy(run)) {
      expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch ended worker ${pid}$`, 'm'))
    }
  })

  it.skipIf(lacks('stored uploads'))(
    'takes stored bodies whose beginning and end came to different processes',
    async () => {
      place.write('app.ts', 'export default async (request: Request) => new Response(await request.arrayBuffer())')
      const run = await serve('-p', '2', '--direct')
      for (let round = 0; round < 5; round++) {
        const body = Buffer.alloc(100_000, `round ${round}`)
        const response = await fetch(`http://127.0.0.1:${mongrel2.port}/`, { method: 'POST', body })
        expect(response.status).toBe(200)
        expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true)
      }
      await expect.poll(() => readdirSync(join(mongrel2.directory, 'tmp'))).toEqual([])
      expect(run.stderr).not.toContain('refused')
    },
  )

  it('starts another for one that dies, later and later while it does not come up', async () => {
    const run = await serve('--direct')
    place.write('app.ts', 'process.exit(9)')
    const [pid = 0] = startedBy(run)
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => run.stderr.match(/: it exited with code 9$/gm)?.length).toBe(3)
    place.write('app.ts', appOf('2'))
    await expect.poll(() => startedBy(run).length).toBe(2)
    expect((await answer())[2]).toBe('2')
    expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch lost worker ${pid}: it was ended by SIGKILL$`, 'm'))
  })

  it('replaces one that leaves after an error that nobody caught, when it has answered', async () => {
    place.write(
      'app.ts',
      `export default async (request: Request) => {
        if (!request.url.endsWith('/throw')) return new Response('served')
        setImmediate(() => { throw new Error('nobody catches this') })
        await new Promise((resolve) => setTimeout(resolve, 300))
        return new Response('answered')
      }`,
    )
    const run = await serve('--direct')
    expect(await answer('/throw')).toEqual(['answered'])
    await expect.poll(() => startedBy(run).length).toBe(2)
    await run.prints(/^mongrel2-fetch ended worker/m)
    expect(await answer()).toEqual(['served'])
    expect(run.stderr).toContain('Error: nobody catches this')
  })
})

describe('The log', () => {
  it.each([
    ['', ['-p', '1']],
    [' that pulls directly', ['--direct']],
  ])('has the time and names the worker%s', async (_, flags) => {
    const run = await serve(...flags)
    const [pid] = startedBy(run)
    expect((await ask('/fail')).status).toBe(500)
    await run.prints(
      new RegExp(`^\\[worker ${pid}\\] mongrel2-fetch: the handler failed on GET \\S+/fail: Error: `, 'm'),
    )
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    for (const line of run.timedStderr.split('\n').slice(0, -1)) {
      expect(line).toMatch(/^(?: {4}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:\[worker \d+\] )?mongrel2-fetch)/)
    }
  })

  it('is of objects with --log-format json', async () => {
    const run = await serve('-p', '1', '--log-format', 'json')
    expect((await ask('/fail')).status).toBe(500)
    await run.prints(/the handler failed/)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    const objects = run.timedStderr
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
    const pid = Number(/worker (\d+)/.exec(objects.find(({ msg }) => msg.includes('started worker')).msg)?.[1])
    const failure = objects.find(({ msg }) => msg.includes('the handler failed'))
    expect(failure).toMatchObject({ level: 50, worker: pid, msg: expect.stringContaining('\n    at ') })
    expect(objects.filter(({ worker }) => worker !== undefined)).toEqual([failure])
    expect(new Set(objects.map((object) => object.pid)).size).toBe(1)
  })
})

describe('--touch-reload', () => {
  it.each([
    ['', ['-p', '1']],
    [', also of processes that pull directly', ['--direct']],
  ])('loads the app anew when a file comes, changes or is replaced, and not when it goes%s', async (_, flags) => {
    const run = await serve(...flags, '--touch-reload', 'go', '--touch-reload', 'other')
    const loads = async (version: string, ...change: (() => void)[]) => {
      place.write('app.ts', appOf(version))
      for (const step of change) step()
      await expect.poll(async () => (await answer())[2]).toBe(version)
    }
    const at = (name: string) => join(place.directory, name)
    await loads('2', () => place.write('go', ''))
    await loads(
      '3',
      () => place.write('new', ''),
      () => renameSync(at('new'), at('go')),
    )
    await loads(
      '4',
      () => place.write('go', 'a'),
      () => place.write('go', 'b'),
    )
    await expect.poll(() => run.stderr.match(/has replaced its workers/g)?.length).toBeGreaterThanOrEqual(3)
    const seen = () => run.stderr.match(/^mongrel2-fetch saw go change: new workers load the app$/gm)?.length
    const before = seen()
    rmSync(at('go'))
    await loads('5', () => place.write('other', ''))
    expect(seen()).toBe(before)
    expect(run.stderr).not.toMatch(/lost/)
  })
})

describe('SIGHUP', () => {
  it('loads the app anew, and not one request fails', async () => {
    const run = await serve('-p', '2', '--threads', '2')
    const versions = new Set<string>()
    const stop = new AbortController()
    const client = async () => {
      while (!stop.signal.aborted) {
        const response = await fetch(`http://127.0.0.1:${mongrel2.port}/`)
        expect(response.status).toBe(200)
        versions.add((await response.text()).split(' ')[2] ?? '')
      }
    }
    const clients = Promise.all(Array.from({ length: 8 }, client))
    for (const version of ['2', '3']) {
      place.write('app.ts', appOf(version))
      run.signal('SIGHUP')
      await expect.poll(() => versions.has(version)).toBe(true)
    }
    await expect.poll(() => run.stderr.match(/has replaced its workers/g)?.length).toBe(2)
    versions.clear()
    await expect.poll(() => versions.size).toBeGreaterThan(0)
    stop.abort()
    await clients
    expect([...versions]).toEqual(['3'])
    expect(run.stderr).not.toMatch(/lost/)
  })

  it.each([
    ['', ['-p', '1']],
    [', which pulls directly', ['--direct']],
  ])('that finds an app that does not load leaves the one of before%s', async (_, flags) => {
    const run = await serve(...flags)
    place.write('app.ts', "throw new Error('not today')")
    run.signal('SIGHUP')
    await run.prints(
      /^mongrel2-fetch could not load the app anew, and serves on as before: .*:\n {4}Error: not today$/m,
    )
    expect((await answer())[2]).toBe('1')
    expect(run.stderr).not.toMatch(/loaded the app/)
    place.write('app.ts', appOf('2'))
    const [, pid] = await run.prints(/^mongrel2-fetch loaded the app, which failed before: worker (\d+) serves it$/m)
    await run.prints(/^mongrel2-fetch ended worker/m)
    expect(await answer()).toEqual([pid, '0', '2'])
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.stderr.match(/loaded the app/g)).toHaveLength(1)
  })

  it('does nothing to an app in the process of the command, which says how it would', async () => {
    const run = await serve()
    run.signal('SIGHUP')
    await run.prints(/^mongrel2-fetch got SIGHUP and goes on: only workers can be replaced, and -p 1 makes one$/m)
    expect((await answer())[2]).toBe('1')
  })

  it('is told to systemd from its beginning to its end', async () => {
    await using systemd = await ServiceManager.start(place.directory)
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '-p', '2'], {
      NOTIFY_SOCKET: systemd.socket,
    })
    const ready = `READY=1\nSTATUS=Serves app.ts at ${mongrel2.endpoint} by 2 worker processes`
    await expect.poll(() => systemd.heard).toEqual([ready])
    run.signal('SIGHUP')
    await expect.poll(() => systemd.heard.length).toBe(3)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    await expect.poll(() => systemd.heard.length).toBe(4)
    expect(systemd.heard.slice(1)).toEqual([
      expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=Loads the app anew$/),
      ready,
      'STOPPING=1\nSTATUS=Answers what is open',
    ])
  })
})
