import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Script } from 'node:vm'
import { Agent, fetch } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'

const CONF = readFileSync('examples/mongrel2.conf', 'utf8')
const UUID = 'f400bf85-4538-4f7a-8908-67e313d515c2'
const EXAMPLES = [
  'accounts/server',
  'chat/server',
  'clock-sse',
  'hello-hono',
  'itty',
  'jobs/server',
  'mp3-stream/server',
  'plain',
  'testapp',
  'tracing/server',
  'upload',
] as const

let directory: string
let mongrel2: ChildProcess
let origin: string
let example: Example | undefined

beforeAll(async () => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'examples-test-')))
  const port = await freePort()
  for (const name of ['run', 'logs', 'tmp']) mkdirSync(join(directory, name))
  load(CONF.replace('port=6767', `port=${port}`).replaceAll('tcp://127.0.0.1:', 'ipc://run/'), directory)
  // Started as root, Mongrel2 goes on as the owner of its directory: nobody.
  if (process.getuid?.() === 0)
    for (const name of ['.', 'run', 'logs', 'tmp']) chownSync(join(directory, name), 65534, 65534)
  mongrel2 = spawn('mongrel2', ['config.sqlite', UUID], { cwd: directory, stdio: 'ignore' })
  await listening(port)
  origin = `http://127.0.0.1:${port}`
})

afterEach(async () => {
  await example?.stop('SIGTERM')
  example = undefined
})

afterAll(async () => {
  mongrel2.kill('SIGTERM')
  if (mongrel2.exitCode === null) await once(mongrel2, 'close')
  rmSync(directory, { recursive: true, force: true })
})

describe('examples/mongrel2.conf', () => {
  it('loads as it is', () => {
    const into = mkdtempSync(join(directory, 'load-'))
    // m2sh ends with 0 also when it cannot read a file.
    expect(load(CONF, into)).not.toContain('[ERROR]')
    expect(existsSync(join(into, 'config.sqlite'))).toBe(true)
  })

  it.each(EXAMPLES)('has the Handlers that %s.ts connects to by default', (name) => {
    const endpoints = readFileSync(`examples/${name}.ts`, 'utf8').match(/tcp:[^',]+,tcp:[^']+/g)
    expect(endpoints).not.toBeNull()
    for (const endpoint of endpoints ?? []) {
      const [sendSpec, recvSpec] = endpoint.split(',')
      expect(CONF).toMatch(new RegExp(`send_spec='${sendSpec}',[^)]*recv_spec='${recvSpec}',`))
    }
  })

  it('lets more cookies through than fit by default', async () => {
    example = await start('plain')
    const response = await fetch(origin, { headers: { cookie: `a=${'b'.repeat(12_000)}` } })
    expect(response.status).toBe(200)
  })
})

describe.each(EXAMPLES)('examples/%s.ts', (name) => {
  it.each(['SIGINT', 'SIGTERM'] as const)('serves until %s and ends cleanly', async (signal) => {
    example = await start(name)
    const response = await fetch(origin)
    expect(response.status).toBe(200)
    await response.text()
    expect(await example.stop(signal)).toEqual({ code: 0, stderr: '' })
  })

  it('is started by `npx tsx`', async () => {
    example = await start(name, ['node_modules/tsx/dist/cli.mjs'])
    expect((await fetch(origin)).status).toBe(200)
  })
})

describe('examples/hello-hono.ts', () => {
  it('answers with HTML, text and JSON, by both routes', async () => {
    example = await start('hello-hono')
    const page = await fetch(origin)
    expect(page.headers.get('content-type')).toBe('text/html; charset=UTF-8')
    expect(await page.text()).toContain('You are 127.0.0.1.')
    expect(await (await fetch(`${origin}/hello/M%C3%BCnchen`)).text()).toBe('Hello, München!')
    expect(await (await fetch(`${origin}/json`)).json()).toMatchObject({ pattern: '/', remoteAddress: '127.0.0.1' })
    expect(await (await fetch(`${origin}/tnet/json`)).json()).toMatchObject({ pattern: '/tnet/', version: 'HTTP/1.1' })
    expect((await fetch(`${origin}/nothing`)).status).toBe(404)
  })
})

describe('examples/clock-sse.ts', () => {
  it('has one stream of ticks for any number of clients, which its end ends', async () => {
    example = await start('clock-sse')
    const bodies = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const response = await fetch(`${origin}/ticks`)
        expect(response.headers.get('content-type')).toBe('text/event-stream')
        return response.body
      }),
    )
    const texts = bodies.map(() => '')
    const ended = Promise.all(
      bodies.map(async (body, n) => {
        for await (const chunk of body ?? []) texts[n] += Buffer.from(chunk).toString()
      }),
    )
    await expect.poll(() => texts.every((text) => text.split('\n\n').length > 2)).toBe(true)
    expect(texts[0]).toMatch(/^id: (\S+Z)\nevent: tick\ndata: \{"now":"\1","clients":3\}\n\n/)
    expect(await example.stop('SIGTERM')).toEqual({ code: 0, stderr: '' })
    await ended
  })

  it('has a page with a script that parses', async () => {
    example = await start('clock-sse')
    const script = /<script>([\s\S]*)<\/script>/.exec(await (await fetch(origin)).text())?.[1]
    expect(script).toContain("new EventSource('/ticks')")
    expect(() => new Script(String(script))).not.toThrow()
    expect((await fetch(`${origin}/nothing`)).status).toBe(404)
  })
})

describe('examples/itty.ts', () => {
  it('answers with JSON and reads it', async () => {
    example = await start('itty')
    expect(await (await fetch(origin)).json()).toEqual({ hello: '127.0.0.1' })
    expect(await (await fetch(`${origin}/hello/you`)).json()).toEqual({ hello: 'you' })
    const sum = (body: unknown) => fetch(`${origin}/sum`, { method: 'POST', body: JSON.stringify(body) })
    expect(await (await sum([1, 2, 3.5])).json()).toEqual({ sum: 6.5 })
    expect((await sum({})).status).toBe(400)
    expect((await fetch(`${origin}/nothing`)).status).toBe(404)
  })
})

describe('examples/jobs/server.ts', () => {
  it('lets a process of its own answer, again and again', async () => {
    example = await start('jobs/server')
    const answers: { worker: number }[] = []
    await expect
      .poll(async () => {
        // Until the worker has come, there is none.
        const response = await fetch(`${origin}/primes?below=1000000`)
        if (response.status === 200) answers.push((await response.json()) as { worker: number })
        return response.status
      })
      .toBe(200)
    for (const below of [0, 3, 100])
      answers.push((await (await fetch(`${origin}/primes?below=${below}`)).json()) as { worker: number })
    const worker = answers[0]?.worker
    expect(answers).toEqual([
      { below: 1_000_000, primes: 78_498, worker },
      { below: 0, primes: 0, worker },
      { below: 3, primes: 1, worker },
      { below: 100, primes: 25, worker },
    ])
    expect((await fetch(`${origin}/primes?below=many`)).status).toBe(400)
    expect(await example.stop('SIGTERM')).toEqual({ code: 0, stderr: '' })
    await expect.poll(() => isAlive(worker ?? 0)).toBe(false)
  })
})

describe('examples/plain.ts', () => {
  it('greets at / and has nothing else', async () => {
    example = await start('plain')
    expect(await (await fetch(origin)).text()).toBe('Hello, 127.0.0.1!\n')
    expect((await fetch(`${origin}/nothing`)).status).toBe(404)
  })
})

describe('examples/testapp.ts', () => {
  it('shows the request, the headers, what Mongrel2 says, and the process', async () => {
    example = await start('testapp')
    const html = await (await fetch(`${origin}/tnet/a?b=c`, { headers: { 'x-mine': 'yes' } })).text()
    for (const [name, value] of [
      ['method', 'GET'],
      ['url', `${origin}/tnet/a?b=c`],
      ['b', 'c'],
      ['x-mine', 'yes'],
      ['pattern', '/tnet/'],
      ['sender', '54c6755b-9628-40a4-9a2d-cc82a816345e'],
      ['remoteAddress', '127.0.0.1'],
      ['URL_SCHEME', 'http'],
      ['node', process.version],
      ['requests', '1'],
    ]) {
      expect(html).toContain(`<tr><th scope="row">${name}<td>${value}\n`)
    }
  })

  it('escapes all that a client can write', async () => {
    example = await start('testapp')
    const evil = `<img src=x onerror="alert('x')">&amp;`
    const response = await fetch(`${origin}/?${encodeURIComponent(evil)}=${encodeURIComponent(evil)}`, {
      method: 'POST',
      headers: { 'x-evil': evil },
      body: evil,
    })
    const html = await response.text()
    expect(html).not.toContain('<img')
    expect(html.match(/&#60;img src=x onerror=&#34;alert\(&#39;x&#39;\)&#34;&#62;&#38;amp;/g)).toHaveLength(4)
  })

  it('shows the beginning of a large body and the file that Mongrel2 put it in', async () => {
    example = await start('testapp')
    const html = await (await fetch(origin, { method: 'POST', body: 'ä'.repeat(100_000) })).text()
    expect(html).toContain(`200000 bytes\n${'ä'.repeat(2048)}...`)
    expect(html).toContain(`<tr><th scope="row">size<td>200000\n`)
    expect(html).toContain(`<tr><th scope="row">path<td>${directory}/tmp/mongrel2.upload.`)
  })
})

describe('examples/tracing/server.ts', () => {
  it('prints a span for a request, and one for the work that is answered later', async () => {
    example = await start('tracing/server')
    expect(await (await fetch(`${origin}/later`)).text()).toBe('Done\n')
    await expect
      .poll(() => example?.stdout.match(/name: '(?:GET|work)'/g)?.sort())
      .toEqual(["name: 'GET'", "name: 'work'"])
  })
})

describe('examples/upload.ts', () => {
  it.each([
    ['nothing', 0],
    ['what fits in a message', 1000],
    ['what Mongrel2 puts in a file', 8 * 2 ** 20],
  ])('tells size and SHA-256 of %s, however it comes, and leaves no file', async (_, size) => {
    example = await start('upload')
    const bytes = randomBytes(size)
    const expected = { size, sha256: createHash('sha256').update(bytes).digest('hex') }
    const pieces = function* () {
      for (let at = 0; at < size; at += 50_000) yield bytes.subarray(at, at + 50_000)
    }
    // No connection twice: Mongrel2 1.12.2 damages what comes with a length after something in chunks.
    const dispatcher = new Agent({ pipelining: 0 })
    for (const init of [
      // The page in a browser.
      { method: 'PUT', body: bytes },
      // curl --data-binary.
      { method: 'POST', body: bytes, headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      // curl -T -, and others that do not know the size.
      { method: 'PUT', body: ReadableStream.from(pieces()), duplex: 'half' as const },
    ]) {
      const response = await fetch(origin, { ...init, dispatcher })
      expect(await response.json()).toEqual(expected)
    }
    await expect.poll(() => readdirSync(join(directory, 'tmp'))).toEqual([])
  })

  it('has a page with a form, a progress bar and a script that parses', async () => {
    example = await start('upload')
    const html = await (await fetch(origin)).text()
    expect(html).toMatch(/<input type="file"[\s\S]*<progress/)
    const script = /<script>([\s\S]*)<\/script>/.exec(html)?.[1]
    expect(script).toContain('new XMLHttpRequest()')
    expect(() => new Script(String(script))).not.toThrow()
  })
})

/** An example that runs. */
interface Example {
  /** What it has printed so far. */
  readonly stdout: string
  /** Sends a signal as a terminal does; how the example ended. */
  stop(signal: NodeJS.Signals): Promise<{ code: number | null; stderr: string }>
}

/**
 * Starts an example.
 *
 * @param tsx Node's arguments for TypeScript. By default those that give a process without a parent: the command `tsx` kills
 *   its child if a signal takes it 30 ms, which under load it may.
 */
async function start(name: (typeof EXAMPLES)[number], tsx = ['--import', 'tsx']): Promise<Example> {
  const child = spawn(process.execPath, [...tsx, `examples/${name}.ts`], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ZEROMQ: `ipc://${directory}/run/9999,ipc://${directory}/run/9998`,
      ZEROMQ_TNET: `ipc://${directory}/run/9997,ipc://${directory}/run/9996`,
      JOBS: `ipc://${directory}/run/jobs`,
      CHROOT: directory,
    },
  })
  const { pid } = child
  if (pid === undefined) throw new Error('tsx cannot be started.')
  const ended = Promise.all([once(child, 'close'), text(child.stderr)]).then(([[code], stderr]) => ({ code, stderr }))
  let stdout = ''
  const example: Example = {
    get stdout() {
      return stdout
    },
    stop: (signal) => {
      if (child.exitCode === null) process.kill(-pid, signal)
      return ended
    },
  }
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    stdout += chunk
    if (stdout === 'Attached to Mongrel2.\n') {
      child.stdout.on('data', (chunk) => {
        stdout += chunk
      })
      return example
    }
  }
  throw new Error(`examples/${name}.ts did not start: ${stdout}${(await ended).stderr}`)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Loads a configuration into a directory's config.sqlite; what m2sh said. */
function load(conf: string, into: string): string {
  writeFileSync(join(into, 'mongrel2.conf'), conf)
  const { stdout, stderr } = spawnSync('m2sh', ['load', '-config', 'mongrel2.conf', '-db', 'config.sqlite'], {
    cwd: into,
    env: { ...process.env, LOGNAME: 'test' },
    encoding: 'utf8',
  })
  return stdout + stderr
}

async function listening(port: number): Promise<void> {
  while (mongrel2.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await sleep(50)
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`Mongrel2 did not start; run it by hand in a directory with this configuration:\n${CONF}`)
}
