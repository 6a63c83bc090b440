import { describe, expect, it } from 'vitest'
import { isAuthority, type Origin, originOf, type TrustProxy } from '../../../src/exchange/request/target.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { type RequestParts, renderRequest } from '../support/message.ts'

function origin(headers: RequestParts['headers'], trustProxy: TrustProxy = false, http10 = false): Origin | string {
  return originOf(parseMessage(renderRequest({ headers: headers ?? {} })), http10, 'fallback.example', trustProxy)
}

describe('originOf', () => {
  it('takes the scheme and the address from Mongrel2 and the authority from Host', () => {
    expect(origin({ URL_SCHEME: 'https', host: 'example.org:8443 ', REMOTE_ADDR: '::1' })).toEqual({
      remoteAddress: '::1',
      scheme: 'https',
      authority: 'example.org:8443',
    })
  })

  it('takes the authority of the options for HTTP/1.0 without Host', () => {
    expect(origin({ host: undefined }, false, true)).toMatchObject({ authority: 'fallback.example' })
    expect(origin({ host: 'example.org' }, false, true)).toMatchObject({ authority: 'example.org' })
  })

  it.each<[host: string | string[] | undefined, fault: string]>([
    [undefined, 'Host is missing'],
    [['a.example', 'b.example'], 'Host came twice'],
    [['a.example', 'a.example'], 'Host came twice'],
    ['', 'Host is no host and port'],
    ['a b', 'Host is no host and port'],
    ['user@h', 'Host is no host and port'],
    ['ex/ample?x#', 'Host is no host and port'],
    ['h\\x', 'Host is no host and port'],
    ['h?x', 'Host is no host and port'],
    ['h:80:80', 'Host is no host and port'],
    ['h:port', 'Host is no host and port'],
    ['::1', 'Host is no host and port'],
    ['[::1', 'Host is no host and port'],
    ['h\x01', 'Host is no host and port'],
    ['%zz', 'Host is no host and port'],
    ['h\u00a0', 'Host is no host and port'],
    ['\u00a0h', 'Host is no host and port'],
    ['h\v', 'Host is no host and port'],
  ])('refuses Host %j', (host, fault) => {
    expect(origin({ host })).toBe(fault)
  })

  const FORWARDED = {
    host: 'inner.example',
    'x-forwarded-for': ['203.0.113.1, 203.0.113.2', '203.0.113.3'],
    'x-forwarded-proto': 'https, http, https',
    'x-forwarded-host': 'one.example, two.example:8080, Three.example',
  }

  it.each<[trustProxy: TrustProxy, remoteAddress: string, scheme: string, authority: string]>([
    [false, '192.0.2.7', 'http', 'inner.example'],
    [0, '192.0.2.7', 'http', 'inner.example'],
    [1, '203.0.113.3', 'https', 'three.example'],
    [2, '203.0.113.2', 'http', 'two.example:8080'],
    [3, '203.0.113.1', 'https', 'one.example'],
    [4, '203.0.113.1', 'https', 'one.example'],
    [true, '203.0.113.1', 'https', 'one.example'],
  ])(
    'with trustProxy %s believes as many proxies, read from the right',
    (trustProxy, remoteAddress, scheme, authority) => {
      expect(origin(FORWARDED, trustProxy)).toEqual({ remoteAddress, scheme, authority })
    },
  )

  it.each(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'])(
    'refuses five values of %s of a trusted proxy, since Mongrel2 drops a sixth',
    (name) => {
      const headers = { ...FORWARDED, [name]: ['1.2.3.4', '2', '3', '4', '5'] }
      expect(origin(headers, 1)).toBe(`${name} came too often`)
      expect(origin(headers)).toMatchObject({ remoteAddress: '192.0.2.7' })
      expect(origin({ ...FORWARDED, [name]: ['2', '3', '4', '203.0.113.9'] }, 1)).toBeTypeOf('object')
    },
  )

  it.each<[what: string, headers: RequestParts['headers']]>([
    ['are missing', {}],
    ['are empty', { 'x-forwarded-for': ' ,', 'x-forwarded-proto': '', 'x-forwarded-host': '' }],
    ['cannot be right', { 'x-forwarded-proto': 'javascript', 'x-forwarded-host': 'a b' }],
    ['have a port that none can have', { 'x-forwarded-host': 'example.org:99999' }],
    ['have user information', { 'x-forwarded-host': 'user@example.org' }],
  ])('keeps what it knows itself where the headers of a trusted proxy %s', (_what, headers) => {
    expect(origin({ host: 'inner.example', ...headers }, true)).toEqual({
      remoteAddress: '192.0.2.7',
      scheme: 'http',
      authority: 'inner.example',
    })
  })
})

describe('isAuthority', () => {
  it.each(['h', 'example.org', 'example.org:80', 'h:', '[::1]', '[::1]:65535', '127.0.0.1:1', 'a_b', '%41.example'])(
    'takes %s',
    (text) => {
      expect(isAuthority(text)).toBe(true)
    },
  )

  it.each(['', 'a b', 'a/b', 'a?b', 'a#b', 'a@b', 'a\\b', 'h:65536', '[::1', '[zz]', '1.2.3.999', 'a%2fb', ':80'])(
    'refuses %j',
    (text) => {
      expect(isAuthority(text)).toBe(false)
    },
  )
})
