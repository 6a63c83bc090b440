import { describe, expect, it } from 'vitest'
import type { Mongrel2Env, ServedRequest } from '../../../src/platform/handler.ts'
import { deferred } from '../../../src/runtime/promises.ts'
import { PROTOCOLS, type RequestParts, renderRequest, SENDER } from '../support/message.ts'
import { type Stage, type StageOptions, setStage, turns } from '../support/stage.ts'

interface Seen {
  request: Request
  env: Mongrel2Env
  body: Uint8Array
  stage: Stage
}

/** What the handler gets for a request. */
async function see(parts: RequestParts, options: StageOptions = {}): Promise<Seen> {
  let seen: Omit<Seen, 'stage'> | undefined
  const stage = setStage(async (request, env) => {
    seen = { request, env, body: new Uint8Array(await request.clone().arrayBuffer()) }
    return new Response('seen')
  }, options)
  stage.receive(renderRequest(parts))
  await stage.settled()
  if (seen === undefined) throw new Error(`the handler was not called: ${stage.publisher.received(1)}`)
  return { ...seen, stage }
}

describe('the URL', () => {
  it.each<[what: string, parts: RequestParts, url: string]>([
    ['of a plain target', { target: '/a/b?c=d' }, 'http://example.org/a/b?c=d'],
    ['of https', { headers: { URL_SCHEME: 'https' } }, 'https://example.org/'],
    ['with a port', { headers: { host: 'example.org:8080' } }, 'http://example.org:8080/'],
    ['with an IPv6 host', { headers: { host: '[::1]:8080' } }, 'http://[::1]:8080/'],
    ['without its fragment', { target: '/a?b#c?d' }, 'http://example.org/a?b'],
    ['of a target with two slashes', { target: '//evil.example/x' }, 'http://example.org//evil.example/x'],
    ['with an @ in its target', { target: '/@evil.example' }, 'http://example.org/@evil.example'],
    ['with escapes, as they came', { target: '/a%20b%2F%c3%a9?%26' }, 'http://example.org/a%20b%2F%c3%a9?%26'],
    ['of HTTP/1.0 without Host', { version: 'HTTP/1.0', headers: { host: undefined } }, 'http://localhost/'],
  ])('%s', async (_what, parts, url) => {
    expect((await see(parts)).request.url).toBe(url)
  })

  it.each<[target: string, host: string, url: string]>([
    ['//example.org/a?b', 'example.org', 'http://example.org/a?b'],
    ['//example.org', 'example.org', 'http://example.org/'],
    ['//example.org?b', 'example.org', 'http://example.org/?b'],
    ['//example.org//a', 'example.org', 'http://example.org//a'],
    ['//example.org/../a', 'example.org', 'http://example.org/a'],
    ['//EXAMPLE.org/a', 'example.ORG', 'http://example.org/a'],
    ['//example.org:80/a', 'example.org', 'http://example.org/a'],
    ['//example.org:8080/a', 'example.org:8080', 'http://example.org:8080/a'],
    ['//[::1]:81/a', '[::1]:81', 'http://[::1]:81/a'],
    ['//example.org:81/a', 'example.org', 'http://example.org//example.org:81/a'],
    ['//user@example.org/a', 'example.org', 'http://example.org//user@example.org/a'],
    ['//example.org.evil/a', 'example.org', 'http://example.org//example.org.evil/a'],
    ['///example.org/a', 'example.org', 'http://example.org///example.org/a'],
    ['/a//example.org/b', 'example.org', 'http://example.org/a//example.org/b'],
    ['//', 'example.org', 'http://example.org//'],
  ])('of %s with the host %s, as Mongrel2 gives absolute targets, is %s', async (target, host, url) => {
    expect((await see({ target, headers: { host } })).request.url).toBe(url)
  })

  it('of an absolute target is that of the path alone in HTTP/1.0 too, with a Host or with that of the options', async () => {
    const target = '//example.org/a'
    const named = await see({ version: 'HTTP/1.0', target })
    expect(named.request.url).toBe('http://example.org/a')
    const unnamed = await see({ version: 'HTTP/1.0', target, headers: { host: undefined } }, { host: 'example.org' })
    expect(unnamed.request.url).toBe('http://example.org/a')
  })

  it('is never shortened behind a proxy that is trusted, which has to send paths', async () => {
    const target = '//example.org/admin'
    const { request } = await see({ target }, { trustProxy: 1 })
    expect(request.url).toBe('http://example.org//example.org/admin')
  })

  it('has the host of the options where HTTP/1.0 named none', async () => {
    const { request } = await see({ version: 'HTTP/1.0', headers: { host: undefined } }, { host: 'example.com:81' })
    expect(request.url).toBe('http://example.com:81/')
  })

  it('and the address are those that a trusted proxy saw', async () => {
    const headers = {
      'x-forwarded-for': '203.0.113.1, 203.0.113.2',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'a.example',
    }
    const { request, env } = await see({ headers }, { trustProxy: 1 })
    expect(request.url).toBe('https://a.example/')
    expect(env.mongrel2).toMatchObject({ remoteAddress: '203.0.113.2', scheme: 'https' })
  })
})

describe('headers', () => {
  it.each(PROTOCOLS)('are passed on with their duplicates in %s', async (protocol) => {
    const { request } = await see({ protocol, headers: { 'x-two': ['1', '2'], accept: '*/*', cookie: ['a=1', 'b=2'] } })
    expect(Object.fromEntries(request.headers)).toEqual({
      host: 'example.org',
      'x-two': '1, 2',
      accept: '*/*',
      cookie: 'a=1; b=2',
    })
  })

  it.each(PROTOCOLS)('have their bytes as Latin-1 in %s, tabs among them', async (protocol) => {
    const { request } = await see({ protocol, headers: { 'x-bytes': 'a\tb\xe9\xff"\\' } })
    expect(request.headers.get('x-bytes')).toBe('a\tb\xe9\xff"\\')
  })

  it.each(['x-mongrel2-upload-id', 'x-mongrel2-anything'])(
    'do not have %s, which a client has written',
    async (name) => {
      const { request } = await see({ headers: { [name]: 'forged' } })
      expect([...request.headers.keys()]).toEqual(['host'])
    },
  )

  it.each(['authorization', 'origin', 'sec-fetch-mode', 'te', 'expect', 'upgrade', 'connection', 'date'])(
    'have %s, which browsers would forbid to scripts',
    async (name) => {
      expect((await see({ headers: { [name]: 'value' } })).request.headers.get(name)).toBe('value')
    },
  )
})

describe('the method', () => {
  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE', 'CONNECT', 'TRACK'])(
    'may be %s',
    async (method) => {
      const { request } = await see({ method })
      expect(request.method).toBe(method)
      expect(request).toBeInstanceOf(Request)
    },
  )
})

describe('the body', () => {
  it('has the bytes of the message', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    const { body, request } = await see({ method: 'POST', body: bytes })
    expect([...body]).toEqual([...bytes])
    expect(new Uint8Array(await request.arrayBuffer())).toEqual(bytes)
  })

  it.each<[how: string, read: (request: Request) => Promise<unknown>, value: unknown]>([
    ['text', (request) => request.text(), '{"a":"\xe9"}'],
    ['json', (request) => request.json(), { a: '\xe9' }],
    ['blob', async (request) => (await request.blob()).size, 10],
  ])('can be read as %s', async (_how, read, value) => {
    let got: unknown
    const stage = setStage(async (request) => {
      got = await read(request)
      return new Response()
    })
    stage.receive(renderRequest({ method: 'POST', body: Buffer.from('{"a":"\xe9"}', 'utf8') }))
    await stage.settled()
    expect(got).toEqual(value)
  })

  it('can be read as form data', async () => {
    let got: unknown
    const stage = setStage(async (request) => {
      got = [...(await request.formData())]
      return new Response()
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    stage.receive(renderRequest({ method: 'POST', body: 'a=1&b=%C3%A9', headers }))
    await stage.settled()
    expect(got).toEqual([
      ['a', '1'],
      ['b', '\xe9'],
    ])
  })

  it('is none for GET and HEAD, whatever came', async () => {
    for (const method of ['GET', 'HEAD']) expect((await see({ method, body: 'ignored' })).request.body).toBeNull()
  })

  it('is none where none was announced, and empty where its length is 0', async () => {
    expect((await see({ method: 'POST' })).request.body).toBeNull()
    const { request, body } = await see({ method: 'POST', headers: { 'content-length': '0' } })
    expect(request.body).not.toBeNull()
    expect(body).toHaveLength(0)
  })

  it('may have maxBodySize bytes', async () => {
    expect((await see({ method: 'POST', body: '12345' }, { maxBodySize: 5 })).body).toHaveLength(5)
  })
})

describe('env.mongrel2', () => {
  it('says what Mongrel2 says', async () => {
    const { env } = await see({
      connectionId: 12,
      method: 'PUT',
      target: '/a?b',
      headers: { PATTERN: '/a', QUERY: 'b' },
    })
    const { headers: _headers, ...others } = env.mongrel2
    expect(Object.keys(others).sort()).toEqual([
      'connectionId',
      'pattern',
      'remoteAddress',
      'scheme',
      'sender',
      'version',
    ])
    expect(JSON.parse(JSON.stringify(env))).toEqual({
      mongrel2: {
        sender: SENDER,
        connectionId: 12,
        pattern: '/a',
        remoteAddress: '192.0.2.7',
        scheme: 'http',
        version: 'HTTP/1.1',
        headers: {
          PATH: '/a',
          METHOD: 'PUT',
          VERSION: 'HTTP/1.1',
          URI: '/a?b',
          PATTERN: '/a',
          URL_SCHEME: 'http',
          REMOTE_ADDR: '192.0.2.7',
          QUERY: 'b',
        },
      },
    })
  })
})

describe.each(PROTOCOLS)("a client's certificate, by headers as %s,", (protocol) => {
  const SHA1 = '1699DC7F0177D34C7B4AB824D09C3166496A169D'

  it('has the fingerprint of Mongrel2 without the two digits at its end, in JSON too', async () => {
    const { env } = await see({ protocol, headers: { PEER_CERT_SHA1: `${SHA1}00` } })
    expect(env.mongrel2.clientCertificate).toEqual({ sha1: SHA1 })
    expect(JSON.parse(JSON.stringify(env.mongrel2))).toMatchObject({ clientCertificate: { sha1: SHA1 } })
  })

  it('is undefined without one, whatever headers the client sends', async () => {
    const { env } = await see({ protocol, headers: { peer_cert_sha1: `${SHA1}00`, 'peer-cert-sha1': SHA1 } })
    expect(env.mongrel2.clientCertificate).toBeUndefined()
    expect(JSON.stringify(env.mongrel2)).not.toContain('clientCertificate')
  })
})

describe.each([false, true])('where apps of other servers look, with overrideGlobalObjects %s,', (override) => {
  const options = { overrideGlobalObjects: override }

  it.each<[address: string, family: string | undefined]>([
    ['192.0.2.7', 'IPv4'],
    ['2001:db8::1', 'IPv6'],
    ['unknown', undefined],
    ['', undefined],
  ])('is the address %s', async (address, remoteFamily) => {
    const { request, env } = await see({ headers: { REMOTE_ADDR: address } }, options)
    const remoteAddress = address === '' ? undefined : address
    expect((request as ServedRequest).ip).toBe(remoteAddress)
    expect(env.incoming).toEqual({ socket: { remoteAddress, remotePort: undefined, remoteFamily } })
  })

  it('is the address that a trusted proxy saw', async () => {
    const headers = { 'x-forwarded-for': '203.0.113.1, 2001:db8::2' }
    const { request, env } = await see({ headers }, { ...options, trustProxy: 1 })
    expect((request as ServedRequest).ip).toBe('2001:db8::2')
    expect(env.incoming?.socket.remoteAddress).toBe('2001:db8::2')
  })

  it('is a waitUntil that works on other objects, too', async () => {
    const work = deferred()
    const stage = setStage((request) => {
      const copy = { waitUntil: request.waitUntil }
      copy.waitUntil?.(work.promise)
      return new Response('early')
    }, options)
    stage.receive(renderRequest())
    await turns(2)
    expect(stage.publisher.response(1).rest).toBe('early')
    let settled = false
    const waiting = stage.settled().then(() => {
      settled = true
    })
    await turns(2)
    expect(settled).toBe(false)
    work.resolve()
    await waiting
  })

  it('can be assigned, as frameworks do to requests that have nothing', async () => {
    const waitUntil = () => {}
    const { request } = await see({}, options)
    Object.assign(request, { ip: '203.0.113.1', waitUntil })
    expect(request).toMatchObject({ ip: '203.0.113.1', waitUntil })
    const another = (await see({}, options)).request as ServedRequest
    expect([another.ip, another.waitUntil === waitUntil]).toEqual(['192.0.2.7', false])
  })
})

describe('a request that is refused', () => {
  it.each<[what: string, parts: RequestParts, status: string, text: RegExp]>([
    ['no Host', { headers: { host: undefined } }, '400 Bad Request', /Host is missing/],
    ['two Hosts', { headers: { host: ['a', 'b'] } }, '400 Bad Request', /Host came twice/],
    ['a Host that is none', { headers: { host: 'a b' } }, '400 Bad Request', /Host is no host and port/],
    ['a Host with an impossible port', { headers: { host: 'a:99999' } }, '400 Bad Request', /./],
    ['a Host with an escaped slash', { headers: { host: 'a%2fb' } }, '400 Bad Request', /./],
    ['a target that is no path', { headers: { URI: '*' } }, '400 Bad Request', /target is no path/],
    ['no target', { headers: { URI: undefined } }, '400 Bad Request', /target is no path/],
    ['an empty method', { method: '' }, '400 Bad Request', /method is none/],
    ['a method that is none', { method: 'GET /' }, '400 Bad Request', /method is none/],
    ['two lengths', { headers: { 'content-length': ['1', '2'] } }, '400 Bad Request', /Content-Length differs/],
    [
      'a length and chunks',
      { headers: { 'content-length': '1', 'transfer-encoding': 'chunked' } },
      '400 Bad Request',
      /came together/,
    ],
    ['a coding of another kind', { headers: { 'transfer-encoding': 'gzip' } }, '400 Bad Request', /not chunked/],
    ['a negative length', { headers: { 'content-length': '-5' } }, '400 Bad Request', /not a number/],
    [
      'a body longer than its length',
      { body: 'abc', headers: { 'content-length': '2' } },
      '400 Bad Request',
      /disagree/,
    ],
    [
      'a body shorter than its length',
      { body: 'abc', headers: { 'content-length': '4' } },
      '400 Bad Request',
      /disagree/,
    ],
    ['a length without a body', { headers: { 'content-length': '5' } }, '400 Bad Request', /disagree/],
    [
      'a body without a length',
      { body: 'abc', headers: { 'content-length': undefined } },
      '400 Bad Request',
      /disagree/,
    ],
    ['chunks without a body', { headers: { 'transfer-encoding': 'chunked' } }, '400 Bad Request', /disagree/],
    ['a body that is too large', { body: '123456' }, '413 Payload Too Large', /Bodies may have 5 bytes/],
  ])('for %s gets its status, and its connection is closed', async (_what, parts, status, text) => {
    const stage = setStage(
      () => {
        throw new Error('not reached')
      },
      { maxBodySize: 5 },
    )
    stage.receive(renderRequest({ method: 'POST', ...parts }))
    await stage.settled()
    const response = stage.publisher.response(1)
    expect(response.statusLine).toBe(`HTTP/1.1 ${status}`)
    expect(response.fields).toContainEqual(['connection', 'close'])
    expect(response.fields).toContainEqual(['content-type', 'text/plain; charset=utf-8'])
    expect(response.rest).toMatch(text)
    expect(stage.publisher.closed(1)).toBe(true)
    expect(stage.application.counters).toMatchObject({ requests: 0, rejected: 1 })
    expect(stage.log.errors).toEqual([])
  })
})
