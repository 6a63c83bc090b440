import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { freePort, freePorts } from '../support/free-port.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { INSTALL_TIMEOUT, UserProject } from '../support/user-project.ts'

/** A fenced block of the README. */
interface Block {
  readonly language: string
  readonly code: string
  /** Where it begins. */
  readonly line: number
}

const README = readFileSync('README.md', 'utf8')
const BLOCKS: Block[] = [...README.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ({ 1: language = '', 2: code = '', index }) => ({
    language,
    code,
    line: README.slice(0, index).split('\n').length,
  }),
)

const SNIPPETS = BLOCKS.filter(({ language }) => language === 'ts')
/** A snippet without imports is a part of a program. */
const PROGRAMS = SNIPPETS.filter(({ code }) => /^import /m.test(code))
/** The ports that the README writes. */
const PORTS = ['9999', '9998', '6767', '8080']
/** What is written around a part of a program, for the names it takes as given. */
const AROUND_A_PART = `import { type FetchHandler, joinCluster, readKeyPair, serveMongrel2, serveWithWorkers } from 'mongrel2-fetch'
declare const handler: FetchHandler
`

/** The endpoint as the README writes it. */
const ENDPOINT = 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998'

/** A request for each program, found by a piece of its code, and the response's body. */
const ANSWERS: Record<string, [path: string, body: string]> = {
  "c.text('Hello World')": ['/', 'Hello World'],
  'getConnInfo(c)': ['/', 'Hello, 127.0.0.1'],
  'AutoRouter()': ['/hello/world', '"Hello, world!"'],
  'request.method} from': ['/', 'GET from 127.0.0.1\n'],
  'Hello twice': ['/', 'Hello twice'],
  'upgradeWebSocket(request, {': ['/', 'This is a WebSocket.\n'],
  'clock.stream(request)': ['/', 'The time is at /ticks.\n'],
  'room.add(socket)': ['/', 'A room for WebSockets.\n'],
  'messages: {': ['/', 'HTTP goes here.\n'],
  'env.mongrel2.defer(': ['/', 'Done elsewhere'],
  'serveWithWorkers({': ['/', 'Hello from a worker'],
  'upgradeWebSocket(() =>': ['/', 'There is a WebSocket at /echo.\n'],
  'crossws(app)': ['/', 'There is a WebSocket at /chat.\n'],
}

/** The part of a program that is a module of its own, found by its name. */
const WORKER_APP = 'worker-app.ts'

/** Where a program has a WebSocket, which sends back what it gets, and what it says before. */
const SOCKETS: Record<string, [path: string, greetings: string[]]> = {
  'upgradeWebSocket(request, {': ['/', []],
  'room.add(socket)': ['/', []],
  'upgradeWebSocket(() =>': ['/echo', ['Hello!']],
  'crossws(app)': ['/chat', []],
}

/** Where a program has a stream of events, and what the first one is. */
const STREAMS: Record<string, [path: string, event: RegExp]> = {
  'clock.stream(request)': ['/ticks', /^event: tick\ndata: \d{4}-\d\d-\d\dT\S+Z\n\n$/],
}

/** The programs that need no Mongrel2, found by a piece of their code, and what one prints or answers at its port 6767. */
const ALONE: Record<string, { prints?: string; answers?: string }> = {
  'createFront({': { answers: 'Hello without Mongrel2' },
  'new Mongrel2Dispatcher(': { prints: 'Hello, handler\n' },
}
const isAlone = ({ code }: Block) => Object.keys(ALONE).some((piece) => code.includes(piece))

/** The block that starts Mongrel2 by hand, found by a piece of it. */
const BY_HAND = 'mongrel2 config.sqlite'

/** The other blocks, found by a piece of them, and why they are not tried here. */
const ELSEWHERE: Record<string, string> = {
  'npm start': 'test/full/start.test.ts',
  'npm run bench': 'test/full/bench.test.ts',
  'npm test': 'it is what runs this test',
  'npx mongrel2-fetch dev': 'test/e2e/cli.test.ts',
  'app.ts -p 4 --threads 2': 'test/e2e/cli-workers.test.ts',
  'mongrel2-fetch keygen': 'test/e2e/cli-cluster.test.ts',
  'serve --cluster tcp://PUBLIC_KEY': 'test/e2e/cli-cluster.test.ts',
  '--cluster tcp://0.0.0.0:1717': 'test/e2e/cli-cluster.test.ts, on loopback',
  '--http 127.0.0.1:8080': 'test/e2e/cli-http.test.ts',
  'export MALLOC_MMAP_THRESHOLD_': 'test/bench/run.ts sets both, and measures with them',
  '[Service]': 'test/e2e/cli.test.ts plays the part of systemd',
  'npm install mongrel2-fetch': 'test/e2e/package.test.ts installs the package that is packed',
  "'/': Handler(": 'the first route of examples/mongrel2.conf',
  '{"upload.temp_store"': 'a setting of examples/mongrel2.conf',
  '{"upload.stream"': 'a setting that the tests of streamed bodies make',
}

/** The declarations of itty-router 6 name files that it does not publish. */
const USERS_OPTIONS = { skipLibCheck: true }

/** The user and group `nobody` of Linux. */
const NOBODY = 65_534

describe('Every block of the README', () => {
  it.each(BLOCKS)('is known to this test: line $line', ({ language, code }) => {
    if (language === 'ts') return // type-checked
    const known = [BY_HAND, ...Object.keys(ELSEWHERE)]
    expect(
      known.some((piece) => code.includes(piece)),
      `Neither run here nor among ELSEWHERE:\n${code}`,
    ).toBe(true)
  })
})

describe('The snippets', () => {
  let project: UserProject

  beforeAll(async () => {
    project = await UserProject.create()
    await project.install('hono', 'h3', 'crossws', 'itty-router', 'undici', '@hono/node-server', '@types/node')
  }, INSTALL_TIMEOUT)

  afterAll(() => {
    project[Symbol.dispose]()
  })

  it('type-check', async () => {
    const paths = SNIPPETS.map((snippet) => {
      const path = `line-${snippet.line}.ts`
      project.write(path, PROGRAMS.includes(snippet) ? snippet.code : AROUND_A_PART + snippet.code)
      return path
    })
    await project.compile(paths, USERS_OPTIONS)
  })

  it.each(PROGRAMS.filter((program) => !isAlone(program)))('answer a request: line $line', async ({ code, line }) => {
    const answers = Object.entries(ANSWERS).filter(([piece]) => code.includes(piece))
    expect(answers, 'one entry of ANSWERS must say what this program answers').toHaveLength(1)
    const [path, body] = answers[0]?.[1] ?? []
    expect(code).toContain(ENDPOINT)

    await using mongrel2 = await startMongrel2()
    const port = await freePort()
    for (const part of SNIPPETS)
      if (part.code.includes(WORKER_APP)) project.write(WORKER_APP.replace('.ts', '.js'), part.code)
    project.write(
      `program-${line}.ts`,
      code.replaceAll(ENDPOINT, mongrel2.endpoint).replace('port: 8080', `port: ${port}`),
    )
    await project.compile([`program-${line}.ts`], USERS_OPTIONS)
    await using program = launch(process.execPath, [`program-${line}.js`], { cwd: project.directory })
    // The request waits until the program is there.
    const response = await Promise.race([fetch(`http://127.0.0.1:${mongrel2.port}${path}`), program.ended])
    expect(response.status).toBe(200)
    expect(await response.text()).toBe(body)
    for (const [piece, [socketPath, greetings]] of Object.entries(SOCKETS)) {
      if (!code.includes(piece)) continue
      expect(await messagesOf(`ws://127.0.0.1:${mongrel2.port}${socketPath}`, 'echo')).toEqual([...greetings, 'echo'])
    }
    for (const [piece, [streamPath, event]] of Object.entries(STREAMS)) {
      if (!code.includes(piece)) continue
      const stream = await fetch(`http://127.0.0.1:${mongrel2.port}${streamPath}`)
      const reader = stream.body?.getReader()
      expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toMatch(event)
      await reader?.cancel()
    }
  })

  it.each(PROGRAMS.filter(isAlone))('do without Mongrel2: line $line', async ({ code, line }) => {
    const [found] = Object.entries(ALONE).filter(([piece]) => code.includes(piece))
    const { prints, answers } = found?.[1] ?? {}
    const ports = await freePorts(PORTS.length)
    let changed = code
    for (const [at, port] of PORTS.entries()) changed = changed.replaceAll(`${port}`, String(ports[at]))
    project.write(`alone-${line}.ts`, changed)
    await project.compile([`alone-${line}.ts`], USERS_OPTIONS)
    if (prints !== undefined) {
      expect(await project.script(`import '../alone-${line}.js'`)).toBe(prints)
      return
    }
    await using program = launch(process.execPath, [`alone-${line}.js`], { cwd: project.directory })
    const url = `http://127.0.0.1:${ports[PORTS.indexOf('6767')]}/`
    const answer = async () => await (await fetch(url)).text()
    const polled = expect.poll(() => answer().catch(() => undefined)).toBe(answers)
    await Promise.race([polled, program.ended])
  })
})

describe('The commands that start Mongrel2 by hand', () => {
  it('start one that hands its requests to us', async () => {
    const [{ code }] = BLOCKS.filter((block) => block.code.includes(BY_HAND)) as [Block]
    const directory = realpathSync(mkdtempSync(join(tmpdir(), 'readme-test-')))
    const port = await freePort()
    const conf = readFileSync('examples/mongrel2.conf', 'utf8')
    mkdirSync(join(directory, 'examples'))
    writeFileSync(
      join(directory, 'examples/mongrel2.conf'),
      conf.replace('port=6767', `port=${port}`).replaceAll('tcp://127.0.0.1:', 'ipc://run/'),
    )
    // They are for an ordinary user.
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
    if (user.uid !== undefined) chownSync(directory, user.uid, user.gid)
    try {
      const commands = code.replaceAll('/tmp/mongrel2', join(directory, 'mongrel2'))
      expect(commands).not.toBe(code)
      const env = { ...process.env, LOGNAME: 'test' }
      await using shell = launch('sh', ['-e', '-c', commands], { cwd: directory, env, ...user })
      await using server = serveMongrel2(() => new Response('by hand'), {
        zeromq: `ipc://${directory}/mongrel2/run/9999,ipc://${directory}/mongrel2/run/9998`,
      })
      await Promise.race([server.ready, shell.ended])
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('by hand')
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

/** What comes from a WebSocket, up to what it sends back. Its client writes `WebSocket` with capitals, as it may. */
async function messagesOf(url: string, message: string): Promise<string[]> {
  const client = new WebSocket(url, {
    finishRequest: (request) => {
      request.setHeader('Upgrade', 'WebSocket')
      request.end()
    },
  })
  const messages: string[] = []
  client.on('open', () => client.send(message))
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject)
    client.on('message', (data) => {
      messages.push(String(data))
      if (messages.at(-1) === message) resolve()
    })
  })
  client.close()
  return messages
}

/** Starts a program; `ended` rejects when it ends, with what it printed. Disposed of, it and its children are ended. */
function launch(command: string, args: string[], options: SpawnOptions): AsyncDisposable & { ended: Promise<never> } {
  // In a group of its own, to be ended with what it has started.
  const child = spawn(command, args, { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const { pid, stdout, stderr } = child
  const output = Promise.all([text(stdout), text(stderr)])
  const closed = once(child, 'close')
  const ended = closed.then(async () => {
    throw new Error(`${command} ${args.join(' ')} ended: ${(await output).join('')}`)
  })
  ended.catch(() => {}) // at the latest when it is disposed of
  return {
    ended,
    async [Symbol.asyncDispose]() {
      if (pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGTERM')
      await closed
    },
  }
}
