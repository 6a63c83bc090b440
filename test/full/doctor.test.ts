import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Pull } from 'zeromq'
import { createControl } from '../../src/mongrel2/index.ts'
import { type CommandRun, MAIN, Workplace } from '../support/command.ts'
import { embedded } from '../support/embedded.ts'
import { type Mongrel2, type Mongrel2TestOptions, startMongrel2 } from '../support/mongrel2.ts'
import { nodeWithSqlite } from '../support/other-node.ts'

// Each mistake that `doctor` finds, made on a real Mongrel2.

/** Without it the tests with a database are skipped: Node 24 could not be installed. */
const node = nodeWithSqlite() ?? ''
const SEND_IDENT = '34f9ceee-cd52-4b7f-b197-88bf2f0ec370'

interface Result {
  title: string
  found?: string
  advice?: string
  unknown?: string
}

let workplace: Workplace
let mongrel2: Mongrel2 | undefined

beforeEach(() => {
  workplace = new Workplace()
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await workplace[Symbol.asyncDispose]()
  await mongrel2?.stop()
  mongrel2 = undefined
})

async function start(options: Mongrel2TestOptions = {}): Promise<Mongrel2> {
  const started = await startMongrel2(options)
  mongrel2 = started
  return started
}

async function resultsOf(run: CommandRun): Promise<Result[]> {
  const code = await run.ended
  expect(run.stderr).toBe('')
  const results = JSON.parse(run.stdout) as Result[]
  expect(code).toBe(results.some(({ found }) => found !== undefined) ? 1 : 0)
  return results
}

/** What it finds with these options, without a database unless they name one. */
async function mistakes(args: readonly string[], env: Record<string, string> = {}): Promise<string[]> {
  const run = workplace.start(
    [args.includes('--mongrel2') ? node : process.execPath, MAIN, 'doctor', '--json', ...args],
    env,
  )
  return (await resultsOf(run)).flatMap(({ title, found }) => (found === undefined ? [] : [`${title}: ${found}`]))
}

const database = ({ directory }: Mongrel2) => ['--mongrel2', join(directory, 'config.sqlite')]
const addresses = ({ endpoint, directory }: Mongrel2) => ['--zeromq', endpoint, '--chroot', directory]

describe.skipIf(embedded)('doctor without a database', () => {
  it('finds nothing where all is well, and says what it could not check', async () => {
    const well = await start()
    const run = workplace.run(['doctor', ...addresses(well)])
    expect(await run.ended).toBe(0)
    expect(run.stdout).toMatch(/^15 checks: 10 passed, 0 failed, 5 could not be made$/m)
    expect(run.stdout).toMatch(/^Not checked: send_ident has no '_', '.' or space; it is in the database/m)
  })

  it('finds a Mongrel2 that does not run', async () => {
    const { directory } = workplace
    mkdirSync(join(directory, 'tmp'))
    expect(await mistakes(['--zeromq', `ipc://${directory}/send,ipc://${directory}/recv`])).toEqual([
      expect.stringMatching(
        /^Mongrel2 is running: nothing answers at ipc:.*send: connect ENOENT.*; nothing answers at ipc:/,
      ),
    ])
  })

  it.each([false, true])('finds addresses that are swapped (tcp: %s)', async (tcp) => {
    const { endpoint, directory } = await start({ tcp })
    const swapped = endpoint.split(',').reverse().join(',')
    const run = workplace.run(['doctor', '--zeromq', swapped, '--chroot', directory])
    expect(await run.ended).toBe(1)
    expect(run.stdout).toContain(
      'a SUB socket at the first address, where a PUSH is expected, and a PUSH socket at the second',
    )
    expect(run.stdout).toContain('To do: Swap the two addresses.')
  })

  it('finds addresses of two Mongrel2s', async () => {
    const one = await start()
    await using other = await startMongrel2()
    const mixed = [one.endpoint.split(',')[0], other.endpoint.split(',')[1]].join(',')
    expect(await mistakes(['--zeromq', mixed, '--chroot', one.directory])).toEqual([
      expect.stringContaining(`of two processes, ${one.pid} and ${other.pid}`),
    ])
  })

  it.each([false, true])('finds others that pull (tcp: %s)', async (tcp) => {
    const shared = await start({ tcp })
    const pulls = [new Pull(), new Pull()]
    try {
      const connected = pulls.map((pull) => new Promise((resolve) => pull.events.on('handshake', resolve)))
      for (const pull of pulls) pull.connect(shared.endpoint.split(',')[0] ?? '')
      await Promise.all(connected)
      expect(await mistakes(addresses(shared))).toEqual([
        expect.stringMatching(/^Nobody else pulls from the Handler: 2 connections pull from .*, and 1 would be right$/),
      ])
      expect(await mistakes([...addresses(shared), '--direct', '-p', '2'])).toEqual([])
    } finally {
      for (const pull of pulls) pull.close()
    }
  })

  it('finds a recv_ident', async () => {
    const filtered = await start({ routes: { '/': { recvIdent: '34f9' } } })
    expect(await mistakes(addresses(filtered))).toEqual([
      'recv_ident is empty: recv_ident is "34f9": only replies that begin with it arrive',
    ])
  })

  it('finds a wrong chroot', async () => {
    const { endpoint, directory } = await start()
    mkdirSync(join(workplace.directory, 'tmp'))
    expect(await mistakes(['--zeromq', endpoint, '--chroot', workplace.directory])).toEqual([
      `The chroot is Mongrel2's: the chroot is ${workplace.directory}, and Mongrel2 is in ${directory}`,
    ])
    expect(await mistakes(['--zeromq', endpoint, '--chroot', '/no/such'])).toEqual([
      "The chroot is Mongrel2's: there is no directory /no/such",
      'This user can read and delete stored bodies: the directory of stored bodies, /no/such/tmp, is not there',
    ])
  })

  it.skipIf(process.getuid?.() !== 0)('finds stored bodies that this user cannot read', async () => {
    const { endpoint, directory } = await start({ tcp: true })
    const user = [
      'setpriv',
      '--reuid',
      '12345',
      '--regid',
      '12345',
      '--clear-groups',
      process.execPath,
      MAIN,
      'doctor',
      '--json',
    ]
    const found = async () => {
      const run = workplace.start([...user, '--zeromq', endpoint, '--chroot', directory])
      return (await resultsOf(run)).flatMap(({ found }) => found ?? [])
    }
    chmodSync(workplace.directory, 0o755)
    expect(await found()).toEqual([
      `the directory of stored bodies, ${directory}/tmp, cannot be entered or written by this user`,
    ])
    chmodSync(join(directory, 'tmp'), 0o777)
    expect(await found()).toEqual(['Mongrel2 runs as user 65534, this as 12345, and stored bodies have the mode 0600'])
  })

  it('finds too few file descriptors', async () => {
    const limited = await start()
    // As its own user, since root may lack the right in a container.
    const user = process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'] : []
    const [program = '', ...args] = [...user, 'prlimit', '--pid', String(limited.pid), '--nofile=200:200']
    expect(spawnSync(program, args, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
    expect(await mistakes(addresses(limited))).toEqual([
      'Mongrel2 may open enough files: Mongrel2 may have 200 files open, and superpoll.max_fd wants 10240',
    ])
  })

  it('finds another clock', async () => {
    const { directory, endpoint } = await start()
    const ahead = `const now = Date.now; Date.now = () => now() + 3600_000`
    workplace.write('ahead.mjs', ahead)
    expect(
      await mistakes(['--zeromq', endpoint, '--chroot', directory], {
        NODE_OPTIONS: `--import=${workplace.directory}/ahead.mjs`,
      }),
    ).toEqual([expect.stringMatching(/^Mongrel2's clock is ours: Mongrel2's clock is 3\d{3} s behind ours$/)])
  })

  it('finds another version', async () => {
    const path = (process.env.PATH ?? '').split(':').map((place) => join(place, 'mongrel2'))
    const program = path.flatMap((file) => {
      try {
        return [readFileSync(file, 'latin1')]
      } catch {
        return []
      }
    })[0]
    writeFileSync(
      join(workplace.directory, 'mongrel2'),
      program?.replaceAll('Mongrel2/1.12.2', 'Mongrel2/1.11.0') ?? '',
      {
        encoding: 'latin1',
        mode: 0o755,
      },
    )
    vi.stubEnv('PATH', `${workplace.directory}:${process.env.PATH}`)
    expect(await mistakes(addresses(await start()))).toEqual([
      'The version of Mongrel2 is 1.12: Mongrel2 is 1.11.0, and this package is made for 1.12',
    ])
  })
})

describe.skipIf(embedded || node === '')('doctor with a database', () => {
  it('finds nothing where all is well', async () => {
    const well = await start()
    const run = workplace.start([node, MAIN, 'doctor', ...database(well)])
    expect(await run.ended).toBe(0)
    expect(run.stdout).toBe('15 checks: 15 passed, 0 failed, 0 could not be made\n')
  })

  it('finds a Mongrel2 that does not run', async () => {
    const stopped = await start()
    await stopped.kill('SIGINT')
    expect(await mistakes(database(stopped))).toEqual([
      expect.stringMatching(/^Mongrel2 is running: nothing answers at /),
    ])
  })

  it('finds addresses of two Handlers', async () => {
    const two = await start({ routes: { '/a': {}, '/b': {} } })
    const [a = '', b = ''] = Object.values(two.endpoints)
    const mixed = [a.split(',')[0], b.split(',')[1]].join(',')
    const run = workplace.start([
      node,
      MAIN,
      'doctor',
      '--json',
      '--log-level',
      'error',
      ...database(two),
      '--zeromq',
      mixed,
      '--chroot',
      two.directory,
    ])
    const found = (await resultsOf(run)).flatMap(({ title, found }) => (found === undefined ? [] : [title]))
    expect(found).toEqual(['Both addresses are of one Handler'])
  })

  it.each<[title: string, options: Mongrel2TestOptions, found: RegExp, args?: string[]]>([
    [
      "send_ident has no '_', '.' or space",
      { edit: (text) => text.replace(SEND_IDENT, SEND_IDENT.replace('-', '_')) },
      /send_ident is "34f9ceee_cd52-.*", and Mongrel2 cannot read a reply that begins so/,
    ],
    [
      'limits.buffer_size is at most limits.content_length',
      { settings: { 'limits.buffer_size': 32_768 } },
      /limits.buffer_size is 32768, and limits.content_length 20480/,
    ],
    [
      'Large bodies have somewhere to go',
      { uploads: 'none' },
      /neither upload.temp_store nor upload.stream is set: bodies over 20480 bytes/,
    ],
    [
      'X-Forwarded-For is kept by Mongrel2 if it is trusted here, and only then',
      { settings: { no_clobber_xff: true } },
      /no_clobber_xff is on, and trustProxy off/,
    ],
    [
      'X-Forwarded-For is kept by Mongrel2 if it is trusted here, and only then',
      {},
      /trustProxy is 1, and no_clobber_xff off/,
      ['--trust-proxy', '1'],
    ],
    [
      "superpoll's part for busy connections is large enough",
      { settings: { 'superpoll.hot_dividend': 40 } },
      /superpoll.hot_dividend is 40: Mongrel2 stops when it has more than 256 connections/,
    ],
  ])('finds what is against "%s"', async (title, options, found, args = []) => {
    const wrong = await start(options)
    expect(await mistakes([...database(wrong), ...args])).toEqual([expect.stringMatching(found)])
    expect((await mistakes([...database(wrong), ...args]))[0]).toMatch(new RegExp(`^${title.replaceAll('.', '\\.')}`))
  })

  it('does not want large bodies stored that the app refuses, and finds nothing in settings for streams', async () => {
    const small = await start({ uploads: 'none' })
    expect(await mistakes([...database(small), '--max-body-size', '20480'])).toEqual([])
    await using streams = await startMongrel2({ uploads: 'stream' })
    expect(await mistakes(database(streams))).toEqual([])
    await using proxied = await startMongrel2({ settings: { no_clobber_xff: true } })
    expect(await mistakes([...database(proxied), '--trust-proxy', '1'])).toEqual([])
  })

  it('finds more connections than superpoll has places for', async () => {
    const crowded = await start({ settings: { 'superpoll.max_fd': 256, 'superpoll.hot_dividend': 4 } })
    const sockets = Array.from({ length: 60 }, () => connect(crowded.port, '127.0.0.1'))
    using control = createControl(crowded.controlPort)
    await expect.poll(async () => (await control.connections()).length, { timeout: 5000 }).toBeGreaterThan(55)
    try {
      expect(await mistakes(database(crowded))).toEqual([
        expect.stringMatching(
          /^superpoll's part for busy connections .*: Mongrel2 has \d+ connections, and 64 places for busy ones/,
        ),
      ])
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  })
})
