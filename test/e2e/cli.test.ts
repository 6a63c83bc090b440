import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectSecurely } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Pull } from 'zeromq'
import { makeCertificate, type TestCertificate } from '../support/certificate.ts'
import { Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient } from '../support/raw-client.ts'
import { ServiceManager } from '../support/service-manager.ts'

/** An app that answers with what the handler was given, waits on /wait until /go comes, and fails on /fail. */
const APP = `let go: () => void
const gone = new Promise<void>((resolve) => { go = resolve })
export default async (request: Request): Promise<Response> => {
  const { pathname } = new URL(request.url)
  if (pathname === '/wait') { console.log('waits'); await gone; return new Response('waited') }
  if (pathname === '/go') go()
  if (pathname === '/fail') throw new Error('<script>alert("x & y")</script>')
  return new Response(\`served \${pathname}\`)
}
`

let place: Workplace

beforeEach(() => {
  place = new Workplace({ 'app.ts': APP })
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

function urlOf(mongrel2: Mongrel2, path = '/'): string {
  return `http://127.0.0.1:${mongrel2.port}${path}`
}

async function textOf(url: string): Promise<string> {
  return await (await fetch(url)).text()
}

describe('mongrel2-fetch serve', () => {
  it.each([
    ['a function in TypeScript', 'app.ts', APP],
    ['an object with fetch in JavaScript', 'app.js', "export default { fetch: () => new Response('served /') }"],
    [
      'an object with every method, as a router of itty-router',
      'app.js',
      "export default new Proxy({ fetch: () => new Response('served /') }, { get: (it, name) => it[name] ?? (() => {}) })",
    ],
    ['CommonJS', 'app.cjs', "module.exports = () => new Response('served /')"],
    [
      'TypeScript that is more than types',
      'enum.ts',
      "enum Path { root = '/' }\nexport default () => new Response('served ' + Path.root)",
    ],
  ])('serves %s, and says what and where on stdout', async (_, path, code) => {
    await using mongrel2 = await startMongrel2()
    place.write(path, code)
    const run = place.run(['serve', path, '--zeromq', mongrel2.endpoint])
    await run.prints(/^mongrel2-fetch serves/m)
    expect(run.stdout).toBe(`mongrel2-fetch serves ${path} at ${mongrel2.endpoint}\n`)
    expect(await textOf(urlOf(mongrel2))).toBe('served /')
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('serves several Handlers, and the export that is named', async () => {
    await using mongrel2 = await startMongrel2({ routes: { '/': {}, '/other/': { protocol: 'tnetstring' } } })
    place.write(
      'app.ts',
      'export const app = { fetch: (request: Request) => new Response(new URL(request.url).pathname) }',
    )
    const endpoints = Object.values(mongrel2.endpoints)
    const run = place.run(['serve', 'app.ts', '--export', 'app', ...endpoints.flatMap((one) => ['--zeromq', one])])
    await run.prints(/^mongrel2-fetch serves/m)
    expect(await textOf(urlOf(mongrel2, '/a'))).toBe('/a')
    expect(await textOf(urlOf(mongrel2, '/other/b'))).toBe('/other/b')
  })

  it('takes a flag before the environment, that before the configuration file, and that before the default', async () => {
    await using mongrel2 = await startMongrel2()
    place.write('app.ts', 'export default (request: Request) => new Response(request.url)')
    place.write(
      'mongrel2-fetch.config.ts',
      `const zeromq: string = '${mongrel2.endpoint}'
      export default { zeromq, app: 'app.ts', trustProxy: true, host: 'file.example' }`,
    )
    const asked = async (args: string[], env: Record<string, string>) => {
      const run = place.run(['serve', ...args], env)
      await run.prints(/^mongrel2-fetch serves app.ts/m)
      const response = await fetch(urlOf(mongrel2), { headers: { 'x-forwarded-host': 'proxy.example' } })
      const url = await response.text()
      run.signal('SIGTERM')
      await run.ended
      return url
    }
    expect(await asked([], {})).toBe('http://proxy.example/')
    expect(await asked([], { MONGREL2_FETCH_TRUST_PROXY: 'false' })).toBe(urlOf(mongrel2))
    expect(await asked(['--trust-proxy', 'true'], { MONGREL2_FETCH_TRUST_PROXY: 'false' })).toBe(
      'http://proxy.example/',
    )
  })

  it('calls onError of the configuration file', async () => {
    await using mongrel2 = await startMongrel2()
    place.write('c.mjs', "export default { onError: (error) => new Response('handled', { status: 418 }) }")
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--config', 'c.mjs'])
    await run.prints(/serves/)
    expect((await fetch(urlOf(mongrel2, '/fail'))).status).toBe(418)
  })

  it.each([
    ['the platform’s', ['--no-override-global-objects'], 'false'],
    ['ours', [], 'true'],
  ])('has %s global objects before the app is loaded', async (_, flags, expected) => {
    await using mongrel2 = await startMongrel2()
    place.write(
      'app.js',
      // Ours is a subclass, the platform's is none.
      `const replaced = Object.getPrototypeOf(Response) !== Function.prototype
      export default () => new Response(String(replaced))`,
    )
    const run = place.run(['serve', 'app.js', '--zeromq', mongrel2.endpoint, ...flags])
    await run.prints(/serves/)
    expect(await textOf(urlOf(mongrel2))).toBe(expected)
  })

  it('answers a handler that takes too long with 504', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--request-timeout', '50'])
    await run.prints(/serves/)
    expect((await fetch(urlOf(mongrel2, '/wait'))).status).toBe(504)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`answers what is open after ${signal}, and ends with 0`, async () => {
      await using mongrel2 = await startMongrel2()
      place.write(
        'app.ts',
        `process.on('${signal}', () => setImmediate(go))
        let go: () => void
        const signalled = new Promise<void>((resolve) => { go = resolve })
        export default async () => { console.log('waits'); await signalled; return new Response('after the signal') }`,
      )
      const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint])
      await run.prints(/serves/)
      const answer = textOf(urlOf(mongrel2))
      await run.prints(/waits/)
      run.signal(signal)
      expect(await answer).toBe('after the signal')
      expect(await run.ended).toBe(0)
      expect(run.stderr).toMatch(/^mongrel2-fetch \S+ on Node \S+ starts app.ts, process \d+$/m)
      expect(run.stderr).toMatch(new RegExp(`^mongrel2-fetch got ${signal}`, 'm'))
      expect(run.stderr).toMatch(/^mongrel2-fetch ended app.ts after 1 message$/m)
    })
  }

  it('closes what is still open after --close-timeout', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--close-timeout', '50'])
    await run.prints(/serves/)
    const answer = fetch(urlOf(mongrel2, '/wait'))
    await run.prints(/waits/)
    run.signal('SIGTERM')
    await expect(answer).rejects.toThrow()
    expect(await run.ended).toBe(0)
  })

  it('ends at once on a second signal, but not on the same Ctrl-C passed on by npm', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint])
    await run.prints(/serves/)
    fetch(urlOf(mongrel2, '/wait')).catch(() => {})
    await run.prints(/waits/)
    run.signal('SIGINT')
    run.signal('SIGINT')
    await run.prints(/got SIGINT/)
    // More than what counts as together.
    await sleep(400)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(143)
  })

  it('ends with 0 when it is stopped before Mongrel2 was there', async () => {
    const run = place.run(['serve', 'app.ts', '--zeromq', 'ipc://nobody-1,ipc://nobody-2'])
    await run.prints(/waits for Mongrel2/)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.stdout).toBe('')
  })

  it('answers what is open and ends with 1 after an error that nobody caught', async () => {
    await using mongrel2 = await startMongrel2()
    place.write(
      'app.ts',
      `export default async () => {
        setImmediate(() => { throw new Error('nobody catches this') })
        await new Promise((resolve) => setTimeout(resolve, 50))
        return new Response('answered')
      }`,
    )
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint])
    await run.prints(/serves/)
    expect(await textOf(urlOf(mongrel2))).toBe('answered')
    expect(await run.ended).toBe(1)
    expect(run.stderr).toContain('Error: nobody catches this')
  })
})

describe('An error that nobody caught while the app is loaded', () => {
  it('ends with 1', async () => {
    place.write(
      'app.js',
      "setImmediate(() => { throw new Error('too early') })\nawait new Promise(() => setInterval(() => {}, 1000))",
    )
    const run = place.run(['serve', 'app.js', '--zeromq', 'ipc://a,ipc://b'])
    expect(await run.ended).toBe(1)
    expect(run.stderr).toContain('Error: too early')
  })
})

describe('Wrong input', () => {
  const ENDPOINT = ['--zeromq', 'ipc://a,ipc://b']

  it.each([
    [['serv'], 2, 'got "serv"; did you mean serve?'],
    [['serve', 'app.ts', ...ENDPOINT, '--max-in-flight', '0'], 2, '--max-in-flight: expected an integer from 1, got 0'],
    [['serve', 'none.ts', ...ENDPOINT], 3, 'there is no file'],
    [['serve', 'broken.ts', ...ENDPOINT], 3, 'broken.ts'],
    [['serve', 'throws.ts', ...ENDPOINT], 3, 'Error: not today'],
    [['serve', 'nothing.ts', ...ENDPOINT], 3, 'has no export default'],
    [['serve', 'nothing.ts', ...ENDPOINT, '--export', 'hanlder'], 3, 'did you mean handler?'],
  ])('%j ends with %d and says %s', async (args, code, message) => {
    place.write('broken.ts', 'export default (')
    place.write('throws.ts', "throw new Error('not today')")
    place.write('nothing.ts', 'export const handler = () => new Response()\nexport const text: string = ""')
    const run = place.run(args)
    expect(await run.ended).toBe(code)
    expect(run.stderr).toContain(message)
    expect(run.stdout).toBe('')
  })
})

describe('A temporary directory whose path is too long for sockets', () => {
  it.each([
    ['serve', 'app.mjs', '--cluster', 'tcp://127.0.0.1:0', '--zeromq', 'ipc://a,ipc://b'],
    ['serve', 'app.mjs', '--http', '127.0.0.1:0'],
    ['dev', 'app.mjs', '--port', '0'],
  ])('is refused, and nothing is left in it: %s %s %s', async (...args) => {
    const long = join(place.directory, 'x'.repeat(100))
    mkdirSync(long)
    place.write('app.mjs', 'export default () => new Response()')
    const run = place.run(args, { TMPDIR: long })
    expect(await run.ended).toBe(2)
    expect(run.stderr).toMatch(
      /^mongrel2-fetch: (?:--http: )?TMPDIR: expected a temporary directory whose path has at most \d+ bytes/m,
    )
    expect(readdirSync(long)).toEqual([])
  })
})

describe('systemd', () => {
  it('is told when it is ready and when it stops', async () => {
    await using mongrel2 = await startMongrel2()
    await using systemd = await ServiceManager.start(place.directory)
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint], { NOTIFY_SOCKET: systemd.socket })
    const ready = `READY=1\nSTATUS=Serves app.ts at ${mongrel2.endpoint}`
    await expect.poll(() => systemd.heard).toEqual([ready])
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    const stopping = 'STOPPING=1\nSTATUS=Answers what is open'
    await expect.poll(() => systemd.heard).toEqual([ready, stopping])
    expect(run.stderr).not.toContain('systemd')
  })

  it('that cannot be told is no reason not to serve', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint], {
      NOTIFY_SOCKET: '/none',
      PATH: place.directory,
    })
    await run.prints(/systemd was not told READY=1: systemd-notify cannot be run/)
    expect(await textOf(urlOf(mongrel2))).toBe('served /')
  })
})

describe('The ZeroMQ logger', () => {
  it('sends a message a line to whoever pulls', async () => {
    await using mongrel2 = await startMongrel2()
    using pull = new PullSocket()
    const address = `tcp://127.0.0.1:${await freePort()}`
    await pull.bind(address)
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--logger', `zeromq:${address}`])
    await run.prints(/serves/)
    const line = async () => String(await pull.receive())
    expect(await line()).toMatch(/^\d{4}-\S+Z info mongrel2-fetch \S+ on Node \S+ starts app.ts, process \d+$/)
    await fetch(urlOf(mongrel2, '/fail'))
    expect(await line()).toMatch(/^\S+ error .*<script>/)
    run.signal('SIGTERM')
    expect(await line()).toMatch(/^\S+ info mongrel2-fetch got SIGTERM/)
    expect(await line()).toMatch(/^\S+ info mongrel2-fetch ended app.ts/)
    expect(await run.ended).toBe(0)
    expect(run.stderr).toBe('')
  })

  it('with nobody there neither waits nor keeps the command from ending', async () => {
    await using mongrel2 = await startMongrel2()
    const address = `zeromq:tcp://127.0.0.1:${await freePort()}`
    const run = place.run([
      'serve',
      'app.ts',
      '--zeromq',
      mongrel2.endpoint,
      '--logger',
      address,
      '--log-level',
      'debug',
    ])
    await run.prints(/serves/)
    for (let n = 0; n < 20; n++) expect((await fetch(urlOf(mongrel2, '/fail'))).status).toBe(500)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('is silent where --log-level says so', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--log-level', 'silent'])
    await run.prints(/serves/)
    await fetch(urlOf(mongrel2, '/fail'))
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.stderr).toBe('')
  })
})

describe('mongrel2-fetch dev', () => {
  const env = () => ({ TMPDIR: place.directory })
  const temporary = () => readdirSync(place.directory).filter((name) => name.startsWith('mongrel2-fetch-'))

  it('serves at the address it prints, and leaves nothing behind', async () => {
    const run = place.run(['dev', 'app.ts', '--port', '0'], env())
    const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (http:\S+) through Mongrel2$/m)
    expect(await textOf(`${url}x`)).toBe('served /x')
    expect(temporary()).not.toEqual([])
    run.signal('SIGINT')
    expect(await run.ended).toBe(0)
    expect(temporary()).toEqual([])
  })

  it('serves again after a change of the app or what it imports, and not one request fails', async () => {
    place.write('part.ts', "export const text: string = '0'")
    place.write(
      'app.ts',
      `import { text } from './part.ts'
      export default async (request: Request) => {
        if (request.url.endsWith('/slow')) { console.log('slow'); await new Promise((resolve) => setTimeout(resolve, 1500)) }
        return new Response(text)
      }`,
    )
    const run = place.run(['dev', 'app.ts', '--port', '0'], env())
    const [, url = ''] = await run.prints(/at (http:\S+) /)
    const answers = new Set<string>()
    const stop = new AbortController()
    const client = async () => {
      while (!stop.signal.aborted) {
        const response = await fetch(url)
        expect(response.status).toBe(200)
        answers.add(await response.text())
      }
    }
    const clients = Promise.all([client(), client(), client()])
    const slow = textOf(`${url}slow`)
    await run.prints(/^slow$/m)
    for (const text of ['1', '2', '3']) {
      place.write('part.ts', `export const text: string = '${text}'`)
      await expect.poll(() => answers.has(text)).toBe(true)
    }
    stop.abort()
    await clients
    expect(await slow).toBe('0')
    expect(run.stdout.match(/^mongrel2-fetch reloaded in \d+ ms: part.ts changed$/gm)).toHaveLength(3)
  })

  it('shows errors of the handler and of loading in a page, escaped, without colours', async () => {
    const run = place.run(['dev', 'app.ts', '--port', '0'], env())
    const [, url = ''] = await run.prints(/at (http:\S+) /)
    const failed = await fetch(`${url}fail`, { headers: { accept: 'text/html' } })
    expect(failed.status).toBe(500)
    expect(failed.headers.get('content-type')).toContain('text/html')
    const page = await failed.text()
    expect(page).toContain('&lt;script&gt;alert(&quot;x &amp; y&quot;)&lt;/script&gt;')
    expect(page).not.toContain('<script>alert')
    expect(page).toMatch(/app\.ts:\d+/)
    expect(await (await fetch(`${url}fail`)).text()).toMatch(/^The handler failed\n\nError: <script>/)

    place.write('app.ts', 'export default (')
    await run.prints(/could not be loaded/)
    const asked = async () => (await fetch(url, { headers: { accept: 'text/html' } })).text()
    await expect.poll(asked).toContain('The app could not be loaded')

    place.write('app.ts', APP)
    await expect.poll(asked).toBe('served /')
    expect(run.stdout + run.stderr).not.toContain('\x1b')
  })

  it('starts the app again when it ends by itself, and says why to clients meanwhile', async () => {
    place.write('app.ts', 'export default () => process.exit(7)')
    const run = place.run(['dev', 'app.ts', '--port', '0'], env())
    const [, url = ''] = await run.prints(/at (http:\S+) /)
    const asked = async (): Promise<[number, string]> => {
      const response = await fetch(url)
      return [response.status, await response.text()]
    }
    const text = (code: number) => `app.ts ended by itself and is started again: it exited with code ${code}\n`
    expect(await asked()).toEqual([502, text(7)])
    await run.prints(/^mongrel2-fetch lost worker \d+: it exited with code 7$/m)
    await run.prints(/serves app.ts again/)
    // One that does not come up is started later and later.
    place.write('app.ts', 'process.exit(8)')
    await expect.poll(() => run.stderr.match(/it exited with code 8$/gm)?.length).toBeGreaterThanOrEqual(2)
    // The one before serves on, until it ends as well.
    expect(await asked()).toEqual([502, text(7)])
    await expect.poll(asked).toEqual([503, text(8)])
    place.write('app.ts', APP)
    await expect.poll(asked).toEqual([200, 'served /'])
  })

  it('leaves nobody without an answer when the app of before dies while it finishes, nor disturbs others', async () => {
    const app = (text: string) => `export default async (request) => {
      if (request.url.endsWith('/never')) { console.log('never'); await new Promise((go) => process.once('SIGUSR2', go)); process.exit() }
      return Response.json(['${text}', process.pid])
    }`
    place.write('app.js', app('first'))
    const run = place.run(['dev', 'app.js', '--port', '0'], env())
    const [, url = ''] = await run.prints(/at (http:\S+) /)
    const asked = async (): Promise<[string, number]> => (await (await fetch(url)).json()) as [string, number]
    const [, before] = await asked()
    const lost = fetch(`${url}never`)
    await run.prints(/^never$/m)
    place.write('app.js', app('second'))
    await run.prints(/reloaded in \d+ ms: app.js changed/)
    process.kill(before, 'SIGUSR2')
    expect((await lost).status).toBe(502)
    expect((await asked())[0]).toBe('second')
  })

  it('leaves what the configuration file and the environment say of HTTP and workers to serve', async () => {
    const http = `127.0.0.1:${await freePort()}`
    place.write('mongrel2-fetch.config.json', `{ "http": "${http}", "direct": true, "threads": 2, "app": "app.ts" }`)
    const run = place.run(['dev', '--port', '0'], { ...env(), MONGREL2_FETCH_HTTP: http, MONGREL2_FETCH_WORKERS: '2' })
    const [, url = ''] = await run.prints(/at (http:\S+) through Mongrel2/)
    expect(await textOf(url)).toBe('served /')
    await expect(fetch(`http://${http}/`)).rejects.toThrow()
  })

  it('leaves the Handlers of the configuration file to serve, and serves one of the command line', async () => {
    await using mongrel2 = await startMongrel2()
    place.write('mongrel2-fetch.config.json', '{ "zeromq": "ipc://nobody-1,ipc://nobody-2", "app": "app.ts" }')
    const own = place.run(['dev', '--port', '0'], env())
    const [, url = ''] = await own.prints(/at (http:\S+) through Mongrel2/)
    expect(await textOf(url)).toBe('served /')
    const given = place.run(['dev', '--zeromq', mongrel2.endpoint], env())
    await given.prints(/serves app.ts at ipc:/)
    expect(await textOf(urlOf(mongrel2))).toBe('served /')
  })

  it('answers for hosts of this machine and the one that is named, since its pages show source', async () => {
    const run = place.run(['dev', 'app.ts', '--port', '0', '--host', 'app.test'], env())
    const [, port = ''] = await run.prints(/at http:\/\/127\.0\.0\.1:(\d+)\//)
    const statuses = [
      'localhost',
      'x.localhost',
      '127.0.0.1',
      '[::1]',
      'app.test',
      'evil.example',
      'evil.app.test',
    ].map(async (host) => {
      using client = new RawClient(Number(port))
      client.send(`GET / HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`)
      return (await client.response()).status
    })
    expect(await Promise.all(statuses)).toEqual([200, 200, 200, 200, 200, 403, 403])
  })

  it.each([
    ['of its own making', undefined],
    ['that is given', makeCertificate('given')],
  ])('speaks TLS by --tls, with a certificate %s', async (_whose, given) => {
    const files = given === undefined ? [] : ['--tls-cert', 'own.crt', '--tls-key', 'own.key']
    place.write('own.crt', given?.cert ?? '')
    place.write('own.key', given?.key ?? '')
    place.write('app.ts', 'export default (request: Request) => new Response(request.url)')
    const run = place.run(['dev', 'app.ts', '--port', '0', '--tls', ...files], env())
    const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (https:\S+) through Mongrel2$/m)
    const { port } = new URL(url)
    const shown = connectSecurely({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false })
    await once(shown, 'secureConnect')
    const certificate = shown.getPeerX509Certificate()
    shown.destroy()
    expect(certificate?.subject).toBe(given === undefined ? 'CN=localhost' : 'CN=given')
    // As a client that trusts this certificate and checks whom it is for.
    const tls = { ca: String(certificate), servername: 'localhost' }
    using client = new RawClient(Number(port), '127.0.0.1', tls)
    client.send(`GET /x HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`)
    expect((await client.response()).body.toString()).toBe(`https://localhost:${port}/x`)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(temporary()).toEqual([])
  })

  it('speaks TLS by --tls where there is no Mongrel2, and reads a new certificate when the app is reloaded', async () => {
    const [first, second] = [makeCertificate('first'), makeCertificate('second')]
    const write = ({ cert, key }: TestCertificate) => {
      place.write('own.crt', cert)
      place.write('own.key', key)
    }
    write(first)
    place.write('app.ts', 'export default (request: Request) => new Response(request.url)')
    const files = ['--tls-cert', 'own.crt', '--tls-key', 'own.key']
    const run = place.run(['dev', 'app.ts', '--port', '0', '--tls', ...files], { ...env(), PATH: place.directory })
    const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (https:\S+) through the embedded front$/m)
    const port = Number(new URL(url).port)
    const ask = async ({ cert }: TestCertificate, servername: string) => {
      using client = new RawClient(port, '127.0.0.1', { ca: cert, servername, checkServerIdentity: () => undefined })
      return (await client.send('GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n').response()).body.toString()
    }
    expect(await ask(first, 'first')).toBe('https://localhost/x')
    write(second)
    place.write('app.ts', 'export default () => new Response("again")')
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms: (?:own.crt, own.key, )?app.ts changed$/m)
    expect(await ask(second, 'second')).toBe('again')
    place.write('own.key', 'none')
    place.write('app.ts', 'export default () => new Response("third")')
    await run.prints(
      /^mongrel2-fetch keeps its certificate: --tls-cert and --tls-key: expected .*; correct the files and/m,
    )
    expect(await ask(second, 'second')).toMatch(/again|third/)
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(temporary()).toEqual([])
  })

  it('gives Mongrel2 a new certificate when the app is reloaded, for clients that name the host', async () => {
    const [first, second] = [makeCertificate('first'), makeCertificate('second')]
    const write = ({ cert, key }: TestCertificate) => {
      place.write('own.crt', cert)
      place.write('own.key', key)
    }
    write(first)
    place.write('app.ts', 'export default () => new Response("one")')
    const files = ['--tls-cert', 'own.crt', '--tls-key', 'own.key']
    const run = place.run(['dev', 'app.ts', '--port', '0', '--tls', ...files], env())
    const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (https:\S+) through Mongrel2$/m)
    /** Whose certificate a client gets that names a host, or none, and what it is answered. */
    const ask = async (servername?: string) => {
      const at = { host: '127.0.0.1', port: Number(new URL(url).port), rejectUnauthorized: false }
      const socket = connectSecurely({ ...at, ...(servername && { servername }) })
      await once(socket, 'secureConnect')
      const subject = socket.getPeerX509Certificate()?.subject
      socket.write('GET / HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n')
      return [subject, (await text(socket)).split('\r\n').at(-1)]
    }
    expect([await ask('localhost'), await ask()]).toEqual([
      ['CN=first', 'one'],
      ['CN=first', 'one'],
    ])
    write(second)
    place.write('app.ts', 'export default () => new Response("two")')
    await run.prints(/^mongrel2-fetch reloaded in \d+ ms/m)
    await expect.poll(() => ask('localhost')).toEqual(['CN=second', 'two'])
    // That for clients without a name Mongrel2 reads at its start.
    expect(await ask()).toEqual(['CN=first', 'two'])
    place.write('own.key', 'none')
    place.write('app.ts', 'export default () => new Response("three")')
    await run.prints(/^mongrel2-fetch keeps its certificate: --tls-cert and --tls-key: expected .*; correct the files/m)
    await expect.poll(() => ask('localhost')).toEqual(['CN=second', 'three'])
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(temporary()).toEqual([])
  })

  it('says what --tls needs where there is no openssl', async () => {
    for (const name of ['mongrel2', 'm2sh']) {
      writeFileSync(join(place.directory, name), '', { mode: 0o755 })
    }
    const run = place.run(['dev', 'app.ts', '--port', '0', '--tls'], { ...env(), PATH: place.directory })
    expect(await run.ended).toBe(4)
    expect(run.stderr).toMatch(/openssl could not make a certificate .*ENOENT; install openssl, or give a certificate/)
    expect(temporary()).toEqual([])
  })

  it('says which port is taken', async () => {
    await using mongrel2 = await startMongrel2()
    const run = place.run(['dev', 'app.ts', '--port', String(mongrel2.port)], env())
    expect(await run.ended).toBe(4)
    expect(run.stderr).toContain(`port ${mongrel2.port} of 127.0.0.1 is taken`)
    expect(temporary()).toEqual([])
  })

  it('serves through the embedded front where Mongrel2 is not installed, and says so', async () => {
    const run = place.run(['dev', 'app.ts', '--port', '0'], { ...env(), PATH: place.directory })
    const [, url = ''] = await run.prints(/^mongrel2-fetch serves app.ts at (http:\S+) through the embedded front$/m)
    expect(await textOf(`${url}x`)).toBe('served /x')
    expect(run.stderr).toContain('not Mongrel2')
    place.write('app.ts', "export default () => new Response('changed')")
    await expect.poll(() => textOf(url)).toBe('changed')
    run.signal('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(temporary()).toEqual([])
  })
})

class PullSocket extends Pull implements Disposable {
  [Symbol.dispose](): void {
    this.close()
  }
}
