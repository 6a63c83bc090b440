import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'

let directory: string
/** Those that have not ended. */
const started = new Set<Run>()

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'start-test-'))
})

afterEach(async () => {
  for (const run of started) {
    // Also when npm itself is gone: what it has left behind keeps the output open.
    run.signalGroup('SIGTERM')
    await run.ended
  }
  rmSync(directory, { recursive: true, force: true })
})

describe('npm start', () => {
  for (const [how, stop] of [
    // A terminal sends it to npm, the shell and us at once.
    ['Ctrl-C', (run: Run) => run.signalGroup('SIGINT')],
    // A service manager or a `kill` sends it to npm alone.
    ['SIGTERM to npm', (run: Run) => run.child.kill('SIGTERM')],
    ['a closed terminal', (run: Run) => run.signalGroup('SIGHUP')],
  ] as const) {
    it(`answers at the address it prints, and ${how} leaves nothing behind`, async () => {
      const run = npmStart('--port', '0')
      const response = await fetch(await run.url)
      expect(response.status).toBe(200)
      expect(await response.text()).toContain('Hello from Hono, through Mongrel2!')

      const processes = run.descendants()
      expect(processes.map(({ command }) => command)).toContainEqual(expect.stringMatching(/^mongrel2 /))
      stop(run)
      const { code, output } = await run.ended
      // Of SIGHUP npm itself dies.
      if (how !== 'a closed terminal') expect(code).toBe(0)
      expect(output).not.toMatch(/^\s+at |Error/m)
      await expect.poll(() => processes.filter(isRunning)).toEqual([])
      expect(temporaryDirectories()).toEqual([])
    })
  }

  it.each<NodeJS.Signals>(['SIGINT', 'SIGKILL'])(
    'leaves no worker of the example jobs when it gets %s at once',
    async (signal) => {
      for (const moment of [0, 100, 300, 600]) {
        const run = startWith({}, 'jobs', '--port', '0')
        // Started, but it has not read a line of its own.
        const isWorker = ({ command }: Process) => command.includes('jobs/worker.ts')
        await expect.poll(() => run.descendants().some(isWorker), { timeout: 20_000, interval: 10 }).toBe(true)
        await sleep(moment)
        const processes = run.descendants()
        run.child.kill(signal)
        const { output } = await run.ended
        expect(output).not.toMatch(/^\s+at |Error/m)
        await expect.poll(() => processes.filter(isRunning)).toEqual([])
        await expect.poll(temporaryDirectories).toEqual([])
      }
    },
    120_000,
  )

  it('runs twice on one machine, each with the example of its choice', async () => {
    const [one, other] = [npmStart('plain', '--port', '0'), npmStart('itty', '--port', '0')]
    const answers = await Promise.all([one, other].map(async (run) => (await fetch(await run.url)).text()))
    expect(answers).toEqual(['Hello, 127.0.0.1!\n', '{"hello":"127.0.0.1"}'])
    expect(temporaryDirectories()).toHaveLength(2)
  })

  it('takes the port from PORT', async () => {
    const port = await freePort()
    const run = startWith({ PORT: String(port) })
    expect(await run.url).toBe(`http://127.0.0.1:${port}/`)
  })

  it('says which port is taken and how to choose another', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const { code, output } = await npmStart('--port', String(port)).ended
    taken.close()
    expect(code).toBe(1)
    expect(output).toContain(`Port ${port} of 127.0.0.1 is taken`)
    expect(output).toContain(`npm start -- --port ${port + 1}`)
  })

  it.each([
    [['--port', '65536'], "The port must be 0 to 65535, and '65536' is not."],
    [['--port', 'http'], "The port must be 0 to 65535, and 'http' is not."],
    [['nothing'], "There is no example 'nothing'."],
    [['plain', 'itty'], 'There can be one example only, and 2 were given.'],
    [['--prot', '1'], "Unknown option '--prot'"],
  ])('refuses the arguments %j', async (args, message) => {
    const { code, output } = await startWith({}, ...args).ended
    expect(code).toBe(1)
    expect(output).toContain(message)
    expect(output).toContain('Usage: npm start')
  })

  it.each([
    ['Mongrel2', 'mongrel2 config.sqlite'],
    ['examples/hello-hono.ts', 'examples/hello-hono.ts'],
  ])('fails and stops the rest when %s dies', async (name, command) => {
    const run = startWith({}, '--port', '0')
    await run.url
    const processes = run.descendants()
    const victim = processes.find((process) => process.command.includes(command))
    if (victim === undefined) throw new Error(`Expected ${command} among ${JSON.stringify(processes)}.`)
    process.kill(victim.pid, 'SIGKILL')
    const { code, output } = await run.ended
    expect(code).toBe(1)
    expect(output).toContain(`${name} ended by itself (SIGKILL).`)
    expect(processes.filter(isRunning)).toEqual([])
    expect(temporaryDirectories()).toEqual([])
  })
})

describe('What is missing', () => {
  it('is named where it cannot be installed, and the embedded front takes its place', async () => {
    const run = startWith({ PATH: directory }, 'upload', '--port', '0')
    const url = await run.url
    const body = Buffer.alloc(100_000)
    expect((await fetch(url)).status).toBe(200)
    expect((await fetch(url, { method: 'POST', body })).status).toBe(200)
    run.signalGroup('SIGTERM')
    const { code, output } = await run.ended
    expect(code).toBe(0)
    expect(output).toContain('Mongrel2 is needed: the programs mongrel2 and m2sh must be on the PATH.')
    expect(output).toContain('sudo apt-get install mongrel2-core')
    expect(output).toContain('Until then the embedded front takes its place, for development.')
    expect(output).toContain('examples/upload.ts answers at http')
    expect(output).toContain('this is the embedded stand-in for development, not Mongrel2')
    expect(output).not.toMatch(/^\s+at /m)
    expect(temporaryDirectories()).toEqual([])
  })

  it('is installed by apt-get, through sudo where it has to be', async () => {
    // Stands for the installed package with the programs that are there, found on the PATH only after "install".
    const log = join(directory, 'log')
    script('sudo', `[ "$1" = -n ] && shift && echo sudo >> ${log} && exec "$@"`)
    script('env', 'shift && exec "$@"')
    script(
      'apt-get',
      `echo "$*" >> ${log}; case "$*" in *install*) for p in mongrel2 m2sh; do ${linkCommand()}; done;; esac`,
    )
    symlinkSync(process.execPath, join(directory, 'node'))
    const run = startWith({ PATH: directory }, '--port', '0')
    expect((await fetch(await run.url)).status).toBe(200)
    const asked = readFileSync(log, 'utf8').trim().split('\n')
    expect(asked.filter((line) => line !== 'sudo')).toEqual([
      'update',
      '-o DPkg::Lock::Timeout=120 -o APT::Status-Fd=1 install -y --no-install-recommends mongrel2-core',
    ])
    expect(asked.includes('sudo')).toBe(process.getuid?.() !== 0)
  })

  it('is reported with what apt-get said when it fails', async () => {
    script('sudo', 'shift; exec "$@"')
    script('env', 'shift; exec "$@"')
    script('apt-get', 'echo "E: $*: no such luck" >&2; exit 100')
    const run = startWith({ PATH: directory }, '--port', '0')
    expect((await fetch(await run.url)).status).toBe(200)
    run.signalGroup('SIGTERM')
    const { output } = await run.ended
    expect(output).toContain('mongrel2-core: no such luck')
    expect(output).toContain('Mongrel2 is needed')
  })

  it('includes a newer Node', async () => {
    const older = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })"
    const { code, output } = await startWith({ NODE_OPTIONS: `--import=${dataUrl(older)}` }).ended
    expect(code).toBe(1)
    expect(output).toMatch(/^Node 20\.19\.0 or newer is needed, and this is 18\.20\.4/)
  })
})

/** One `npm start` with everything that it starts. */
interface Run {
  readonly child: ChildProcess
  /** The address it prints once it answers. */
  readonly url: Promise<string>
  readonly ended: Promise<{ code: number | null; output: string }>
  /** Signals whoever is left of its process group. */
  signalGroup(signal: NodeJS.Signals): void
  descendants(): Process[]
}

interface Process {
  readonly pid: number
  readonly parent: number
  /** The program and its arguments. */
  readonly command: string
}

function npmStart(...args: string[]): Run {
  return launch('npm', ['start', '--silent', '--', ...args], {})
}

/** The same without npm, in another environment. */
function startWith(env: NodeJS.ProcessEnv, ...args: string[]): Run {
  return launch(process.execPath, ['examples/start.mjs', ...args], env)
}

function launch(command: string, args: string[], env: NodeJS.ProcessEnv): Run {
  const child = spawn(command, args, {
    // A session of its own, as a terminal would make, so that a signal to the group stays away from the tests.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: directory, ...env },
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`${command} cannot be started.`)
  const errors = text(child.stderr)
  let output = ''
  const url = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
      const match = /(http:\S+) through (?:Mongrel2|the embedded front)/.exec(output)
      if (match?.[1] !== undefined) resolve(match[1])
    })
    child.stdout.on('end', async () => reject(new Error(`It ended without an address: ${output}${await errors}`)))
  })
  url.catch(() => {})
  const ended = once(child, 'close').then(async ([code]) => ({ code, output: output + (await errors) }))
  const run: Run = {
    child,
    url,
    ended,
    signalGroup: (signal) => {
      try {
        process.kill(-pid, signal)
      } catch {
        // Nobody is left in it.
      }
    },
    descendants: () => descendantsOf(pid),
  }
  started.add(run)
  ended.finally(() => started.delete(run))
  return run
}

function descendantsOf(pid: number): Process[] {
  const all = readdirSync('/proc').flatMap((entry) => readProcess(Number(entry)) ?? [])
  const children = (parent: number): Process[] =>
    all.filter((process) => process.parent === parent).flatMap((process) => [process, ...children(process.pid)])
  return children(pid)
}

/** Reads a process from /proc; undefined when there is none, or no more than its exit code. */
function readProcess(pid: number): Process | undefined {
  try {
    // pid (name) state parent ...
    const parent = /\) [^Z] (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return parent === undefined ? undefined : { pid, parent: Number(parent), command }
  } catch {
    return undefined
  }
}

function isRunning({ pid, command }: Process): boolean {
  return readProcess(pid)?.command === command
}

function temporaryDirectories(): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('mongrel2-fetch-'))
}

function script(name: string, body: string): void {
  const path = join(directory, name)
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
}

function linkCommand(): string {
  const paths = ['mongrel2', 'm2sh'].map((name) => findProgram(name))
  return `/bin/ln -s ${paths[0]?.replace(/mongrel2$/, '')}$p ${directory}/$p`
}

function findProgram(name: string): string {
  const found = (process.env.PATH ?? '')
    .split(':')
    .map((entry) => join(entry, name))
    .find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${name} is not on the PATH.`)
  return found
}

function dataUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`
}
