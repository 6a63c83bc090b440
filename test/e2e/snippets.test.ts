// Runs the snippets of the README and of the manual as the comments above them say.

import { type ChildProcess, fork, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Deferred, deferred } from '../../src/runtime/promises.ts'
import { embedded } from '../support/embedded.ts'
import { freePort, freePorts } from '../support/free-port.ts'
import { manual } from '../support/markdown.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { isTypeScript, type Run, type Snippet, snippetsOf } from '../support/snippets.ts'

/** Mongrel2's addresses and directory as the pages write them. */
const SEND_SPEC = 'tcp://127.0.0.1:9999'
const RECV_SPEC = 'tcp://127.0.0.1:9998'
const CHROOT = '/srv/mongrel2'
/** Ports that programs listen at by themselves. */
const PORT = /(?<=\b(?:port: |(?:127\.0\.0\.1|localhost):))\d{4,5}\b/g

/** What a part of a program may use as given, beside what the package exports. */
const GIVEN = {
  handler: "import('mongrel2-fetch').FetchHandler",
  app: "import('hono').Hono",
  server: "import('mongrel2-fetch').Mongrel2Server",
  options: "import('mongrel2-fetch').Mongrel2Options",
  token: 'string',
  request: 'Request',
  env: "import('mongrel2-fetch').Mongrel2Env",
  socket: "import('mongrel2-fetch').ServerWebSocket",
}
/** As users have them. The declarations of itty-router 6 name files that it does not publish, therefore skipLibCheck. */
const COMPILER_OPTIONS = {
  module: 'nodenext',
  target: 'es2023',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  jsx: 'react-jsx',
  jsxImportSource: 'hono/jsx',
  rootDir: '.',
}

/** The user and group `nobody` of Linux. */
const NOBODY = 65_534

/** The names that the package exports, types too. */
const EXPORTED = [...readFileSync('src/index.ts', 'utf8').matchAll(/\{([^}]*)\}/g)].flatMap(([, names = '']) => {
  return names.split(',').flatMap((name) => name.replace(/\btype\b/, '').trim() || [])
})

const READ = manual().map(snippetsOf)
const SNIPPETS = READ.flatMap(({ snippets }) => snippets)
const PROGRAMS = SNIPPETS.filter(({ kind }) => kind === 'program')
const PRINTING = PROGRAMS.filter(({ runs }) => runs.some(({ kind }) => kind === 'prints'))
/** Those that the one process runs. */
const TOGETHER = PROGRAMS.filter((program) => !PRINTING.includes(program))
const BEHIND_MONGREL2 = TOGETHER.filter(({ runs }) => runs.some(({ kind }) => kind !== 'alone'))
const BY_HAND = SNIPPETS.filter(({ kind }) => kind === 'by hand')

const placeOf = ({ file, line }: Snippet) => `${file}:${line}`
/** Where a snippet is in the user's project: the modules of a page are beside its programs. */
const pathOf = ({ file, line, language, name }: Snippet) => `${file}/${name ?? `line-${line}.${language}`}`
const titleOf = (run: Run) =>
  'url' in run ? `${run.kind} ${run.method} ${run.url}` : 'path' in run ? `${run.kind} ${run.path}` : run.kind
const hostOf = (program: Snippet) => `p${PROGRAMS.indexOf(program)}`

it('Every block of code has a comment that says how it is tested, and every comment a block', () => {
  expect(READ.flatMap(({ problems }) => problems)).toEqual([])
})

// The embedded front has no Hosts.
describe.skipIf(embedded)('The snippets of the documentation', () => {
  const project = mkdtempSync(join(tmpdir(), 'snippets-'))
  /** The ports in a program, and those that it has here. */
  const ports = new Map<Snippet, Map<string, number>>()
  let mongrel2: Mongrel2
  let programs: ChildProcess
  /** Rejects when the process of the programs ends. */
  let ended: Promise<never>
  /** What the programs of the one process fail with, by their paths. */
  const failures = new Map<string, Deferred<never>>()
  const failed: string[] = []
  const compiledPathOf = (program: Snippet) => join(project, pathOf(program)).replace(/\.tsx?$/, '.js')
  let complaints = ''

  beforeAll(async () => {
    linkPackages(project)
    mongrel2 = await startMongrel2({ hosts: ['localhost', ...BEHIND_MONGREL2.map(hostOf)] })
    for (const snippet of SNIPPETS.filter(isTypeScript)) {
      ports.set(snippet, await portsFor(snippet))
      const path = join(project, pathOf(snippet))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, changed(snippet))
    }
    complaints = await compile(project)
    const paths = TOGETHER.map(compiledPathOf)
    for (const path of paths) failures.set(path, deferred<never>())
    programs = fork(resolve('test/support/run-programs.mjs'), paths, {
      cwd: project,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    programs.on('message', ({ path = '', error }: { path?: string; error: string }) => {
      failed.push(error)
      failures.get(path)?.reject(new Error(error))
    })
    const { stderr } = programs
    const output = stderr === null ? Promise.resolve('') : text(stderr)
    ended = once(programs, 'exit').then(async () => {
      throw new Error(`The process of the programs ended: ${await output}`)
    })
    ended.catch(() => {}) // at the latest when the tests are over
  })

  afterAll(async () => {
    if (programs?.connected) programs.disconnect()
    await ended?.catch(() => {})
    await mongrel2?.stop()
    rmSync(project, { recursive: true, force: true })
  })

  it('type-check', () => {
    expect(complaints).toBe('')
  })

  const cases = TOGETHER.flatMap((program) =>
    program.runs.map((run): [string, Snippet, Run] => [`${placeOf(program)}: ${titleOf(run)}`, program, run]),
  )
  it.each(cases)('%s', async (_title, program, run) => {
    await Promise.race([failures.get(compiledPathOf(program))?.promise ?? ended, ended, check(program, run)])
  })

  it.each(PRINTING.map((program): [string, Snippet] => [placeOf(program), program]))(
    '%s: prints',
    async (_place, program) => {
      const path = compiledPathOf(program)
      const child = spawn(process.execPath, [path], { cwd: dirname(path), stdio: ['ignore', 'pipe', 'pipe'] })
      const closed = once(child, 'close')
      const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed])
      const [run] = program.runs
      expect(code, errors).toBe(0)
      expect(withoutLastNewline(output)).toBe(run?.kind === 'prints' ? run.output : '')
    },
  )

  it('go on without an error', () => {
    expect(failed).toEqual([])
  })

  async function check(program: Snippet, run: Run): Promise<void> {
    const at = { port: mongrel2.port, host: hostOf(program) }
    switch (run.kind) {
      case 'request': {
        // It waits in Mongrel2 until the program is there.
        const response = await send(`http://127.0.0.1:${at.port}${run.path}`, { ...run, host: at.host })
        const body = withoutLastNewline(await text(response))
        expect({ status: response.statusCode, body }).toEqual({ status: run.status, body: run.body })
        return
      }
      case 'alone': {
        const url = run.url.replace(PORT, (port) => String(ports.get(program)?.get(port) ?? port))
        const response = await answerOf(url, run)
        const body = withoutLastNewline(await text(response))
        expect({ status: response.statusCode, body }).toEqual({ status: run.status, body: run.body })
        return
      }
      case 'websocket': {
        const messages = await messagesOf(`ws://127.0.0.1:${at.port}${run.path}`, at.host, run)
        expect(messages).toEqual(run.received)
        return
      }
      case 'events': {
        const response = await send(`http://127.0.0.1:${at.port}${run.path}`, { method: 'GET', host: at.host })
        expect(response.headers['content-type']).toMatch(/^text\/event-stream/)
        let events = ''
        for await (const piece of response) {
          events += piece
          if (events.includes('\n\n')) break // which ends the request
        }
        expect(events.slice(0, events.indexOf('\n\n'))).toMatch(run.pattern)
      }
    }
  }

  /** The code of a snippet for the project: with the addresses of this test, and for a part with what it takes as given. */
  function changed(snippet: Snippet): string {
    const { code, kind } = snippet
    if (kind === 'part') return `${givenFor(code)}\n${code}`
    const [sendSpec = '', recvSpec = ''] = mongrel2.endpoints[hostOf(snippet)]?.split(',') ?? []
    const addressed = BEHIND_MONGREL2.includes(snippet)
      ? code.replaceAll(SEND_SPEC, sendSpec).replaceAll(RECV_SPEC, recvSpec).replaceAll(CHROOT, mongrel2.directory)
      : code
    return addressed.replace(PORT, (port) => String(ports.get(snippet)?.get(port) ?? port))
  }
})

describe('The commands that start Mongrel2 by hand', () => {
  it.each(BY_HAND.map((block): [string, Snippet] => [placeOf(block), block]))(
    '%s: start one',
    async (_place, { code }) => {
      const directory = realpathSync(mkdtempSync(join(tmpdir(), 'by-hand-')))
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
    },
  )
})

/** Gives the project the packages of this checkout, and this package by its own name. */
function linkPackages(project: string): void {
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'a-user', private: true, type: 'module' }))
  mkdirSync(join(project, 'node_modules'))
  for (const name of readdirSync('node_modules')) {
    if (!name.startsWith('.')) symlinkSync(resolve('node_modules', name), join(project, 'node_modules', name))
  }
  symlinkSync(resolve('.'), join(project, 'node_modules/mongrel2-fetch'))
}

/** Free ports for those that a program listens at; none for the addresses of Mongrel2. */
async function portsFor(snippet: Snippet): Promise<Map<string, number>> {
  const written = new Set(snippet.code.match(PORT))
  if (snippet.kind === 'part') return new Map()
  if (BEHIND_MONGREL2.includes(snippet)) for (const port of ['9999', '9998']) written.delete(port)
  const free = await freePorts(written.size)
  return new Map([...written].map((port, n) => [port, free[n] ?? 0]))
}

/** One line that declares what a part of a program uses and does not declare. */
function givenFor(code: string): string {
  const declared = new Set(
    [...code.matchAll(/\b(?:const|let|function|class|type|interface) (\w+)/g)].map(([, name]) => name),
  )
  const imports = EXPORTED.filter((name) => !declared.has(name))
  const given = Object.entries(GIVEN).filter(([name]) => !declared.has(name))
  const declarations = given.map(([name, type]) => `declare const ${name}: ${type};`)
  return `import { ${imports.join(', ')} } from 'mongrel2-fetch'; ${declarations.join(' ')}`
}

/** Checks and compiles the whole project; what the compiler complains about, at the lines of the pages. */
async function compile(project: string): Promise<string> {
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER_OPTIONS }))
  const child = spawn(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', '.'], { cwd: project })
  const output = await text(child.stdout)
  return output.replace(/^(\S+)\((\d+),(\d+)\)/gm, (whole, path: string, line: string, column: string) => {
    const snippet = SNIPPETS.find((one) => isTypeScript(one) && pathOf(one) === path)
    if (snippet === undefined) return whole
    // A part has a line above it, in the place of the fence.
    return `${snippet.file}:${snippet.line + Number(line) - (snippet.kind === 'part' ? 1 : 0)}:${column}`
  })
}

interface Sent {
  readonly method: string
  readonly sent?: string
  readonly host?: string
}

async function send(url: string, { method, sent, host }: Sent): Promise<IncomingMessage> {
  const request = httpRequest(url, { method, agent: false, ...(host !== undefined && { headers: { host } }) })
  request.end(sent)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

/** Asks until somebody listens there. */
async function answerOf(url: string, sent: Sent): Promise<IncomingMessage> {
  let response: IncomingMessage | undefined
  await expect
    .poll(async () => {
      response = await send(url, sent).catch(() => undefined)
      return response
    })
    .toBeDefined()
  return response as IncomingMessage
}

/** What comes from a WebSocket, as many messages as are expected. Its client writes `WebSocket` with capitals, as it may. */
async function messagesOf(
  url: string,
  host: string,
  { sent, received }: { sent: string[]; received: string[] },
): Promise<string[]> {
  const client = new WebSocket(url, {
    headers: { host },
    finishRequest: (request) => {
      request.setHeader('Upgrade', 'WebSocket')
      request.end()
    },
  })
  const messages: string[] = []
  client.on('open', () => {
    for (const message of sent) client.send(message)
  })
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject)
    client.on('close', (code) => reject(new Error(`closed with ${code} after ${JSON.stringify(messages)}`)))
    client.on('message', (data) => {
      messages.push(String(data))
      if (messages.length === received.length) resolve()
    })
  })
  client.close()
  return messages
}

function withoutLastNewline(output: string): string {
  return output.replace(/\n$/, '')
}

/** Starts a program; `ended` rejects when it ends, with what it printed. Disposed of, it and its children are ended. */
function launch(command: string, args: string[], options: SpawnOptions): AsyncDisposable & { ended: Promise<never> } {
  // In a group of its own, to be ended with what it has started.
  const child = spawn(command, args, { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const closed = once(child, 'close')
  const ended = closed.then(async () => {
    throw new Error(`${command} ${args.join(' ')} ended: ${(await output).join('')}`)
  })
  ended.catch(() => {}) // at the latest when it is disposed of
  return {
    ended,
    async [Symbol.asyncDispose]() {
      end(child)
      await closed
    },
  }
}

/** Ends a process that leads a group, with the group. */
function end({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGTERM')
}
