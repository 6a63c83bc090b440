import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadMongrel2Config, type ServerConfig } from '../../src/mongrel2/index.ts'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { embedded } from '../support/embedded.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { nodeOf, nodeWithSqlite } from '../support/other-node.ts'

/** Without it these tests are skipped: Node 24 could not be installed. */
const node = nodeWithSqlite() ?? ''

const APP = `export default async (request) => {
  const body = await request.arrayBuffer()
  return new Response(\`\${new URL(request.url).pathname} \${body.byteLength}\`)
}`
const TIMEOUT = 30_000

let workplace: Workplace

beforeEach(() => {
  workplace = new Workplace({ 'app.mjs': APP })
})
afterEach(() => workplace[Symbol.asyncDispose]())

function serve(...args: string[]): CommandRun {
  return workplace.start([node, MAIN, 'serve', 'app.mjs', ...args])
}

async function ends(run: CommandRun): Promise<[unknown, string]> {
  return [await run.ended, run.stderr]
}

function handler(name: string): { sendSpec: string; recvSpec: string; sendIdent: string } {
  return { sendSpec: `ipc://run/${name}-send`, recvSpec: `ipc://run/${name}-recv`, sendIdent: name }
}

function server(uuid: string, routes: string[], more: Partial<ServerConfig> = {}): ServerConfig {
  const hosts = [
    { name: 'localhost', routes: Object.fromEntries(routes.map((name) => [`/${name}`, handler(`${uuid}-${name}`)])) },
  ]
  return { uuid, port: 6767, hosts, ...more }
}

describe.skipIf(node === '' || embedded)('serve --mongrel2', () => {
  it('serves the Handler of a database, and finds its stored bodies', { timeout: TIMEOUT }, async () => {
    await using mongrel2 = await startMongrel2({
      tempStore: 'tmp/other.XXXXXX',
      flowControl: true,
      settings: { 'limits.handler_targets': 64 },
    })
    const run = serve('--mongrel2', join(mongrel2.directory, 'config.sqlite'))
    await run.prints(/serves app\.mjs at ipc:.*send0,ipc:.*recv0\n/)
    const response = await fetch(`http://127.0.0.1:${mongrel2.port}/large`, {
      method: 'POST',
      body: new Uint8Array(50_000),
    })
    expect(await response.text()).toBe('/large 50000')
    run.signal('SIGTERM')
    const [code, stderr] = await ends(run)
    expect(code).toBe(0)
    expect(stderr).not.toMatch(/warn|Experimental|database/i)
  })

  it('serves the Handlers that --handler names, by workers too', { timeout: TIMEOUT }, async () => {
    await using mongrel2 = await startMongrel2({ routes: { '/a': {}, '/b': {}, '/c': {} } })
    const database = join(mongrel2.directory, 'config.sqlite')
    const run = serve(
      '--mongrel2',
      database,
      '--handler',
      '/a',
      '--handler',
      '34f9ceee-cd52-4b7f-b197-88bf2f0ec372',
      '-p',
      '2',
    )
    await run.prints(/serves app\.mjs at ipc:.*send0,ipc:.*recv0 and ipc:.*send2,ipc:.*recv2 by 2/)
    for (const path of ['/a', '/c']) {
      const response = await fetch(`http://127.0.0.1:${mongrel2.port}${path}`)
      expect(await response.text()).toBe(`${path} 0`)
    }
  })

  it('serves several servers at once, each with its own chroot', { timeout: TIMEOUT }, async () => {
    await using first = await startMongrel2({ tempStore: 'tmp/one.XXXXXX' })
    await using second = await startMongrel2({ tempStore: 'tmp/two.XXXXXX' })
    const databases = [first, second].flatMap(({ directory }) => ['--mongrel2', join(directory, 'config.sqlite')])
    const run = serve(...databases, '-p', '2')
    await run.prints(/serves app\.mjs at ipc:.*send0,ipc:.*recv0 and ipc:.*send0,ipc:.*recv0 by 2/)
    for (const { port } of [first, second]) {
      const response = await fetch(`http://127.0.0.1:${port}/x`, { method: 'POST', body: new Uint8Array(50_000) })
      expect(await response.text()).toBe('/x 50000')
    }
  })

  it('prefers options, and warns of contradictions', { timeout: TIMEOUT }, async () => {
    await using mongrel2 = await startMongrel2()
    const database = join(mongrel2.directory, 'config.sqlite')
    const run = serve(
      '--mongrel2',
      database,
      '--chroot',
      '/elsewhere',
      '--temp-store',
      'tmp/mine.XXXXXX',
      '--flow-control',
      '--handler-targets',
      '64',
      '--zeromq',
      'ipc://x,ipc://y',
    )
    await run.prints(/process \d+/)
    const uuid = 'f400bf85-4538-4f7a-8908-67e313d515c2'
    for (const [option, mine, theirs] of [
      ['--chroot', '/elsewhere', mongrel2.directory],
      ['--temp-store', 'tmp/mine.XXXXXX', 'tmp/mongrel2.upload.XXXXXX'],
      ['--flow-control', 'true', 'false'],
      ['--handler-targets', '64', '128'],
    ]) {
      expect(run.stderr).toContain(
        `mongrel2-fetch: ${option} is ${mine}, but --mongrel2 says ${theirs} for the server ${uuid}: ${mine} is used\n`,
      )
    }
    expect(run.stderr).toContain(
      'mongrel2-fetch: --zeromq is ipc://x,ipc://y, which no Handler of --mongrel2 has: it is used as it is\n',
    )
  })

  it('says what it expected', { timeout: TIMEOUT }, async () => {
    await loadMongrel2Config(workplace.directory, {
      servers: [server('one', ['a', 'b']), server('two', ['c'], { name: 'second' })],
    })
    const cases: [args: string[], error: string][] = [
      [['--mongrel2', 'none.sqlite'], '--mongrel2: there is no database none.sqlite'],
      [['--mongrel2', 'app.mjs'], '--mongrel2: expected a database of m2sh, got app.mjs: file is not a database'],
      [
        ['--mongrel2', 'config.sqlite'],
        '--mongrel2: expected config.sqlite#SERVER with the uuid, name or default host of one of the servers one, two, got config.sqlite',
      ],
      [
        ['--mongrel2', 'config.sqlite#one'],
        '--handler: expected the send_ident or a route of one Handler, got none; there are one-a (/a), one-b (/b)',
      ],
      [
        ['--mongrel2', 'config.sqlite#one', '--mongrel2', 'config.sqlite#second', '--handler', '/x'],
        '--handler: expected the send_ident or a route of one Handler, got /x; there are one-a (/a), one-b (/b), two-c (/c)',
      ],
      [['--handler', '/x'], '--handler cannot be used without --mongrel2'],
      [
        ['--mongrel2', 'config.sqlite#two', '--handler', '/c', '--zeromq', 'ipc://x,ipc://y'],
        '--handler cannot be used with --zeromq, which names Handlers too',
      ],
    ]
    await Promise.all(
      cases.map(async ([args, error]) => {
        expect(await ends(serve(...args))).toEqual([2, `mongrel2-fetch: ${error}\n`])
      }),
    )
  })

  it('reads addresses and paths as Mongrel2 sees them, locked into its chroot or not', {
    timeout: TIMEOUT,
  }, async () => {
    const { directory } = workplace
    const absolute = { sendSpec: 'ipc:///run/send', recvSpec: 'tcp://*:9998', sendIdent: 'absolute' }
    const hosts = [{ name: 'localhost', routes: { '/': absolute, '@chat': absolute, '/r': handler('relative') } }]
    const read = async (chroot: string, pid?: string) => {
      mkdirSync(join(directory, 'cage/run'), { recursive: true })
      mkdirSync(join(directory, 'run'), { recursive: true })
      if (pid !== undefined) writeFileSync(join(directory, pid), '1')
      await loadMongrel2Config(directory, {
        servers: [{ uuid: 'main', port: 1, chroot, controlPort: 'ipc://run/c', hosts }],
      })
      const module = pathToFileURL(resolve('src/mongrel2/database.ts')).href
      const script = `const [{ settings, ...server }] = await (await import('${module}')).readDatabase('config.sqlite'); console.log(JSON.stringify(server))`
      return JSON.parse(execFileSync(node, ['--input-type=module', '-e', script], { cwd: directory, encoding: 'utf8' }))
    }
    const locked = {
      chroot: join(directory, 'cage'),
      controlPort: `ipc://${directory}/cage/run/c`,
      handlers: [
        {
          sendSpec: `ipc://${directory}/cage/run/send`,
          recvSpec: 'tcp://127.0.0.1:9998',
          sendIdent: 'absolute',
          recvIdent: '',
          routes: ['/', '@chat'],
        },
        {
          sendSpec: `ipc://${directory}/cage/run/relative-send`,
          recvSpec: `ipc://${directory}/cage/run/relative-recv`,
        },
      ],
    }
    expect(await read('cage')).toMatchObject(locked)
    expect(await read('cage', 'cage/run/mongrel2.pid')).toMatchObject(locked)
    const free = {
      controlPort: `ipc://${directory}/run/c`,
      handlers: [{ sendSpec: 'ipc:///run/send' }, { sendSpec: `ipc://${directory}/run/relative-send` }],
    }
    expect(await read('')).toMatchObject({ chroot: directory, ...free })
    expect(await read('elsewhere', 'run/mongrel2.pid')).toMatchObject({ chroot: directory, ...free })
  })
})

it("doctor --mongrel2 keeps Node 22's warning about SQLite off the terminal", { timeout: TIMEOUT }, async ({
  skip,
}) => {
  const node22 = nodeOf(22)
  if (node22 === undefined) return skip('Node 22 could not be installed')
  await loadMongrel2Config(workplace.directory, { servers: [server('main', ['a'])] })
  const run = workplace.start([node22, MAIN, 'doctor', '--mongrel2', 'config.sqlite'])
  expect(await ends(run)).toEqual([1, ''])
})

it.skipIf(isBuiltin('node:sqlite'))('serve --mongrel2 says which Node can read the database', async () => {
  const run = workplace.run(['serve', 'app.mjs', '--mongrel2', 'config.sqlite'])
  expect(await ends(run)).toEqual([
    2,
    `mongrel2-fetch: --mongrel2: a database of Mongrel2 can be read by Node 22.13 or newer, and this is Node ${process.versions.node}: name the Handler by --zeromq\n`,
  ])
})

describe.skipIf(embedded)('doctor', () => {
  it('finds nothing where all is well, and says what to do about a mistake', { timeout: TIMEOUT }, async () => {
    await using mongrel2 = await startMongrel2()
    const [send, recv] = mongrel2.endpoint.split(',')
    const run = (...args: string[]) => workplace.run(['doctor', '--chroot', mongrel2.directory, ...args])
    const [well, swapped] = [run('--zeromq', `${send},${recv}`), run('--zeromq', `${recv},${send}`, '--json')]
    expect(await ends(well)).toEqual([0, ''])
    expect(well.stdout).toMatch(/^15 checks: 10 passed, 0 failed, 5 could not be made$/m)
    expect(await ends(swapped)).toEqual([1, ''])
    expect(JSON.parse(swapped.stdout)).toContainEqual({
      at: `${recv},${send}`,
      title: 'The addresses are send_spec and recv_spec, in this order',
      found: expect.stringContaining('a SUB socket at the first address'),
      advice: 'Swap the two addresses.',
    })
  })
})
