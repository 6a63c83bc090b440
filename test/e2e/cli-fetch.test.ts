import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Workplace } from '../support/command.ts'

/** Echoes a request; `/big` is a stream beyond flow control's window, `/cut` fails in the middle of its body. */
const APP = `type Body = ReadableStreamDefaultController<Uint8Array>
export default async (request: Request, env: { mongrel2: { version: string } }) => {
  const { pathname, search, host } = new URL(request.url)
  if (pathname === '/fail') throw new Error('no')
  if (pathname === '/big') {
    let count = 0
    const pull = (it: Body) => (count++ < 300 ? it.enqueue(new Uint8Array(10_000).fill(97)) : it.close())
    return new Response(new ReadableStream({ pull }))
  }
  if (pathname === '/cut') {
    const start = (it: Body) => it.enqueue(new TextEncoder().encode('begun'))
    // Later than the turn in which the head is sent.
    const pull = async (it: Body) => it.error(await new Promise((resolve) => setTimeout(resolve, 50, new Error('gone'))))
    return new Response(new ReadableStream({ start, pull }, { highWaterMark: 2 }))
  }
  const { method, headers } = request
  const echo = { method, host, path: pathname + search, type: headers.get('content-type'), x: headers.get('x-a'),
    body: await request.text(), version: env.mongrel2.version }
  return Response.json(echo, { status: pathname === '/teapot' ? 418 : 200, headers: { 'x-app': 'yes' } })
}
`

let place: Workplace

beforeEach(() => {
  place = new Workplace({ 'app.ts': APP, 'body.txt': 'from a file' })
})

afterEach(() => place[Symbol.asyncDispose]())

async function fetched(...args: string[]) {
  const run = place.run(['fetch', 'app.ts', ...args])
  const code = await run.ended
  return { code, stdout: run.stdout, stderr: run.stderr }
}

describe('mongrel2-fetch fetch', () => {
  it.each([
    [[], { method: 'GET', host: 'localhost', path: '/', type: null, body: '', version: 'HTTP/1.1' }],
    [['/a/../b?c=%20'], { path: '/b?c=%20' }],
    [['https://example.org:8443/a?b'], { host: 'example.org:8443', path: '/a?b' }],
    [
      ['/', '-d', 'a=1', '-d', '@body.txt'],
      { method: 'POST', type: 'application/x-www-form-urlencoded', body: 'a=1&from a file' },
    ],
    [
      ['/', '-X', 'PUT', '-d', '{}', '-H', 'Content-Type: application/json', '-H', 'X-A: é'],
      { method: 'PUT', type: 'application/json', x: Buffer.from('é').toString('latin1'), body: '{}' },
    ],
  ])('%j sends that request, and prints the body', async (args, echo) => {
    const { code, stdout, stderr } = await fetched(...args)
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject(echo)
    expect(code).toBe(0)
  })

  it('prints status and headers with -i, and ends with 1 from status 400 on', async () => {
    const { code, stdout } = await fetched('/teapot', '-i')
    expect(stdout).toMatch(
      /^HTTP\/1\.1 418 I'm a Teapot\r\n(?:[^\r\n]+\r\n)*x-app: yes\r\n(?:[^\r\n]+\r\n)*\r\n\{.*\}$/,
    )
    expect(code).toBe(1)
  })

  it('says on stderr what failed', async () => {
    const { code, stdout, stderr } = await fetched('/fail')
    expect(stdout).toBe('Internal Server Error')
    expect(stderr).toContain('the handler failed on GET http://localhost/fail: Error: no')
    expect(stderr).toContain('mongrel2-fetch: the app answered 500 Internal Server Error\n')
    expect(code).toBe(1)
  })

  it('streams a long body, and tells one that is cut off', async () => {
    expect((await fetched('/big')).stdout).toHaveLength(3_000_000)
    const { code, stdout, stderr } = await fetched('/cut')
    expect(stdout).toBe('begun')
    expect(stderr).toContain('mongrel2-fetch: the response was cut off')
    expect(code).toBe(1)
  })

  it.each([
    [['path'], 'expected a path such as /, or a URL, got "path"'],
    [['/', '-H', 'none'], `--header: expected 'Name: value', got "none"`],
    [['/', '-X', 'A B'], '--method: expected a method, got "A B"'],
    [['/', '-d', '@none'], '--data: ENOENT'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await fetched(...args)
    expect(stderr).toContain(`mongrel2-fetch: ${message}`)
    expect(code).toBe(2)
  })

  it('uses the options of the configuration file', async () => {
    place.write(
      'mongrel2-fetch.config.ts',
      "export default { zeromq: 'ipc://a,ipc://b', accessLog: '/none/x', onError: () => new Response('mended') }",
    )
    expect(await fetched('/fail')).toMatchObject({ code: 0, stdout: 'mended' })
  })

  it('sends a request alone to the app of the configuration file', async () => {
    place.write('mongrel2-fetch.config.ts', "export default { app: 'echo.ts' }")
    place.write('echo.ts', 'export default (request: Request) => new Response(request.url)')
    for (const [args, url] of [
      [[], 'http://localhost/'],
      [['/a?b'], 'http://localhost/a?b'],
      [['http://example.org/a'], 'http://example.org/a'],
      [[join(place.directory, 'echo.ts')], 'http://localhost/'],
    ] as const) {
      const run = place.run(['fetch', ...args])
      expect(await run.ended).toBe(0)
      expect(run.stdout).toBe(url)
    }
  })
})
