import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppProject } from '../support/app-project.ts'
import type { CommandRun } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'

let place: AppProject

beforeEach(() => {
  place = new AppProject('module')
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

/** Starts `dev`, and resolves with its address once it serves. */
async function dev(...args: readonly string[]): Promise<{ run: CommandRun; url: string }> {
  const run = place.run(['dev', 'app.ts', '--port', '0', ...args], { TMPDIR: place.directory })
  const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (http\S+)/m)
  return { run, url }
}

async function page(url: string, headers: Record<string, string> = {}): Promise<string> {
  return await (await fetch(url, { headers: { accept: 'text/html', ...headers } })).text()
}

const HONO = `import { Hono } from 'hono'
import { cors } from 'hono/cors'
const app = new Hono()
app.use(cors())
app.get('/fail', () => {
  throw new RangeError('too far', { cause: new Error('<b>far</b>') })
})
app.get('/own', (c) => c.text('Internal Server Error', 500))
app.get('/logs', (c) => { console.error(new Error('only logged')); return c.text('fine') })
`

describe('The errors of dev', () => {
  it.each([
    ['a Hono app', `${HONO}export default app`],
    ['a function around a Hono app', `${HONO}export default (request: Request) => app.fetch(request)`],
    ['a Hono app in another', `${HONO}export default new Hono().mount('/', app.fetch)`],
    [
      'an app of h3',
      `import { H3 } from 'h3'
      export default new H3()
        .get('/own', () => new Response('Internal Server Error', { status: 500 }))
        .get('/logs', () => { console.error(new Error('only logged')); return 'fine' })
        .get('/fail', () => {
          throw new RangeError('too far', { cause: new Error('<b>far</b>') })
        })`,
    ],
  ])('are shown where %s would swallow them, and nothing else is', async (_, code) => {
    place.write('app.ts', code)
    place.link('h3')
    const { run, url } = await dev()
    const shown = await page(`${url}fail`)
    expect(shown).toMatch(/<details open><summary>app\.ts:\d+:\d+<\/summary>/)
    expect(shown).toMatch(/<span class="here"> +\d+ +throw new RangeError\(&#39;too far&#39;/)
    expect(shown).toContain('<h2>Caused by Error: &lt;b&gt;far&lt;/b&gt;</h2>')
    await run.prints(/GET \S+fail: \w+: too far\n {4}at app\.ts:\d+:\d+\n(?: .*\n)* {4}> \d+ \| +throw new RangeError/)
    expect(run.stderr).not.toContain('hono-base')
    expect(await page(`${url}own`)).toBe('Internal Server Error')
    expect(await page(`${url}logs`)).toBe('fine')
    await run.prints(/^Error: only logged$/m)
  })

  it('are shown once, though a client writes frames into the message', async () => {
    place.write('secret.txt', 'the secret')
    place.write(
      'app.ts',
      "export default async (request: Request) => {\n  throw new Error('no ' + (await request.text()))\n}",
    )
    const { url } = await dev()
    const body = `x\n    at read (${place.directory}/secret.txt:1:1)`
    const shown = await (await fetch(url, { method: 'POST', headers: { accept: 'text/html' }, body })).text()
    expect(shown).toContain('<summary>app.ts:2:9</summary>')
    expect(shown).not.toContain('the secret')
    // A form would be sent again.
    expect(shown).not.toContain('<script>')
  })

  it.each([
    ['app.ts', 'export default (', 'app.ts:1'],
    ['part.mjs', 'export const part = 1\nexport const part = 2', 'part.mjs:2'],
  ])('have the place of a syntax error in %s', async (file, code, where) => {
    const works = "import './part.mjs'\nexport default () => new Response('works')"
    place.write('part.mjs', '')
    place.write('app.ts', works)
    const { run, url } = await dev()
    const version = (await fetch(url, { headers: { 'dev-version': 'before' } })).headers.get('dev-version')
    expect(version).toBeTruthy()
    place.write(file, code)
    const [, printed] = await run.prints(/could not be loaded: SyntaxError: .*\n {4}at (\S+)\n/)
    expect(printed).toBe(where)
    await expect.poll(() => page(url)).toContain(`<summary>${where}</summary>`)
    // No version that works: a page waits.
    const asked = async () => (await fetch(url, { headers: { 'dev-version': 'x' } })).headers.get('dev-version')
    expect(await asked()).toBeNull()
    place.write(file, file === 'app.ts' ? works : '')
    await expect.poll(asked).toBeTruthy()
    expect(await asked()).not.toBe(version)
    const [, how] = await run.prints(/^mongrel2-fetch reloaded in \d+ ms: (.*)$/m)
    expect(how).toBe(`${file} changed`)
    expect(run.stdout.match(/^mongrel2-fetch (?:serves|reloaded)/gm)).toEqual([
      'mongrel2-fetch serves',
      'mongrel2-fetch reloaded',
    ])
  })

  it('are told in the terminal when the app does not load at the start', async () => {
    place.write('app.ts', 'export default (')
    const run = place.run(['dev', 'app.ts', '--port', '0'], { TMPDIR: place.directory })
    await run.prints(/^mongrel2-fetch shows why it cannot serve app.ts at http\S+ through Mongrel2$/m)
    place.write('app.ts', "export default () => new Response('works')")
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms: app.ts changed$/m)
  })
})

describe('dev', () => {
  it.each([
    ['Mongrel2', undefined],
    ['the embedded front', '/nowhere'],
  ])('listens through %s where --listen says, and prints the addresses in the network', async (front, path) => {
    place.write('app.ts', "export default () => new Response('works')")
    const env = { TMPDIR: place.directory, ...(path !== undefined && { PATH: path }) }
    const run = place.run(['dev', 'app.ts', '--port', '0', '--listen', '0.0.0.0'], env)
    const [, url = ''] = await run.prints(new RegExp(`at (http://127.0.0.1:\\d+/) through ${front}`))
    const lan = Object.values(networkInterfaces())
      .flatMap((all = []) => all)
      .filter(({ family, internal }) => family === 'IPv4' && !internal)
      .map(({ address }) => url.replace('127.0.0.1', address))
    for (const at of [url, ...lan]) expect(await page(at)).toBe('works')
    for (const at of lan) await run.prints(new RegExp(`^mongrel2-fetch listens at ${at} for other machines$`, 'm'))
    expect(run.stdout.match(/for other machines/g) ?? []).toHaveLength(lan.length)
  })

  it('takes the port from PORT, and variables from .env.local and .env, which it reads again', async () => {
    const port = await freePort()
    const text = "['FIRST', 'SECOND', 'GIVEN'].map((name) => process.env[name]).join(' ')"
    place.write('app.ts', `export default () => new Response(${text})`)
    place.write('.env', `PORT=${port}\nFIRST=one\nSECOND=two\nGIVEN=no\n`)
    place.write('.env.local', 'FIRST=local\n')
    const run = place.run(['dev', 'app.ts'], { TMPDIR: place.directory, GIVEN: 'given' })
    await run.prints(new RegExp(`at http://127.0.0.1:${port}/`))
    const asked = () => page(`http://127.0.0.1:${port}/`)
    expect(await asked()).toBe('local two given')
    place.write('.env', 'SECOND=three\n')
    await expect.poll(asked).toBe('local three given')
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms: \.env changed$/m)
    const wrong = place.run(['dev', 'app.ts'], { PORT: 'a' })
    expect(await wrong.ended).toBe(2)
    expect(wrong.stderr).toContain('PORT: expected an integer')
  })

  it('loads the app again after a change of files of --watch-files', async () => {
    mkdirSync(`${place.directory}/views/parts`, { recursive: true })
    place.write('views/parts/a.html', 'one')
    place.write(
      'app.ts',
      "import { readFileSync } from 'node:fs'\nconst text = readFileSync('views/parts/a.html', 'utf8')\nexport default () => new Response(text)",
    )
    const { run, url } = await dev('--watch-files', 'views/**/*.html')
    place.write('views/parts/a.html', 'two')
    await expect.poll(() => page(url)).toBe('two')
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms: views\/parts\/a\.html changed$/m)
    // A file that does not match is not among those that are named.
    place.write('views/parts/a.txt', 'other')
    place.write('views/b.html', 'three')
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms: views\/b\.html changed$/m)
  })

  it('opens the browser by --open', async () => {
    place.write('app.ts', "export default () => new Response('works')")
    place.write('xdg-open', '#!/bin/sh\necho "$1" > opened.tmp && mv opened.tmp opened')
    chmodSync(`${place.directory}/xdg-open`, 0o755)
    const PATH = `${place.directory}:${process.env.PATH}`
    const run = place.run(['dev', 'app.ts', '--port', '0', '--open'], { TMPDIR: place.directory, PATH })
    const [, url = ''] = await run.prints(/at (http\S+)/)
    const opened = `${place.directory}/opened`
    await expect.poll(() => existsSync(opened)).toBe(true)
    expect(readFileSync(opened, 'utf8')).toBe(`${url}\n`)
  })

  it.each([
    ['GET /{a} HTTP/1.1\r\nHost: localhost\r\n\r\n', 'its URL has a character that clients have to encode'],
    ['GET / HTTP/1.1\r\nHost: localhost\r\nExpect: more\r\n\r\n', 'its Expect is not 100-continue'],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 'its first line and headers are longer than 16 KiB'],
  ])('says why Mongrel2 refuses a request: %#', async (request, reason) => {
    place.write('app.ts', "export default () => new Response('works')")
    const { run, url } = await dev()
    using client = new RawClient(Number(new URL(url).port))
    client.send(request)
    await run.prints(new RegExp(`^mongrel2-fetch: Mongrel2 refused a request: ${reason}`, 'm'))
  })
})

describe('An app', () => {
  const SERVE = `import { serve } from '@hono/node-server'
  import { Hono } from 'hono'
  const app = new Hono().get('/', (c) => c.text('works'))
  serve({ fetch: app.fetch, port: PORT }, (info) => { console.log('listens', info.port) })
  `
  const REQUIRED = SERVE.replaceAll(/import (.*) from '(.*)'/g, "const $1 = require('$2')")
  const IN_TYPESCRIPT = SERVE.replace(
    /import \{ serve \} from '(.*)'/,
    "import node = require('$1')\n  const { serve } = node",
  )

  it.each([
    ['exports a function fetch', "export const fetch = () => new Response('works')"],
    ['exports a promise', "export default Promise.resolve({ fetch: () => new Response('works') })"],
    ['calls serve in JavaScript', SERVE, 'app.mjs'],
    ['calls serve in a part of it', "import './part.mjs'\n", 'app.mjs'],
    ['calls serve in CommonJS', REQUIRED, 'app.cjs'],
    ['calls serve in CommonJS by its text', REQUIRED, 'app.js'],
    ['calls serve in CommonJS in TypeScript', IN_TYPESCRIPT, 'app.cts'],
    ['calls serve in a part in CommonJS', "require('./part.cjs')", 'app.cjs'],
  ])('is found that %s', async (_, code, file = 'app.ts') => {
    place.link('@hono/node-server')
    const port = await freePort()
    for (const [path, text] of [
      [file, code],
      ['part.mjs', SERVE],
      ['part.cjs', REQUIRED],
    ] as const)
      place.write(path, text.replace('PORT', String(port)))
    const run = place.run(['fetch', file])
    expect(await run.ended).toBe(0)
    expect([run.stdout, run.stderr]).toEqual(['works', ''])
  })

  it('is served that exports nothing and calls serve of @hono/node-server', async () => {
    place.link('@hono/node-server')
    const port = await freePort()
    place.write('app.ts', SERVE.replace('PORT', String(port)))
    await using mongrel2 = await startMongrel2()
    const serve = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint])
    await serve.prints(/^mongrel2-fetch serves/m)
    expect(await page(`http://127.0.0.1:${mongrel2.port}/`)).toBe('works')
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow()
    const { run, url } = await dev()
    expect(await page(url)).toBe('works')
    expect(run.stdout + serve.stdout).not.toContain('listens')
  })

  it('listens by serve of @hono/node-server where it exports a handler too', async () => {
    place.link('@hono/node-server')
    const port = await freePort()
    place.write('app.ts', `${SERVE.replace('PORT', String(port))}export default () => new Response('exported')`)
    const { run, url } = await dev()
    expect(await page(url)).toBe('exported')
    await run.prints(new RegExp(`^listens ${port}$`, 'm'))
    expect(await page(`http://127.0.0.1:${port}/`)).toBe('works')
  })

  it.each([
    [
      'exports something else',
      'export const app = 1',
      / has no export default: expected .*; export the handler, such as `export default app`/,
    ],
    [
      'exports nothing in CommonJS',
      "require('node:http').createServer()",
      / has no export default: expected .*; export the handler/,
      'app.cjs',
    ],
    [
      'calls Deno.serve',
      'Deno.serve(() => new Response())',
      /^ReferenceError: Deno is not defined: export the handler, such as `export default app`, in the place of Deno\.serve$/m,
    ],
    [
      'calls Bun.serve',
      'Bun.serve({ fetch: () => new Response() })',
      /^ReferenceError: Bun is not defined: export the handler/m,
    ],
  ])('is refused with a line that says what to export, if it %s', async (_, code, line, file = 'app.mts') => {
    place.write(file, code)
    const run = place.run(['fetch', file])
    expect(await run.ended).toBe(3)
    expect(run.stderr).toMatch(line)
  })
})
