import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Codec, Incoming } from '../../../src/gateway/cgi/codec.ts'
import { FastCgiCodec } from '../../../src/gateway/cgi/fastcgi.ts'
import { ScgiCodec } from '../../../src/gateway/cgi/scgi.ts'
import { UwsgiCodec } from '../../../src/gateway/cgi/uwsgi.ts'
import { requestOf, Variables } from '../../../src/gateway/cgi/variables.ts'
import { MalformedError } from '../../../src/wire/malformed.ts'
import {
  type CgiVariables,
  fastCgiBegin,
  fastCgiPairs,
  fastCgiParams,
  fastCgiRecord,
  fastCgiRecords,
  fastCgiRequest,
  fastCgiStdin,
  RECORD,
  scgiPacket,
  uwsgiPacket,
  variablesOf,
} from '../../support/cgi-packets.ts'

const MOST = 4096

interface Kind {
  readonly create: () => Codec
  readonly render: (variables: CgiVariables, body: Buffer) => Buffer
}

const KINDS: Record<string, Kind> = {
  scgi: {
    create: () => new ScgiCodec(MOST),
    render: (variables, body) => Buffer.concat([scgiPacket(variables), body]),
  },
  uwsgi: {
    create: () => new UwsgiCodec(MOST),
    render: (variables, body) => Buffer.concat([uwsgiPacket(variables), body]),
  },
  fastcgi: {
    create: () => new FastCgiCodec(MOST, 100),
    render: (variables, body) => fastCgiRequest(1, variables, body),
  },
}

/** What a codec says of pieces: its requests, its bodies joined, and how it ended. */
function parse(codec: Codec, pieces: readonly Buffer[]): string[] {
  const seen: string[] = []
  let body = ''
  const flush = () => {
    if (body !== '') seen.push(`body ${body}`)
    body = ''
  }
  const take = (incoming: Incoming) => {
    if (incoming.type === 'body') {
      body += incoming.bytes.toString('latin1')
      return
    }
    flush()
    if (incoming.type === 'request') {
      const request = requestOf(incoming.variables, incoming.length, undefined, undefined)
      seen.push(`request ${JSON.stringify(request)} ${incoming.length}`)
    } else seen.push(incoming.type)
  }
  try {
    for (const piece of pieces) codec.read(piece, take)
    flush()
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    flush()
    seen.push('malformed')
  }
  return seen
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, at) => bytes.subarray(from, places[at]))
}

const text = fc.string({
  unit: fc.integer({ min: 32, max: 255 }).map((code) => String.fromCharCode(code)),
  maxLength: 40,
})
const name = fc.stringMatching(/^[A-Z][A-Z0-9_]{0,20}$/).filter((name) => !['CONTENT_LENGTH', 'SCGI'].includes(name))
const request = fc.record({
  more: fc.array(fc.tuple(name, text), { maxLength: 8 }),
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
})
const cuts = fc.array(fc.nat(), { maxLength: 10 })
const mutations = fc.array(
  fc.record({
    at: fc.nat(),
    byte: fc.integer({ min: 0, max: 255 }),
    how: fc.constantFrom('set', 'insert', 'remove', 'cut'),
  }),
  { minLength: 1, maxLength: 4 },
)

describe.each(Object.entries(KINDS))('The codec of %s', (_name, { create, render }) => {
  const packetOf = ({ more, body }: { more: [string, string][]; body: Buffer }) =>
    render([...variablesOf('POST', '/a?b', body), ...more], body)

  it('reads requests, split anywhere', () => {
    fc.assert(
      fc.property(request, cuts, (one, cuts) => {
        const bytes = packetOf(one)
        const whole = parse(create(), [bytes])
        expect(whole.at(-1)).toBe('body end')
        expect(parse(create(), split(bytes, cuts))).toEqual(whole)
      }),
    )
  })

  it('reads a request byte by byte as it reads the whole', () => {
    const body = Buffer.from('the body')
    const bytes = render(variablesOf('POST', '/a', body), body)
    const all = parse(create(), [bytes])
    expect(all.slice(1)).toEqual(['body the body', 'body end'])
    expect(
      parse(
        create(),
        [...bytes].map((byte) => Buffer.of(byte)),
      ),
    ).toEqual(all)
    for (let cut = 0; cut <= bytes.length; cut++) expect(parse(create(), split(bytes, [cut]))).toEqual(all)
  })

  it('reads or refuses whatever a request becomes', () => {
    fc.assert(
      fc.property(request, mutations, cuts, (one, changes, cuts) => {
        let bytes = packetOf(one)
        for (const { at, byte, how } of changes) {
          const place = at % (bytes.length + 1)
          const rest = bytes.subarray(how === 'set' || how === 'remove' ? place + 1 : place)
          if (how === 'cut') bytes = bytes.subarray(0, place)
          else
            bytes = Buffer.concat([
              bytes.subarray(0, place),
              how === 'remove' ? Buffer.alloc(0) : Buffer.of(byte),
              rest,
            ])
        }
        const whole = parse(create(), [bytes])
        expect(parse(create(), split(bytes, cuts))).toEqual(whole)
      }),
      { numRuns: 500 },
    )
  })

  it('refuses bytes that are no packet, or waits for the rest of one', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 100 }), (pieces) => {
        const codec = create()
        const buffers = pieces.map((piece) => Buffer.from(piece))
        const seen = parse(codec, buffers)
        const total = Buffer.concat(buffers).length
        // FastCGI discards records of requests that it does not know, and keeps one of 64 KiB at most.
        expect(seen.length > 0 || total <= MOST + 20 || codec instanceof FastCgiCodec).toBe(true)
      }),
    )
  })

  it('does not keep a packet that is too long', () => {
    const long = render([...variablesOf('GET', '/'), ['X', 'x'.repeat(MOST)]], Buffer.alloc(0))
    expect(parse(create(), split(long, [20]))).toEqual(['malformed'])
  })

  it.each<[string, CgiVariables]>([
    ['no number as length', [['CONTENT_LENGTH', 'x']]],
    ['a negative length', [['CONTENT_LENGTH', '-1']]],
    [
      'two lengths',
      [
        ['CONTENT_LENGTH', '1'],
        ['CONTENT_LENGTH', '2'],
      ],
    ],
    ['no method', [['REQUEST_METHOD', '']]],
    ['no target', [['REQUEST_URI', '']]],
    ['a line break in a value', [['HTTP_X', 'a\r\nb']]],
    ['a field without a name', [['HTTP_', 'a']]],
  ])('refuses %s', (_what, changes) => {
    const changed = new Set(changes.map(([name]) => name))
    const variables = [...changes, ...variablesOf('GET', '/').filter(([name]) => !changed.has(name))]
    const ordered = variables.toSorted((a, b) => Number(b[0] === 'CONTENT_LENGTH') - Number(a[0] === 'CONTENT_LENGTH'))
    expect(parse(create(), [render(ordered, Buffer.alloc(0))]).at(-1)).toBe('malformed')
  })
})

describe('A codec refuses', () => {
  it.each<[string, Codec, Buffer]>([
    [
      'a body that is longer than its length',
      new ScgiCodec(MOST),
      Buffer.concat([scgiPacket(variablesOf('GET', '/')), Buffer.from('x')]),
    ],
    [
      'SCGI without CONTENT_LENGTH first',
      new ScgiCodec(MOST),
      scgiPacket([
        ['SCGI', '1'],
        ['CONTENT_LENGTH', '0'],
      ]),
    ],
    [
      'another version of SCGI',
      new ScgiCodec(MOST),
      scgiPacket([
        ['CONTENT_LENGTH', '0'],
        ['SCGI', '2'],
      ]),
    ],
    ['a header of SCGI without a value', new ScgiCodec(MOST), Buffer.from('15:CONTENT_LENGTH\0,')],
    ['a netstring without a comma', new ScgiCodec(MOST), Buffer.from('3:a\0b;')],
    ['HTTP at an address for SCGI', new ScgiCodec(MOST), Buffer.from('GET / HTTP/1.1\r\n')],
    ['HTTP at an address for uwsgi', new UwsgiCodec(MOST), Buffer.from('GET / HTTP/1.1\r\n')],
    ['a variable of uwsgi that is longer than its packet', new UwsgiCodec(MOST), Buffer.from([0, 3, 0, 0, 9, 0, 65])],
    ['a variable of uwsgi without a value', new UwsgiCodec(MOST), Buffer.from([0, 3, 0, 0, 1, 0, 65])],
    ['half a size of uwsgi', new UwsgiCodec(MOST), Buffer.from([0, 1, 0, 0, 1])],
  ])('%s', (_what, codec, bytes) => {
    expect(parse(codec, [bytes]).at(-1)).toBe('malformed')
  })
})

describe('The codec of FastCGI', () => {
  const NONE = Buffer.alloc(0)
  const GET = variablesOf('GET', '/')
  const unknownLength = variablesOf('POST', '/').filter(([name]) => name !== 'CONTENT_LENGTH')
  const replies = (codec: Codec, ...pieces: Buffer[]) => {
    const bytes: Buffer[] = []
    for (const piece of pieces) codec.read(piece, (one) => one.type === 'reply' && bytes.push(one.bytes))
    return fastCgiRecords(Buffer.concat(bytes))
  }
  const requests = (codec: Codec, ...pieces: Buffer[]) =>
    parse(codec, pieces).map((line) => line.replace(/^request .* /, 'request '))
  const create = () => new FastCgiCodec(MOST, 100)

  it('finds out by stdin whether there is a body where no length is said', () => {
    expect(requests(create(), fastCgiRequest(1, unknownLength, NONE))).toEqual(['request 0', 'body end'])
    expect(requests(create(), fastCgiRequest(1, unknownLength, Buffer.from('body')))).toEqual([
      'request undefined',
      'body body',
      'body end',
    ])
  })

  it('reads variables in several records, and long ones', () => {
    const pairs = fastCgiPairs([...GET, ['HTTP_X', 'x'.repeat(200)]])
    const records = [...pairs].map((byte) => fastCgiRecord(RECORD.params, 1, Buffer.of(byte)))
    const seen = parse(create(), [fastCgiBegin(1), ...records, fastCgiRecord(RECORD.params, 1), fastCgiStdin(1, NONE)])
    expect(seen[0]).toContain('x'.repeat(200))
  })

  it('says what it can do, and nothing about what it does not know', () => {
    const asked = fastCgiPairs(
      ['FCGI_MPXS_CONNS', 'FCGI_MAX_CONNS', '__proto__', 'FCGI_MAX_CONNS', 'X'].map((name) => [name, '']),
    )
    expect(replies(create(), fastCgiRecord(RECORD.getValues, 0, asked))).toEqual([
      [RECORD.values, 0, '\x0e\x03FCGI_MAX_CONNS100\x0f\x01FCGI_MPXS_CONNS0'],
    ])
    expect(replies(create(), fastCgiRecord(77, 0))).toEqual([[RECORD.unknown, 0, 'M\0\0\0\0\0\0\0']])
  })

  it('refuses a second request beside the first, and ignores its records', () => {
    const codec = create()
    const second = fastCgiRequest(2, GET, Buffer.from('ignored'))
    expect(replies(codec, fastCgiBegin(1), second)).toEqual([[RECORD.end, 2, '\0\0\0\0\x01\0\0\0']])
    expect(requests(codec, fastCgiParams(1, GET), second, fastCgiStdin(1, NONE))).toEqual([
      'request 0',
      'reply',
      'body end',
    ])
  })

  it('reads a short name whose length is in four bytes', () => {
    const variable = Buffer.concat([Buffer.of(128, 0, 0, 6, 2), Buffer.from('HTTP_Nab'), Buffer.of(6, 128, 0, 0, 1)])
    const params = Buffer.concat([variable, Buffer.from('HTTP_Mc')])
    const records = [fastCgiRecord(RECORD.params, 1, params), fastCgiRecord(RECORD.params, 1), fastCgiStdin(1, NONE)]
    const seen: Incoming[] = []
    create().read(Buffer.concat([fastCgiBegin(1), ...records]), (incoming) => seen.push(incoming))
    const variables = { fields: ['n', 'ab', 'm', 'c'] }
    expect(seen).toMatchObject([{ type: 'request', variables, length: 0 }, { type: 'body end' }])
  })

  it('takes another request after the end of the first, whose late records it ignores', () => {
    const codec = create()
    parse(codec, [fastCgiBegin(1, { keep: true }), fastCgiParams(1, GET)])
    expect(codec.keepsAlive).toBe(true)
    expect(fastCgiRecords(Buffer.concat(codec.frame('', [], true)))).toEqual([
      [RECORD.stdout, 1, ''],
      [RECORD.end, 1, '\0\0\0\0\0\0\0\0'],
    ])
    expect(requests(codec, fastCgiStdin(1, NONE), fastCgiRequest(1, GET, NONE))).toEqual(['request 0', 'body end'])
  })

  it('ends a request of another role with a status', () => {
    const codec = create()
    expect(parse(codec, [fastCgiBegin(1, { role: 3 })])).toEqual(['malformed'])
    expect(fastCgiRecords(codec.renderFault())).toEqual([[RECORD.end, 1, '\0\0\0\x01\x03\0\0\0']])
  })

  it('renders a body in records, however long', () => {
    const codec = create()
    parse(codec, [fastCgiBegin(1)])
    const records = fastCgiRecords(Buffer.concat(codec.frame('', [Buffer.alloc(100_000, 'x')], false)))
    expect(records.map(([type, id, { length }]) => [type, id, length])).toEqual([
      [RECORD.stdout, 1, 65_528],
      [RECORD.stdout, 1, 34_472],
    ])
  })

  it.each<[string, Buffer[]]>([
    ['another version', [Buffer.of(2)]],
    ['a request that begins twice', [fastCgiBegin(1), fastCgiBegin(1)]],
    ['a beginning of another size', [fastCgiRecord(RECORD.begin, 1, Buffer.alloc(7))]],
    ['stdin before the variables', [fastCgiBegin(1), fastCgiStdin(1, NONE)]],
    ['variables after their end', [fastCgiBegin(1), fastCgiParams(1, GET), fastCgiParams(1, GET)]],
    ['more stdin than its length', [fastCgiBegin(1), fastCgiParams(1, GET), fastCgiStdin(1, Buffer.from('x'))]],
    [
      'less stdin than its length',
      [fastCgiBegin(1), fastCgiParams(1, variablesOf('POST', '/', 'xy')), fastCgiStdin(1, Buffer.from('x'))],
    ],
    ['stdin after its end', [fastCgiRequest(1, GET, NONE), fastCgiStdin(1, NONE)]],
    ['a record of another role', [fastCgiBegin(1), fastCgiRecord(RECORD.data, 1)]],
    [
      'a variable without a value',
      [fastCgiBegin(1), fastCgiRecord(RECORD.params, 1, Buffer.from('\x01')), fastCgiRecord(RECORD.params, 1)],
    ],
    [
      'a variable that is longer than all',
      [
        fastCgiBegin(1),
        fastCgiRecord(RECORD.params, 1, Buffer.from('\x01\xff\xff\xff\xffA', 'latin1')),
        fastCgiRecord(RECORD.params, 1),
      ],
    ],
  ])('refuses %s', (_what, pieces) => {
    expect(parse(create(), pieces).at(-1)).toBe('malformed')
  })
})

describe('The request that variables describe', () => {
  const collect = (pairs: CgiVariables) => {
    const variables = new Variables()
    for (const [name, value] of pairs) {
      const end = name.length + value.length
      variables.add(`${name}${value}`, 0, name.length, name.length, end)
    }
    return variables
  }
  const given = (...more: [string, string][]) =>
    requestOf(collect([...variablesOf('GET', '/a%20b?c'), ...more]), 0, '::ffff:10.0.0.1', undefined)
  const headers = ({ fields }: { fields: readonly string[] }) =>
    Object.fromEntries(fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1]]] : [])))

  it('has what the front server vouches for', () => {
    expect(given(['HTTP_X_A', 'caf\xe9'], ['CONTENT_TYPE', 'a/b'], ['HTTP_CONTENT_TYPE', 'forged'])).toEqual({
      method: 'GET',
      target: '/a%20b?c',
      version: 'HTTP/1.1',
      fields: ['x-a', 'caf\xe9', 'content-type', 'a/b', 'host', 'example.test'],
      remoteAddress: '192.0.2.7',
      scheme: 'http',
    })
  })

  it.each<[[string, string][], string]>([
    [[['HTTPS', 'on']], 'https'],
    [[['HTTPS', '1']], 'https'],
    [
      [
        ['HTTPS', 'off'],
        ['REQUEST_SCHEME', 'https'],
      ],
      'http',
    ],
    [
      [
        ['HTTPS', ''],
        ['REQUEST_SCHEME', 'https'],
      ],
      'https',
    ],
    [[['HTTP_X_FORWARDED_PROTO', 'https']], 'http'],
  ])('has the scheme of %j', (more, scheme) => {
    expect(given(...more).scheme).toBe(scheme)
  })

  it("has the address of the front server where it does not say the client's", () => {
    expect(given(['REMOTE_ADDR', '']).remoteAddress).toBe('10.0.0.1')
    expect(given(['REMOTE_ADDR', 'unix:']).remoteAddress).toBe('10.0.0.1')
  })

  it('has one host: the last, or the name of the server', () => {
    expect(headers(given(['HTTP_HOST', 'last.test']))).toMatchObject({ host: 'last.test' })
    const named = (port: string) =>
      headers(given(['HTTP_HOST', ''], ['SERVER_NAME', 'name.test'], ['SERVER_PORT', port]))
    expect([named('80').host, named('8080').host]).toEqual(['name.test', 'name.test:8080'])
    const none = given(['HTTP_HOST', ''])
    expect(headers(none)).not.toHaveProperty('host')
    expect(none.version).toBe('HTTP/1.0') // for which the handler has another host
  })

  it("has no field about the client's connection, and none about lengths that a client could forge", () => {
    const forged = ['CONNECTION', 'UPGRADE', 'TRANSFER_ENCODING', 'CONTENT_LENGTH', 'TE'].map(
      (name) => [`HTTP_${name}`, 'x'] as [string, string],
    )
    expect(given(...forged).fields).toEqual(['host', 'example.test'])
  })

  it('has a target made of its decoded path where there is no other', () => {
    const target = given(
      ['REQUEST_URI', ''],
      ['SCRIPT_NAME', '/app'],
      ['PATH_INFO', '/50%?#'],
      ['QUERY_STRING', 'q=%20'],
    ).target
    expect(target).toBe('/app/50%25%3F%23?q=%20')
  })

  it('is the same whatever names came before, and in whatever order', () => {
    const pairs = Array.from({ length: 400 }, (_, n): [string, string] => {
      return [`HTTP_X_${n % 7 === 0 ? 'LONG_'.repeat(20) : ''}${n}`, `value ${n}`]
    })
    for (const order of [pairs, pairs.toReversed(), pairs.slice(1), pairs]) {
      const expected = order.map(([name, value]) => [name.slice(5).toLowerCase().replaceAll('_', '-'), value])
      expect(given(...order).fields).toEqual([...expected.flat(), 'host', 'example.test'])
    }
  })

  it('says the length of a body', () => {
    const lengths = (method: string, length: number | undefined) =>
      headers(requestOf(collect(variablesOf(method, '/')), length, undefined, undefined))
    expect(lengths('POST', 0)).toMatchObject({ 'content-length': '0' })
    for (const method of ['GET', 'DELETE', 'REPORT']) expect(lengths(method, 0)).not.toHaveProperty('content-length')
    const empty = variablesOf('POST', '/').map((each) =>
      each[0] === 'CONTENT_LENGTH' ? ([each[0], ''] as const) : each,
    )
    expect(headers(requestOf(collect(empty), 0, undefined, undefined))).not.toHaveProperty('content-length')
    expect(lengths('GET', 3)).toMatchObject({ 'content-length': '3' })
    expect(lengths('POST', undefined)).toMatchObject({ 'transfer-encoding': 'chunked' })
  })
})
