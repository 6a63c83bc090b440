import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import { checkResponse } from '../../../src/exchange/response/check-response.ts'
import {
  bodyStreamOf,
  createSharedResponse,
  lightResponse,
  plainResponseOf,
} from '../../../src/platform/light-response.ts'
import { platform } from '../../../src/platform/stand-in.ts'

// Its members come from the platform's, which the type system cannot see.
const Light = lightResponse() as unknown as typeof Response

/** What anybody can see of a response, its body last, since that can be read once. */
async function seen(response: Response): Promise<unknown> {
  const { status, statusText, ok, type, url, redirected, bodyUsed } = response
  const headers = [...response.headers]
  const hasBody = response.body !== null
  const text = await response.text()
  return { status, statusText, ok, type, url, redirected, bodyUsed, headers, hasBody, text, used: response.bodyUsed }
}

const stream = () => new Blob(['streamed']).stream()
const withGetters = {
  get status() {
    return 201
  },
  get headers() {
    return { 'x-got': 'yes' }
  },
}

/** Each is made of both classes, and both must show the same. */
const MADE: [what: string, make: (Class: typeof Response) => Response | Promise<Response>][] = [
  ['nothing', (Class) => new Class()],
  ['null', (Class) => new Class(null)],
  ['undefined and an empty init', (Class) => new Class(undefined, {})],
  ['a string', (Class) => new Class('text')],
  ['an empty string', (Class) => new Class('')],
  ['a string beyond ASCII', (Class) => new Class('Grüße, 你好 \u{1f600}')],
  ['a string with a lone surrogate', (Class) => new Class('a\ud800b')],
  ['a string with a byte order mark', (Class) => new Class('\ufefftext')],
  ['a string of the class', (Class) => new Class(new String('object') as unknown as string)],
  ['a number', (Class) => new Class(5 as unknown as string)],
  ['bytes', (Class) => new Class(new Uint8Array([104, 105]))],
  ['a Buffer', (Class) => new Class(Buffer.from('buffer'))],
  ['an ArrayBuffer', (Class) => new Class(new Uint8Array([104, 105]).buffer)],
  ['a view', (Class) => new Class(new DataView(new Uint8Array([104, 105]).buffer))],
  ['a Blob', (Class) => new Class(new Blob(['blob'], { type: 'text/x' }))],
  ['search parameters', (Class) => new Class(new URLSearchParams({ a: 'b c' }))],
  ['a stream', (Class) => new Class(stream())],
  ['a status', (Class) => new Class('made', { status: 201 })],
  ['a status as a string', (Class) => new Class('made', { status: '201' as unknown as number })],
  ['a status text', (Class) => new Class('made', { status: 201, statusText: 'Made it' })],
  ['a status text of Latin-1', (Class) => new Class('made', { statusText: 'Caf\xe9' })],
  ['204 without a body', (Class) => new Class(null, { status: 204 })],
  ['a record of headers', (Class) => new Class('x', { headers: { 'X-One': '1', 'x-two': '2' } })],
  ['a record with a type', (Class) => new Class('x', { headers: { 'Content-Type': 'text/html' } })],
  ['a record with a number', (Class) => new Class('x', { headers: { 'content-length': 1 as unknown as string } })],
  ['a record with a value to be trimmed', (Class) => new Class('x', { headers: { 'x-one': ' 1\t' } })],
  ['a record with Latin-1', (Class) => new Class('x', { headers: { 'x-one': 'caf\xe9' } })],
  ['a record with an empty value', (Class) => new Class('x', { headers: { 'x-one': '' } })],
  ['a record with a name in two cases', (Class) => new Class('x', { headers: { 'X-One': '1', 'x-one': '2' } })],
  ['a record with a prototype', (Class) => new Class('x', { headers: Object.create({ 'x-inherited': '1' }) })],
  ['pairs', (Class) => new Class('x', { headers: [['X-One', '1']] })],
  [
    'pairs of a name twice',
    (Class) =>
      new Class('x', {
        headers: [
          ['a', '1'],
          ['A', '2'],
        ],
      }),
  ],
  [
    'several cookies',
    (Class) =>
      new Class('x', {
        headers: [
          ['set-cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
        ],
      }),
  ],
  ['Headers', (Class) => new Class('x', { headers: new Headers({ b: '2', a: '1' }) })],
  ['a Map', (Class) => new Class('x', { headers: new Map([['a', '1']]) as unknown as Record<string, string> })],
  ['an init with getters', (Class) => new Class('x', withGetters)],
  ['another response as init', (Class) => new Class('x', new Class('y', { status: 404, headers: { a: '1' } }))],
  [
    'another body and init',
    (Class) => {
      const other = new Class('y', { status: 404 })
      return new Class(other.body, other)
    },
  ],
  ['a stream of another', (Class) => new Class(new Class('other').body, { status: 202 })],
  ['json', (Class) => Class.json({ a: [1, null, 'ü'] })],
  ['json with a status', (Class) => Class.json([], { status: 201 })],
  ['json with a type', (Class) => Class.json({}, { headers: { 'Content-Type': 'application/problem+json' } })],
  ['json with headers', (Class) => Class.json({}, { headers: { 'x-a': '1' } })],
  ['redirect', (Class) => Class.redirect('http://localhost/there', 302)],
  ['redirect with a status', (Class) => Class.redirect('http://localhost/there', 308)],
  ['error', (Class) => Class.error()],
  ['a clone', (Class) => new Class('cloned', { status: 201, headers: { a: '1' } }).clone()],
  [
    'what was cloned',
    (Class) => {
      const response = new Class('cloned')
      response.clone()
      return response
    },
  ],
  [
    'headers set before it is cloned',
    (Class) => {
      const response = new Class('x')
      response.headers.set('a', '1')
      return response.clone()
    },
  ],
  [
    'headers set before and after it is cloned, and cloned again',
    (Class) => {
      const response = new Class('x')
      response.headers.set('a', '1')
      response.clone()
      response.headers.set('b', '2')
      response.headers.delete('content-type')
      return response.clone()
    },
  ],
  [
    'headers set, a clone, and the first',
    (Class) => {
      const response = new Class('x')
      response.headers.set('a', '1')
      response.clone()
      response.headers.append('a', '2')
      return response
    },
  ],
  [
    'headers that were changed after they were given',
    (Class) => {
      const headers = new Headers({ a: '1' })
      const response = new Class('x', { headers })
      headers.set('a', '2')
      return response
    },
  ],
  [
    'a record that was changed after it was given',
    (Class) => {
      const headers: Record<string, string> = { a: '1' }
      const response = new Class('x', { headers })
      headers.a = '2'
      return response
    },
  ],
  [
    'bytes that were changed after they were given',
    (Class) => {
      const bytes = Buffer.from('before')
      const response = new Class(bytes)
      bytes.write('after!')
      return response
    },
  ],
  [
    'a subclass',
    (Class) => {
      class Own extends Class {}
      return new Own('own', { status: 203 })
    },
  ],
]

describe.each(MADE)('a light Response of %s', (_what, make) => {
  it('is what the platform makes of it', async () => {
    const [real, light] = [await make(platform.Response), await make(Light)]
    expect(await seen(light)).toEqual(await seen(real))
  })

  it('shows itself and its kind as the platform does', async () => {
    const [real, light] = [await make(platform.Response), await make(Light)]
    expect(light).toBeInstanceOf(platform.Response)
    expect(Object.prototype.toString.call(light)).toBe(Object.prototype.toString.call(real))
    expect(inspect(light).split('\n')[0]).toBe(inspect(real).split('\n')[0])
  })
})

const REFUSED: [what: string, make: (Class: typeof Response) => unknown][] = [
  ['a status of 199', (Class) => new Class('', { status: 199 })],
  ['a status of 600', (Class) => new Class('', { status: 600 })],
  ['a status that is no number', (Class) => new Class('', { status: Number.NaN })],
  ['a status of null', (Class) => new Class('', { status: null as unknown as number })],
  ['a body with 204', (Class) => new Class('body', { status: 204 })],
  ['a body with 304', (Class) => new Class('', { status: 304 })],
  ['a status text with a line break', (Class) => new Class('', { statusText: 'a\r\nb' })],
  ['a header name with a blank', (Class) => new Class('', { headers: { 'a b': '1' } })],
  ['an empty header name', (Class) => new Class('', { headers: { '': '1' } })],
  ['a header value with a line break', (Class) => new Class('', { headers: { a: '1\r\nb: 2' } })],
  ['a header value beyond Latin-1', (Class) => new Class('', { headers: { a: '你' } })],
  ['a pair of three', (Class) => new Class('', { headers: [['a', '1', '2']] as unknown as [string, string][] })],
  ['headers as a string', (Class) => new Class('', { headers: 'a: b' as unknown as Record<string, string> })],
  ['headers of null', (Class) => new Class('', { headers: null as unknown as Record<string, string> })],
  ['an init that is none', (Class) => new Class('', 5 as unknown as ResponseInit)],
  ['a symbol as body', (Class) => new Class(Symbol('body') as unknown as string)],
  [
    'a stream that was read',
    (Class) => {
      const body = stream()
      body.getReader()
      return new Class(body)
    },
  ],
  ['a redirect with 200', (Class) => Class.redirect('http://localhost/', 200 as 301)],
  ['a redirect to nowhere', (Class) => Class.redirect('http://', 302)],
  ['json of undefined', (Class) => Class.json(undefined)],
  [
    'json of a circle',
    (Class) => {
      const circle: unknown[] = []
      circle.push(circle)
      return Class.json(circle)
    },
  ],
  ['json with 204', (Class) => Class.json({}, { status: 204 })],
  [
    'a clone of what was read',
    (Class) => {
      const response = new Class('x')
      void response.text()
      return response.clone()
    },
  ],
]

it.each(REFUSED)('a light Response refuses %s as the platform does', (_what, make) => {
  const thrown = (Class: typeof Response) => {
    try {
      make(Class)
    } catch (error) {
      return (error as Error).constructor
    }
    return 'nothing'
  }
  expect(thrown(Light)).toBe(thrown(platform.Response))
})

describe('a light Response', () => {
  it.each(['text', 'json', 'arrayBuffer', 'blob'] as const)('is read once by %s', async (method) => {
    const response = new Light('"text"')
    await response[method]()
    expect(response.bodyUsed).toBe(true)
    await expect(response[method]()).rejects.toThrow(TypeError)
  })

  it('has one Headers and one body', () => {
    const response = new Light('text')
    expect(response.headers).toBe(response.headers)
    expect(response.body).toBe(response.body)
    expect(response.headers).toBe(response.headers)
  })

  it('is plain as long as nobody has touched its body', () => {
    const response = new Light('text', { status: 201, headers: { A: '1' } })
    expect(plainResponseOf(response)).toEqual({
      status: 201,
      statusText: '',
      fields: [
        ['a', '1'],
        ['content-type', 'text/plain;charset=UTF-8'],
      ],
      body: 'text',
    })
    response.headers.set('b', '2')
    expect(plainResponseOf(response)?.fields).toContainEqual(['b', '2'])
    void response.body
    expect(plainResponseOf(response)).toBeUndefined()
  })

  it('is none of the platform, nor one of a stream, for plainResponseOf', () => {
    expect(plainResponseOf(new platform.Response('x'))).toBeUndefined()
    expect(plainResponseOf(new Light(stream()))).toBeUndefined()
  })

  it('that shares its bytes with others leaves them to these', async () => {
    const make = createSharedResponse(new TextEncoder().encode('shared'), 'text/plain')
    expect([await make().text(), await make().text()]).toEqual(['shared', 'shared'])
  })

  it('gives its stream without a real Response', () => {
    const body = stream()
    const made = vi.spyOn(platform, 'Response', 'get')
    const response = new Light(body, { status: 201, headers: { a: '1' } })
    response.headers.set('b', '2')
    expect([response.status, response.bodyUsed, response.headers.get('b')]).toEqual([201, false, '2'])
    expect(bodyStreamOf(response)).toBe(body)
    expect(made).not.toHaveBeenCalled()
    expect(response.body).toBe(body)
    expect(made).toHaveBeenCalledOnce()
    made.mockRestore()
  })

  it.each(['platform', 'light'] as const)('of a stream counts as read once that is read, a %s one', async (kind) => {
    const body = stream()
    const response = new (kind === 'light' ? Light : platform.Response)(body, { status: 201 })
    for await (const _ of body) expect(response.bodyUsed).toBe(true)
    expect(() => response.clone()).toThrow(TypeError)
    await expect(response.text()).rejects.toThrow(TypeError)
    expect([response.status, response.bodyUsed]).toEqual([201, true])
  })

  it('of a stream is refused by checkResponse once that is locked', () => {
    const body = stream()
    const response = new Light(body)
    expect(checkResponse(response)).toBe(response)
    body.getReader()
    expect(() => checkResponse(response)).toThrow('expected a Response whose body was not read yet')
  })
})
