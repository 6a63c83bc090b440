import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HeaderField, MessageHeaders } from '../../../src/wire/headers.ts'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { CUT_MESSAGE, parseMessage } from '../../../src/wire/message.ts'
import {
  netstring,
  PROTOCOLS,
  type MessageHeaders as RenderedHeaders,
  renderMessage,
  renderRequest,
} from '../support/message.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const parse = (text: string) => parseMessage(bytes(text))

function fieldsOf(headers: MessageHeaders): HeaderField[] {
  const fields: HeaderField[] = []
  headers.forEach((name, value) => {
    fields.push([name, value])
  })
  return fields
}

/** A message with this as its headers, netstring and all, and an empty body. */
const withHeaders = (headers: string) => parse(`s 1 / ${headers}0:,`)
const withJson = (json: string) => withHeaders(netstring(json).toString('latin1'))

interface Vector {
  what: string
  message: string
  sender?: string
  connectionId?: number
  path?: string
  own?: Record<string, string>
  fields?: HeaderField[]
  body?: string
}

// Written by hand, so that the parser is not held against a renderer of ours alone.
const VECTORS: Vector[] = [
  {
    what: 'a request with headers in JSON',
    message:
      '34f9ceee-cd52-4b7f-b197-88bf2f0ec378 17 /a 67:{"PATH":"/a","METHOD":"GET","host":"example.org","x-two":["1","2"]},0:,',
    sender: '34f9ceee-cd52-4b7f-b197-88bf2f0ec378',
    connectionId: 17,
    path: '/a',
    own: { PATH: '/a', METHOD: 'GET' },
    fields: [
      ['host', 'example.org'],
      ['x-two', '1'],
      ['x-two', '2'],
    ],
  },
  {
    what: 'a request with headers in a tnetstring',
    message: 's 17 /a 68:4:PATH,2:/a,6:METHOD,3:GET,4:host,11:example.org,5:x-two,8:1:1,1:2,]}3:b\0d,'.replace(
      '73:',
      '69:',
    ),
    connectionId: 17,
    path: '/a',
    own: { PATH: '/a', METHOD: 'GET' },
    fields: [
      ['host', 'example.org'],
      ['x-two', '1'],
      ['x-two', '2'],
    ],
    body: 'b\0d',
  },
  { what: 'a body that looks like a netstring', message: 's 1 / 2:{},7:3:abc,},', body: '3:abc,}' },
  { what: 'no headers in JSON', message: 's 1 / 2:{},0:,' },
  { what: 'no headers in a tnetstring', message: 's 1 / 0:}0:,' },
  { what: 'a duplicate name with one value', message: 's 1 / 11:{"a":["1"]},0:,', fields: [['a', '1']] },
  { what: 'a list of no values', message: 's 1 / 8:{"a":[]},0:,', fields: [] },
  { what: 'an empty name', message: 's 1 / 8:{"":"x"},0:,', fields: [['', 'x']] },
  { what: 'a name of an object prototype', message: 's 1 / 17:{"__proto__":"x"},0:,', fields: [['__proto__', 'x']] },
  {
    what: 'a name with a capital inside',
    message: 's 1 / 10:{"aB":"x"},0:,',
    fields: [['aB', 'x']],
  },
  {
    what: 'escaped quotes and backslashes',
    message: 's 1 / 13:{"a":"\\"\\\\n"},0:,',
    fields: [['a', '"\\n']],
  },
  { what: 'a raw tab in JSON', message: 's 1 / 11:{"a":"b\tc"},0:,', fields: [['a', 'b\tc']] },
  { what: 'a raw control character in JSON', message: 's 1 / 11:{"a":"b\x01c"},0:,', fields: [['a', 'b\x01c']] },
  { what: 'a NUL in JSON', message: 's 1 / 11:{"a":"b\0c"},0:,', fields: [['a', 'b\0c']] },
  { what: 'a tab behind a backslash', message: 's 1 / 12:{"a":"\\\\\tc"},0:,', fields: [['a', '\\\tc']] },
  { what: 'a raw DEL in JSON', message: 's 1 / 11:{"a":"b\x7fc"},0:,', fields: [['a', 'b\x7fc']] },
  { what: 'a Latin-1 byte in JSON', message: 's 1 / 11:{"a":"b\xffc"},0:,', fields: [['a', 'b\xffc']] },
  { what: 'a UTF-8 sequence, as its bytes', message: 's 1 / 11:{"a":"\xc3\xa9c"},0:,', fields: [['a', '\xc3\xa9c']] },
  { what: 'a broken UTF-8 sequence', message: 's 1 / 10:{"a":"\xc3("},0:,', fields: [['a', '\xc3(']] },
  { what: 'a raw tab in a tnetstring', message: 's 1 / 10:1:a,3:b\tc,}0:,', fields: [['a', 'b\tc']] },
  { what: 'any byte in a tnetstring', message: 's 1 / 11:1:a,4:\0\xff",,}0:,', fields: [['a', '\0\xff",']] },
  { what: 'the largest connection id', message: 's 2147483647 / 2:{},0:,', connectionId: 2_147_483_647 },
  { what: 'a sender of one letter and hyphens', message: '-a- 1 / 2:{},0:,', sender: '-a-' },
  {
    what: 'a disconnect notice',
    message: 's 4 @* 29:{"METHOD":"JSON","PATH":"@*"},21:{"type":"disconnect"},',
    connectionId: 4,
    path: '@*',
    own: { METHOD: 'JSON', PATH: '@*' },
    body: '{"type":"disconnect"}',
  },
  {
    what: 'a credits notice',
    message: 's 4 @* 42:6:METHOD,4:JSON,16:DOWNLOAD_CREDITS,3:512,}18:{"type":"credits"},',
    connectionId: 4,
    path: '@*',
    own: { METHOD: 'JSON', DOWNLOAD_CREDITS: '512' },
    body: '{"type":"credits"}',
  },
  {
    what: 'the start of an upload',
    message: 's 4 /up 71:{"x-mongrel2-upload-start":"tmp/mongrel2.upload.a1B2c3","METHOD":"PUT"},0:,'.replace(
      '68:',
      '71:',
    ),
    connectionId: 4,
    path: '/up',
    own: { METHOD: 'PUT' },
    fields: [['x-mongrel2-upload-start', 'tmp/mongrel2.upload.a1B2c3']],
  },
]

const MALFORMED: [what: string, message: string, why: RegExp][] = [
  ['nothing', '', /expected SENDER/],
  ['a blank', ' ', /expected SENDER/],
  ['a word', 'hello', /expected SENDER/],
  ['an HTTP request', 'GET / HTTP/1.1\r\n\r\n', /expected/],
  ['no sender', ' 1 / 2:{},0:,', /expected SENDER and a space at byte 0/],
  ['a sender with an underscore', 'a_b 1 / 2:{},0:,', /send_ident "a_b" has characters/],
  ['a sender with a dot', 'a.b 1 / 2:{},0:,', /send_ident "a.b" has characters/],
  ['a sender with a line break', 'a\nb 1 / 2:{},0:,', /send_ident "a\\nb" has characters/],
  ['a sender with a Latin-1 byte', '\xe9 1 / 2:{},0:,', /has characters/],
  ['no id', 's  / 2:{},0:,', /expected CONN_ID and a space at byte 2/],
  ['letters as id', 's x / 2:{},0:,', /expected a connection's number, got "x"/],
  ['a negative id', 's -1 / 2:{},0:,', /expected a connection's number/],
  ['a fraction as id', 's 1.0 / 2:{},0:,', /expected a connection's number/],
  ['an id of eleven digits', 's 12345678901 / 2:{},0:,', /expected a connection's number/],
  ['several ids', 's 1,2 / 2:{},0:,', /expected a connection's number/],
  ['no path', 's 1  2:{},0:,', /expected PATH/],
  ['a path and nothing else', 's 1 /', /expected PATH/],
  ['no headers', 's 1 / ', /expected a netstring's length/],
  ['no body', 's 1 / 2:{},', /expected a netstring's length/],
  ['headers cut short', 's 1 / 9:{},0:,', /does not fit/],
  ['headers with a length too short', 's 1 / 1:{},0:,', /type "\}"|expected/],
  ['a length with a leading zero', 's 1 / 02:{},0:,', /leading zero/],
  ['a negative length', 's 1 / -2:{},0:,', /expected a netstring's length/],
  ['a huge length', 's 1 / 99999999999:{},0:,', /more than 9 digits/],
  ['a length of 999999999', 's 1 / 999999999:{},0:,', /does not fit/],
  ['a body with a length too long', 's 1 / 2:{},5:abc,', /does not fit/],
  ['a body with a length too short', 's 1 / 2:{},2:abc,', /body is no netstring/],
  ['a body as a dictionary', 's 1 / 2:{},0:}', /body is no netstring/],
  ['a body as a number', 's 1 / 2:{},1:5#', /body is no netstring/],
  ['bytes behind the body', 's 1 / 2:{},0:,x', /1 bytes follow the body/],
  ['a second message behind it', 's 1 / 2:{},0:,s 1 / 2:{},0:,', /14 bytes follow the body/],
  ['headers as a list', 's 1 / 0:]0:,', /expected headers as a dictionary or as JSON, got type "\]"/],
  ['headers as a number', 's 1 / 1:5#0:,', /got type "#"/],
  ['headers as null', 's 1 / 0:~0:,', /got type "~"/],
]

const BAD_JSON: [what: string, json: string][] = [
  ['nothing', ''],
  ['a word', 'hello'],
  ['an open object', '{"a":"b"'],
  ['a comma too many', '{"a":"b",}'],
  ['single quotes', "{'a':'b'}"],
  ['an array', '[{"a":"b"}]'],
  ['a string', '"a"'],
  ['a number', '5'],
  ['null', 'null'],
  ['true', 'true'],
  ['two objects', '{}{}'],
  ['a bad escape', '{"a":"\\x"}'],
  ['100,000 open brackets', '['.repeat(100_000)],
]

const BAD_VALUES: [what: string, headers: string][] = [
  ['a number in JSON', netstring('{"a":5}').toString()],
  ['null in JSON', netstring('{"a":null}').toString()],
  ['a boolean in JSON', netstring('{"a":true}').toString()],
  ['an object in JSON', netstring('{"a":{"b":"c"}}').toString()],
  ['a number in a list', netstring('{"a":["b",5]}').toString()],
  ['a list in a list', netstring('{"a":[["b"]]}').toString()],
  ['a list for a name of its own', netstring('{"METHOD":["GET","PUT"]}').toString()],
  ['a number in a tnetstring', '8:1:a,1:5#}'],
  ['a dictionary in a tnetstring', '7:1:a,0:}}'],
  ['a null in a list of a tnetstring', '10:1:a,3:0:~]}'],
]

describe('parseMessage', () => {
  it.each(VECTORS)('parses $what', (vector) => {
    const { headers, ...message } = parse(vector.message)
    const read = { own: headers.ownEntries(), fields: fieldsOf(headers) }
    expect({ ...message, ...read, body: message.body.toString('latin1') }).toEqual({
      sender: vector.sender ?? 's',
      connectionId: vector.connectionId ?? 1,
      path: vector.path ?? '/',
      own: vector.own ?? {},
      fields: vector.fields ?? [],
      body: vector.body ?? '',
      cut: false,
    })
  })

  it.each(MALFORMED)('refuses %s', (_what, text, why) => {
    expect(() => parse(text)).toThrow(MalformedError)
    expect(() => parse(text)).toThrow(why)
  })

  it.each(BAD_JSON)('refuses headers in JSON that are %s', (_what, json) => {
    expect(() => withJson(json)).toThrow(new MalformedError('expected headers as a JSON object'))
  })

  it.each(BAD_VALUES)('refuses a header whose value is %s', (_what, headers) => {
    expect(() => withHeaders(headers)).toThrow(MalformedError)
    expect(() => withHeaders(headers)).toThrow(/the header "(a|METHOD)" has a value that is no string/)
  })

  it.each(PROTOCOLS)('refuses a message with headers in %s cut short at any byte', (protocol) => {
    const whole = renderRequest({ method: 'POST', body: 'a body', headers: { 'x-two': ['1', '2'] }, protocol })
    expect(parseMessage(whole).body.toString()).toBe('a body')
    for (let length = 0; length < whole.length; length++) {
      expect(() => parseMessage(whole.subarray(0, length))).toThrow(MalformedError)
    }
  })

  it.each(PROTOCOLS)('parses what a link has cut of a message with headers in %s, whatever its length', (protocol) => {
    const head = renderRequest({ method: 'WEBSOCKET', headers: { FLAGS: '0x82' }, protocol }).subarray(0, -'0:,'.length)
    for (const length of [CUT_MESSAGE, 999_999_999, 2 ** 30 - 50, 2 ** 31 - 1]) {
      const bytes = Buffer.alloc(CUT_MESSAGE, 'x')
      bytes.write(`${length}:`, head.copy(bytes), 'latin1')
      const { cut, body, headers } = parseMessage(bytes)
      expect({ cut, body: body.length, flags: headers.own('FLAGS') }).toEqual({ cut: true, body: 0, flags: '0x82' })
      expect(() => parseMessage(bytes.subarray(1))).toThrow(MalformedError)
      expect(() => parseMessage(bytes.subarray(0, -1))).toThrow(MalformedError)
    }
  })

  it('parses a whole message that is as long as one that was cut', () => {
    const body = 'x'.repeat(CUT_MESSAGE - renderRequest({ body: 'x'.repeat(100_000) }).length + 100_000)
    const bytes = renderRequest({ body })
    expect(bytes).toHaveLength(CUT_MESSAGE)
    expect(parseMessage(bytes)).toMatchObject({ cut: false, body: Buffer.from(body) })
  })

  it('refuses headers that nest without end and does not exhaust the stack', () => {
    let value = '0:]'
    for (let level = 0; level < 20_000; level++) value = `${value.length}:${value}]`
    const pair = `1:a,${value}`
    expect(() => withHeaders(`${pair.length}:${pair}}`)).toThrow(/a value that is no string/)
    const json = `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`
    expect(() => withJson(json)).toThrow(MalformedError)
  })

  it.each(PROTOCOLS)('parses what is rendered with headers in %s, whatever their bytes', (protocol) => {
    const anyBytes = fc.uint8Array({ maxLength: 30 })
    const text = anyBytes.map((array) => Buffer.from(array).toString('latin1'))
    const clientName = text.filter((name) => !/^[A-Z]/.test(name))
    const ownName = fc.stringMatching(/^[A-Z][A-Z_]{0,20}$/)
    fc.assert(
      fc.property(
        fc.record({
          sender: fc.stringMatching(/^[A-Za-z0-9-]{1,40}$/),
          connectionId: fc.nat(),
          path: text.map((path) => `/${path.replaceAll(' ', '')}`),
          own: fc.dictionary(ownName, text, { maxKeys: 8 }),
          client: fc
            .uniqueArray(fc.tuple(clientName, fc.oneof(text, fc.array(text, { maxLength: 5 }))), {
              selector: ([name]) => name,
              maxLength: 8,
            })
            .map((entries): RenderedHeaders => Object.fromEntries(entries)),
          body: anyBytes,
        }),
        ({ sender, connectionId, path, own, client, body }) => {
          const headers = Object.fromEntries([...Object.entries(own), ...Object.entries(client)])
          const rendered = renderMessage({ sender, connectionId, path, headers, body, protocol })
          const { headers: parsed, ...message } = parseMessage(rendered)
          const read = { own: parsed.ownEntries(), fields: fieldsOf(parsed) }
          const fields = Object.entries(client).flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
          expect({ ...message, ...read, body: [...message.body] }).toEqual({
            sender,
            connectionId,
            path,
            own: Object.fromEntries(Object.entries(own)),
            fields,
            body: [...body],
            cut: false,
          })
        },
      ),
    )
  })
})
