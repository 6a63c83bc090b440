import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type BodySource, lightRequestsPass, type RequestSource, unwrapRequest } from '../../../src/platform/request.ts'
import { platform } from '../../../src/platform/stand-in.ts'

import { createLightRequest, requestSource } from '../support/request-source.ts'

const URL_TEXT = 'http://localhost:8080/path?query'
const bytes = (text: string) => new TextEncoder().encode(text)

function sourceOf(parts: Partial<RequestSource> = {}): RequestSource {
  const addHeaders = (headers: Headers) => {
    headers.append('host', 'localhost:8080')
    headers.append('content-type', 'text/plain')
    headers.append('x-a', '1')
  }
  return requestSource({ url: URL_TEXT, addHeaders, body: bytes('"text"'), ...parts })
}

/** The platform's own Request of the same parts. */
function realOf({ method, url, addHeaders, body, signal }: RequestSource): Request {
  const headers = new Headers()
  addHeaders(headers)
  return new platform.Request(url, {
    method,
    headers,
    signal,
    ...(body === null ? {} : { body: 'stream' in body ? body.stream() : body, duplex: 'half' }),
  })
}

/** A body that is fetched, and how often that was done. */
function fetchedBody(text: string) {
  const counts = { bytes: 0, streams: 0 }
  const body: BodySource = {
    async bytes() {
      counts.bytes++
      return bytes(text)
    },
    stream() {
      counts.streams++
      return new Blob([text]).stream()
    },
  }
  return { counts, body }
}

/** What anybody can see of a request, its body last, since that can be read once. */
async function seen(request: Request): Promise<unknown> {
  const { method, url, cache, credentials, destination, integrity, keepalive, mode, redirect, referrer } = request
  const { referrerPolicy, duplex, bodyUsed } = request
  const fixed = { method, url, cache, credentials, destination, integrity, keepalive, mode, redirect, referrer }
  const headers = [...request.headers]
  const aborted = request.signal.aborted
  const hasBody = request.body !== null
  const text = await request.text()
  return { ...fixed, referrerPolicy, duplex, bodyUsed, headers, aborted, hasBody, text, used: request.bodyUsed }
}

const SOURCES: [what: string, parts: () => Partial<RequestSource>][] = [
  ['bytes', () => ({})],
  ['a stream', () => ({ body: new Blob(['streamed']).stream() })],
  ['a body that is fetched', () => ({ body: fetchedBody('"fetched"').body })],
  ['no body', () => ({ body: null })],
  ['no body and GET', () => ({ body: null, method: 'GET' })],
  ['empty bytes', () => ({ body: new Uint8Array() })],
  ['bytes that are no UTF-8', () => ({ body: Uint8Array.of(0xff, 0xfe, 0x61) })],
  ['a byte order mark', () => ({ body: bytes('\ufefftext') })],
  ['a method of its own', () => ({ method: 'PROPFIND' })],
  ['a signal that was aborted', () => ({ signal: AbortSignal.abort() })],
]

const USES: [what: string, use: (request: Request) => Request][] = [
  ['as it is', (request) => request],
  ['cloned', (request) => request.clone()],
  [
    'that was cloned',
    (request) => {
      request.clone()
      return request
    },
  ],
  [
    'whose headers were changed before it is cloned',
    (request) => {
      request.headers.set('x-b', '2')
      request.headers.delete('x-a')
      return request.clone()
    },
  ],
  [
    'whose headers are changed between two clones',
    (request) => {
      request.headers.append('x-a', '2')
      request.clone()
      request.headers.append('x-a', '3')
      return request.clone()
    },
  ],
]

describe.each(SOURCES)('a light Request with %s', (_what, parts) => {
  it.each(USES)('%s, is what the platform makes of it', async (_use, use) => {
    const real = use(realOf(sourceOf(parts())))
    const light = use(createLightRequest(sourceOf(parts())))
    expect(await seen(light)).toEqual(await seen(real))
  })

  it('shows itself and its kind as the platform does', () => {
    const light = createLightRequest(sourceOf(parts()))
    expect(light).toBeInstanceOf(platform.Request)
    expect(light.constructor).toBe(platform.Request)
    expect(Object.prototype.toString.call(light)).toBe('[object Request]')
    expect(inspect(light)).toContain('Request {')
  })
})

describe('a light Request', () => {
  it.each(['text', 'json', 'arrayBuffer', 'blob', 'formData'] as const)('is read once by %s', async (method) => {
    const form = 'application/x-www-form-urlencoded'
    const addHeaders = (headers: Headers) => headers.append('content-type', form)
    const request = createLightRequest(sourceOf({ addHeaders, body: bytes(method === 'formData' ? 'a=b' : '"text"') }))
    await request[method]()
    expect(request.bodyUsed).toBe(true)
    for (const again of ['text', 'json', 'arrayBuffer'] as const) {
      await expect(request[again]()).rejects.toThrow(TypeError)
    }
    expect(() => request.clone()).toThrow(TypeError)
    expect(request.body?.locked === true || request.bodyUsed).toBe(true)
  })

  it('gives bytes that are its reader’s to change', async () => {
    const body = bytes('text')
    const buffer = await createLightRequest(sourceOf({ body })).arrayBuffer()
    new Uint8Array(buffer).fill(0)
    expect(Buffer.from(body).toString()).toBe('text')
  })

  it.each(['text', 'json', 'arrayBuffer'] as const)(
    'reads a body that is fetched by %s without a stream',
    async (method) => {
      const { body, counts } = fetchedBody('"text"')
      const request = createLightRequest(sourceOf({ body }))
      const read = await request[method]()
      expect(read instanceof ArrayBuffer ? Buffer.from(read).toString() : read).toBe(
        method === 'json' ? 'text' : '"text"',
      )
      expect(request.bodyUsed).toBe(true)
      await expect(request.text()).rejects.toThrow(TypeError)
      expect(counts).toEqual({ bytes: 1, streams: 0 })
    },
  )

  it('rejects JSON that is none with a SyntaxError', async () => {
    await expect(createLightRequest(sourceOf({ body: bytes('{') })).json()).rejects.toThrow(SyntaxError)
  })

  it('has one Headers, one body, one signal', () => {
    const request = createLightRequest(sourceOf())
    const { headers, signal } = request
    expect(request.body).toBe(request.body)
    expect([request.headers, request.signal]).toEqual([headers, signal])
    expect(request.headers).toBe(headers)
  })

  it('does not make headers or a signal that nobody looks at', async () => {
    const asked: string[] = []
    const request = createLightRequest({
      ...sourceOf(),
      addHeaders: () => asked.push('headers'),
      get signal() {
        asked.push('signal')
        return AbortSignal.abort()
      },
      get ip() {
        asked.push('ip')
        return undefined
      },
    })
    expect([request.method, request.url, await request.text()]).toEqual(['POST', URL_TEXT, '"text"'])
    expect(asked).toEqual([])
  })

  it('hands its signal on to what is made of it', () => {
    const controller = new AbortController()
    const request = createLightRequest(sourceOf({ signal: controller.signal }))
    const copies = [request.clone(), new platform.Request(unwrapRequest(request))]
    controller.abort()
    expect(copies.map(({ signal }) => signal.aborted)).toEqual([true, true])
  })

  it.each(['TRACE', 'CONNECT'])('says %s, which the platform refuses; a clone says what it can', (method) => {
    const light = createLightRequest(sourceOf({ method, body: null }))
    expect([light.method, light.clone().method]).toEqual([method, 'GET'])
    const withBody = createLightRequest(sourceOf({ method }))
    expect([withBody.method, withBody.clone().method]).toEqual([method, 'POST'])
  })

  it.runIf(lightRequestsPass())('passes for one of the platform where that looks at symbols', async () => {
    const copy = new platform.Request(createLightRequest(sourceOf()))
    expect([copy.method, copy.url, copy.headers.get('x-a'), await copy.text()]).toEqual([
      'POST',
      URL_TEXT,
      '1',
      '"text"',
    ])
  })

  it('is what unwrapRequest makes real; everything else stays', () => {
    const real = new platform.Request(URL_TEXT)
    expect(unwrapRequest(real)).toBe(real)
    expect(unwrapRequest(URL_TEXT)).toBe(URL_TEXT)
    const light = createLightRequest(sourceOf())
    expect(unwrapRequest(light)).not.toBe(light)
    expect(unwrapRequest(light)).toBe(unwrapRequest(light))
  })
})
