import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { ResponseParser } from '../../../src/wire/response-parser.ts'

/** What a response holds that comes in these pieces. */
function parse(pieces: readonly Buffer[], toHead = false) {
  const parser = new ResponseParser(toHead)
  let head: { status: number; reason: string; fields: readonly string[] } | undefined
  const body: Buffer[] = []
  let complete = false
  for (const piece of pieces) {
    const part = parser.push(piece)
    head ??= part.head
    body.push(...part.body)
    complete = part.complete
  }
  const { status, reason, fields } = head ?? {}
  const end = complete ? 'complete' : parser.endsWithConnection ? 'with the connection' : 'missing'
  return { status, reason, fields, body: Buffer.concat(body).toString('latin1'), end }
}

const bytes = (text: string) => Buffer.from(text, 'latin1')

const RESPONSES: [name: string, text: string, body: string, end: string][] = [
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello', 'complete'],
  ['a length of 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', '', 'complete'],
  ['a length, and more behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello', 'he', 'complete'],
  ['a length that is not reached', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello', 'hello', 'missing'],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n',
    'hello',
    'complete',
  ],
  [
    'chunks and trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ: \r\n\r\n',
    '0123456789',
    'complete',
  ],
  ['chunks without an end', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n', 'hel', 'missing'],
  ['neither', 'HTTP/1.1 200 OK\r\n\r\nhello', 'hello', 'with the connection'],
  ['a 204', 'HTTP/1.1 204 No Content\r\n\r\nhello', '', 'complete'],
  ['a 304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', '', 'complete'],
  ['a 100 before it', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', 'complete'],
  [
    'a 101',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi',
    '\x81\x02hi',
    'with the connection',
  ],
]

describe('ResponseParser', () => {
  it.each(RESPONSES)('finds the body of a response with %s, however it is cut', (_, text, body, end) => {
    const whole = parse([bytes(text)])
    expect([whole.body, whole.end]).toEqual([body, end])
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 20 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length]
        expect(parse(at.slice(1).map((end, index) => bytes(text.slice(at[index], end))))).toEqual(whole)
      }),
    )
  })

  it('keeps the fields as they are', () => {
    const { status, reason, fields } = parse([
      bytes('HTTP/1.1 418 I am \xe9\r\nA: 1\r\nset-cookie:a\r\nSet-Cookie:  b \r\nE:\r\n\r\n'),
    ])
    expect([status, reason, fields]).toEqual([
      418,
      'I am \xe9',
      ['A', '1', 'set-cookie', 'a', 'Set-Cookie', 'b', 'E', ''],
    ])
  })

  it('leaves out a length that chunks override', () => {
    const text =
      'HTTP/1.1 200 OK\r\nA: 1\r\ncontent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
    const { fields, body, end } = parse([bytes(text)])
    expect([fields, body, end]).toEqual([['A', '1', 'Transfer-Encoding', 'chunked'], 'hello', 'complete'])
  })

  it('finds no body in a response to HEAD', () => {
    expect(parse([bytes('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')], true)).toMatchObject({
      body: '',
      end: 'complete',
    })
  })

  it.each([
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'nothing\r\n\r\n',
    'HTTP/1.1 200 OK\r\nno field\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n',
    ...['zz', '-1', '0x5', '+5', '', ' 5', '123456789'].map(
      (size) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\n`,
    ),
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
    `HTTP/1.1 200 OK\r\n${'x'.repeat(1024 * 1024)}`,
  ])('refuses %.60j', (text) => {
    expect(() => parse([bytes(text)])).toThrow(MalformedError)
  })

  it('throws nothing else, whatever comes', () => {
    fc.assert(
      fc.property(fc.nat(RESPONSES.length - 1), fc.nat(), fc.uint8Array({ maxLength: 8 }), (number, at, change) => {
        const [, text = ''] = RESPONSES[number] ?? []
        const mutated = bytes(text)
        mutated.set(change.subarray(0, mutated.length - (at % mutated.length)), at % mutated.length)
        try {
          parse([mutated])
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
