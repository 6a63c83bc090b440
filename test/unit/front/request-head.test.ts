import { describe, expect, it } from 'vitest'
import {
  bodyLength,
  headEnd,
  parseRequestHead,
  type RequestHead,
  webSocketKey,
} from '../../../src/front/request-head.ts'

function parse(text: string): RequestHead | undefined {
  const bytes = Buffer.from(text, 'latin1')
  return parseRequestHead(bytes.subarray(0, headEnd(bytes, 16_384)))
}

function headOf(...lines: string[]): RequestHead {
  const head = parse(`GET / HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`)
  if (head === undefined) throw new Error('no head')
  return head
}

describe('headEnd', () => {
  it.each([
    ['GET / HTTP/1.1\r\n\r\nrest', 18],
    ['GET / HTTP/1.1\n\nrest', 16],
    ['GET / HTTP/1.1\r\nA: b\r\n', -1],
    ['', -1],
    [`GET / HTTP/1.1\r\nA: ${'b'.repeat(200)}\r\n\r\n`, -1],
  ])('finds the empty line of %j within 100 bytes', (text, end) => {
    expect(headEnd(Buffer.from(text), 100)).toBe(end)
  })
})

describe('parseRequestHead', () => {
  it.each([
    ['/', { path: '/', uri: '/' }],
    ['/a%20b?c=?/d#e', { path: '/a%20b', query: 'c=?/d', fragment: 'e', uri: '/a%20b?c=?/d' }],
    ['/?', { path: '/', query: '', uri: '/?' }],
    ['http://x:1/y?z', { path: '//x:1/y', query: 'z', uri: '//x:1/y?z' }],
    ['//x/y', { path: '//x/y', uri: '//x/y' }],
    ['*', { path: '*', uri: '*' }],
    ['host:80', { path: '80', uri: '80' }],
  ])('splits the target %s', (target, parts) => {
    expect(parse(`GET ${target} HTTP/1.1\r\n\r\n`)).toMatchObject({ method: 'GET', version: 'HTTP/1.1', ...parts })
  })

  it('keeps five values of a name, in small letters, blanks behind them too', () => {
    const lines = [1, 2, 3, 4, 5, 6].map((n) => `X-A:\t ${n} `)
    expect(headOf(...lines, 'Empty:', 'B: \x01\xff"').fields).toEqual(
      new Map([
        ['x-a', ['1 ', '2 ', '3 ', '4 ', '5 ']],
        ['empty', ['']],
        ['b', ['\x01\xff"']],
      ]),
    )
  })

  it.each([
    '\r\nGET / HTTP/1.1\r\n\r\n',
    'get / HTTP/1.1\r\n\r\n',
    'M-SEARCH / HTTP/1.1\r\n\r\n',
    `${'A'.repeat(21)} / HTTP/1.1\r\n\r\n`,
    'GET /a b HTTP/1.1\r\n\r\n',
    'GET /%zz HTTP/1.1\r\n\r\n',
    'GET /[0] HTTP/1.1\r\n\r\n',
    'GET /\xe9 HTTP/1.1\r\n\r\n',
    'GET / HTTP/2.0\r\n\r\n',
    'GET / HTTP/1.1 \r\n\r\n',
    'GET / HTTP/1.1\r\nA : b\r\n\r\n',
    'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n',
    'GET / HTTP/1.1\r\nA\r\n\r\n',
    'GET / HTTP/1.1\r\nA: \0\r\n\r\n',
    'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n',
  ])('refuses %j', (text) => {
    expect(parse(text)).toBeUndefined()
  })
})

describe('bodyLength', () => {
  it.each<[lines: string[], length: number | 'chunked']>([
    [[], 0],
    [['Content-Length: 5'], 5],
    [['Content-Length: 5', 'Content-Length: 6'], 5],
    [['Content-Length: +7x'], 7],
    [['Content-Length: \x0b7'], 7],
    [['Content-Length: -5'], 0],
    [['Content-Length: abc'], 0],
    [['Content-Length: 2147483648'], 0],
    [['Transfer-Encoding: chunked'], 'chunked'],
    [['Transfer-Encoding: chunked', 'Content-Length: 5'], 5],
    [['Transfer-Encoding: Chunked'], 0],
    [['Transfer-Encoding: gzip, chunked'], 0],
  ])('of %j is %s', (lines, length) => {
    expect(bodyLength(headOf(...lines), 2_147_483_647)).toBe(length)
  })
})

describe('webSocketKey', () => {
  const HANDSHAKE = [
    'Host: x',
    'Connection: keep-alive, upgrade',
    'Upgrade: WebSocket',
    'Sec-WebSocket-Version: 8',
    'Sec-WebSocket-Key: k',
  ]

  it('is what a handshake carries', () => {
    expect(webSocketKey(headOf(...HANDSHAKE))).toBe('k')
  })

  it.each(HANDSHAKE)('is none without %s', (line) => {
    expect(webSocketKey(headOf(...HANDSHAKE.filter((other) => other !== line)))).toBeUndefined()
  })

  it('is none for an upgrade to something else', () => {
    expect(webSocketKey(headOf(...HANDSHAKE.with(2, 'Upgrade: h2c')))).toBeUndefined()
  })
})
