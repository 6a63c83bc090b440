import { describe, expect, it } from 'vitest'
import { messageFields, splitTarget } from '../../../src/gateway/message-fields.ts'
import type { GatewayRequest } from '../../../src/gateway/request.ts'

describe('splitTarget', () => {
  it.each([
    ['/', { path: '/', uri: '/' }],
    ['/a%20b?c=?/d#e', { path: '/a%20b', query: 'c=?/d', fragment: 'e', uri: '/a%20b?c=?/d' }],
    ['/?', { path: '/', query: '', uri: '/?' }],
    ['/?ids[]=1', { path: '/', query: 'ids[]=1', uri: '/?ids[]=1' }],
    ['http://x:1/y?z', { path: '//x:1/y', query: 'z', uri: '//x:1/y?z' }],
    ['//x/y', { path: '//x/y', uri: '//x/y' }],
    ['/a:b', { path: '/a:b', uri: '/a:b' }],
    ['*', { path: '*', uri: '*' }],
    ['?x', { path: '', query: 'x', uri: '?x' }],
    ['/caf\xc3\xa9 \t\x7f?\xff', { path: '/caf%C3%A9%20%09%7F', query: '%FF', uri: '/caf%C3%A9%20%09%7F?%FF' }],
  ])('splits %j', (target, parts) => {
    expect(splitTarget(target)).toEqual({ query: undefined, fragment: undefined, ...parts })
  })
})

/** Names and values in turn as an object; a repeated name has a list. */
function fieldMap(fields: readonly string[]): Record<string, string | string[]> {
  const map: Record<string, string | string[]> = {}
  for (let at = 0; at < fields.length; at += 2) {
    const [name = '', value = ''] = fields.slice(at)
    map[name] = map[name] === undefined ? value : [map[name], value].flat()
  }
  return map
}

describe('messageFields', () => {
  const request: GatewayRequest = {
    method: 'PUT',
    target: '/a?b',
    version: 'HTTP/1.1',
    fields: [
      'Host',
      'x',
      'Connection',
      'keep-alive',
      'METHOD',
      'JSON',
      'X-A',
      '1',
      'x-a',
      '2',
      'X-A',
      '3',
      'X-Forwarded-For',
      '1.2.3.4',
    ],
    remoteAddress: '192.0.2.1',
    scheme: 'https',
    body: undefined,
    webSocket: undefined,
  }
  const fieldsOf = (changes: Partial<GatewayRequest> = {}, settings = { flowControl: false, noClobberXff: false }) =>
    fieldMap(messageFields({ ...request, ...changes }, splitTarget('/a?b'), '/', settings))

  it('are those of Mongrel2, and say that the request is the only one of its connection', () => {
    expect(fieldsOf()).toEqual({
      host: 'x',
      connection: 'keep-alive',
      method: 'JSON',
      'x-a': ['1', '2', '3'],
      'x-forwarded-for': '192.0.2.1',
      PATH: '/a',
      VERSION: 'HTTP/1.1',
      URI: '/a?b',
      QUERY: 'b',
      PATTERN: '/',
      URL_SCHEME: 'https',
      REMOTE_ADDR: '192.0.2.1',
      SINGLE_REQUEST: '1',
    })
  })

  it('tell the window of flow control, and leave X-Forwarded-For alone where they are told to', () => {
    expect(fieldsOf({}, { flowControl: true, noClobberXff: true })).toMatchObject({
      DOWNLOAD_CREDITS: '102400',
      'x-forwarded-for': '1.2.3.4',
    })
  })

  it('are none where one has no name', () => {
    expect(() => fieldsOf({ fields: ['', 'x'] })).toThrow('a field has no name')
  })

  it('of a handshake do not', () => {
    const webSocket = { key: 'k', frames: undefined as never }
    expect(fieldsOf({ webSocket })).toMatchObject({ connection: 'keep-alive' })
    expect(fieldsOf({ webSocket })).not.toHaveProperty('SINGLE_REQUEST')
  })
})
