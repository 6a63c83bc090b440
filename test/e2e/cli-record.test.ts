import { once } from 'node:events'
import { readFileSync, renameSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { Workplace } from '../support/command.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

/** `/end` ends its process, `/stream` never ends. */
const APP = `import { upgradeWebSocket } from '${resolve('dist/src/index.js')}'
export default async (request: Request) => {
  const { pathname } = new URL(request.url)
  if (pathname === '/fail') throw new Error('no')
  if (pathname === '/ws') return upgradeWebSocket(request).response
  if (pathname === '/stream') {
    return new Response(new ReadableStream({ start: (it) => it.enqueue(new TextEncoder().encode('begun')) }))
  }
  const body = await request.text()
  const headers = { 'x-app': 'one', 'set-cookie': 'session=secret' }
  return new Response(\`\${request.method} \${pathname} \${request.headers.has('cookie')} \${body.length} é\`, { headers })
}
`

interface Line {
  readonly headers: [string, string][]
  readonly body: object
  readonly response?: { readonly status: number; readonly body: object }
}

let mongrel2: Mongrel2
let place: Workplace
let file: string

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  place = new Workplace({ 'app.ts': APP })
  file = join(place.directory, 'requests.jsonl')
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

function lines(): Line[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

async function serve(...flags: string[]) {
  const where = ['--zeromq', mongrel2.endpoint, '--chroot', mongrel2.directory, '--record', 'requests.jsonl']
  const run = place.run(['serve', 'app.ts', ...where, ...flags])
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

async function ask(path: string, init: RequestInit = {}): Promise<string> {
  return (await fetch(`http://127.0.0.1:${mongrel2.port}${path}`, init)).text()
}

/** Sends one request of each kind, and leaves a stream that never ends unless the process may not get to know that (`--direct`). */
async function askAll(leaves = true): Promise<void> {
  const headers = { cookie: 'session=secret' }
  await ask('/', { headers })
  await ask('/form', { headers, method: 'POST', body: 'é=ü' })
  await ask('/fail')
  await ask('/long', { method: 'POST', body: 'x'.repeat(20_000) })
  if (leaves) await leaveStream()
  const socket = new WebSocket(`ws://127.0.0.1:${mongrel2.port}/ws`)
  await once(socket, 'open')
  socket.close()
}

async function leaveStream(): Promise<void> {
  const leaving = new AbortController()
  const { body } = await fetch(`http://127.0.0.1:${mongrel2.port}/stream`, { signal: leaving.signal })
  await body?.getReader().read()
  leaving.abort()
}

async function replay(...args: string[]) {
  const run = place.run(['replay', 'requests.jsonl', 'app.ts', ...args])
  const code = await run.ended
  return { code, stdout: run.stdout, stderr: run.stderr }
}

/** The others with FULL=1. */
const WAYS: string[][][] = [
  [['-p', '2', '--threads', '2']],
  ...(process.env.FULL === '1' ? [[[]], [['--direct', '-p', '2']]] : []),
]

describe.each(WAYS)('serve --record %j', (flags) => {
  it('writes what can be replayed', async () => {
    const run = await serve('--record-every', '1', ...flags)
    const direct = flags.includes('--direct')
    await askAll(!direct)
    await expect.poll(() => lines().length).toBe(direct ? 5 : 6)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(readFileSync(file, 'utf8')).not.toContain('secret')
    expect(statSync(file).mode & 0o777).toBe(0o600)

    // The cookie was left out. With --direct the order is that of the processes' reports.
    const checked = await replay('--check')
    expect(
      checked.stdout
        .split(/(?<=\n)/)
        .sort()
        .join(''),
    ).toBe(
      'GET /: body: expected "GET / true 0 Ã©", got "GET / false 0 Ã©"\n' +
        'POST /form: body: expected "POST /form true 3 Ã©", got "POST /form false 3 Ã©"\n',
    )
    expect(checked.stderr).toContain('mongrel2-fetch sent the requests of requests.jsonl: ')
    for (const part of [
      '2 answered differently',
      `${direct ? 1 : 2} answered as recorded`,
      '1 skipped: its body is not recorded',
    ])
      expect(checked.stderr).toContain(part)
    expect(checked.stderr).toContain('1 skipped: a WebSocket')
    expect(checked.code).toBe(1)
    expect(await replay('--check', '-H', 'Cookie: any=other')).toMatchObject({ code: 0, stdout: '' })
  })

  it('writes by default only what failed, to a new file after SIGHUP', async () => {
    const run = await serve(...flags)
    await ask('/')
    await ask('/fail')
    await expect.poll(() => lines().map(({ response }) => response?.status)).toEqual([500])
    renameSync(file, `${file}.1`)
    run.signal('SIGHUP')
    await expect
      .poll(async () => {
        await ask('/fail?after')
        return lines().length
      })
      .toBeGreaterThan(0)
    expect(lines()[0]?.headers).toContainEqual(['URI', '/fail?after'])
  })
})

describe('mongrel2-fetch replay', () => {
  it('prints the responses, and with --check what differs', async () => {
    await serve('--record-every', '1', '--record-omit', 'X-App')
    await askAll()
    await expect.poll(() => lines().length).toBe(6)
    place.write('app.ts', APP.replace("throw new Error('no')", "return new Response('mended')"))
    const printed = await replay()
    expect(printed.stdout).toMatch(
      /^> GET \/\r\nHTTP\/1\.1 200 OK\r\n(?:.+\r\n)+\r\nGET \/ false 0 é\r\n\r\n> POST \/form\r\n/,
    )
    expect(printed.stdout).toContain('POST /form false 3 é')
    expect(printed.code).toBe(0)
    const checked = await replay('--check', '-H', 'cookie: a')
    expect(checked.stdout).toBe(
      'GET /fail: status: expected 500, got 200\n' +
        'GET /fail: body: expected "Internal Server Error", got "mended"\n',
    )
    expect(checked.code).toBe(1)
    place.write('app.ts', APP.replaceAll("'one'", "'two'").replace('content', 'other'))
    expect(await replay('--check', '-H', 'cookie: a')).toMatchObject({ code: 0, stdout: '' })
  })

  it('ends a request that gets no response in time', async () => {
    place.write(
      'requests.jsonl',
      `${JSON.stringify({
        path: '/',
        headers: [
          ['METHOD', 'GET'],
          ['URI', '/'],
          ['VERSION', 'HTTP/1.1'],
          ['REMOTE_ADDR', '::1'],
          ['host', 'a'],
        ],
        body: {},
        response: { status: 200, headers: [], body: {} },
      })}\n`,
    )
    place.write('app.ts', 'export default () => new Promise(() => {})')
    const { code, stdout } = await replay('--check', '--timeout', '50')
    expect(stdout).toBe('GET /: no response within 50 ms\n')
    expect(code).toBe(1)
  })

  it.each([
    ['{', 'requests.jsonl:1: '],
    ['{}', 'requests.jsonl:1: it is not a line of --record'],
  ])('refuses a file with %s', async (text, message) => {
    place.write('requests.jsonl', text)
    const { code, stderr } = await replay()
    expect(stderr).toContain(`mongrel2-fetch: ${message}`)
    expect(code).toBe(2)
  })
})
