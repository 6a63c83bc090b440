import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lineFormat } from '../../../src/operations/line-format.ts'
import { ENTRY_FIELDS, ObservedRequest, type RequestEntry } from '../../../src/operations/request-entry.ts'
import { parseMessage } from '../../../src/wire/message.ts'

const ENTRY: RequestEntry = {
  time: Date.UTC(2026, 10, 30, 3, 27, 26, 7) + 0.9,
  address: '192.0.2.7',
  method: 'GET',
  target: '/articles?page=2',
  version: 'HTTP/1.1',
  status: 200,
  bytes: 134,
  received: 0,
  duration: 12.3456,
  referer: 'https://example.org/',
  userAgent: 'curl/8.0',
  route: '/',
  worker: 4711,
  connection: 42,
  aborted: false,
}
const MISSING = {
  ...ENTRY,
  address: '',
  status: undefined,
  referer: undefined,
  userAgent: undefined,
  worker: undefined,
}

/** What a client can write: any bytes as Latin-1; those that do harm come often. */
const hostile = fc.string({
  unit: fc.oneof(
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    fc.constantFrom('\n', '\r', '"', '\\', ' ', ']', '\x1b[31m', '\x9b', '\x85', '-', '{', '}', '|'),
  ),
  maxLength: 60,
})
const hostileEntry = fc
  .record({
    address: hostile,
    method: hostile,
    target: hostile,
    version: hostile,
    referer: fc.option(hostile, { nil: undefined }),
    userAgent: fc.option(hostile, { nil: undefined }),
    route: hostile,
    status: fc.option(fc.integer({ min: 100, max: 599 }), { nil: undefined }),
    aborted: fc.boolean(),
  })
  .map((values): RequestEntry => ({ ...ENTRY, ...values }))

/** Reads what a text format wrote for a value. */
function unescaped(text: string | undefined): string | undefined {
  if (text === '-') return undefined
  return text?.replace(/\\x([0-9a-f]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)))
}

describe('the format combined', () => {
  const combined = lineFormat('combined')

  it("is Apache's", () => {
    expect(combined(ENTRY)).toBe(
      '192.0.2.7 - - [30/Nov/2026:03:27:26 +0000] "GET /articles?page=2 HTTP/1.1" 200 134 "https://example.org/" "curl/8.0"',
    )
  })

  it('has - for what is missing', () => {
    expect(combined({ ...MISSING, bytes: 0, aborted: true })).toBe(
      '- - - [30/Nov/2026:03:27:26 +0000] "GET /articles?page=2 HTTP/1.1" - 0 "-" "-"',
    )
  })

  it('is parsed by a strict expression to the values of any client', () => {
    const value = String.raw`(?:[!#-[\]-~]|\\x[0-9a-f]{2})+`
    const quoted = String.raw`(?:[ !#-[\]-~]|\\x[0-9a-f]{2})+`
    const form = new RegExp(
      `^(${value}) - - \\[30/Nov/2026:03:27:26 \\+0000\\] "(${value}) (${value}) (${quoted})" (\\d{3}|-) 134 "(${quoted})" "(${quoted})"$`,
    )
    fc.assert(
      fc.property(hostileEntry, (entry) => {
        const [, address, method, target, version, status, referer, userAgent] = form.exec(combined(entry)) ?? []
        const strings = [address, method, target, version, referer, userAgent].map(unescaped)
        const { address: from, method: by, target: to, version: of, referer: page, userAgent: agent } = entry
        // What is written as - may be missing or empty, or be that.
        const given = [from, by, to, of, page, agent].map((value) => (value === '-' || !value ? undefined : value))
        expect(strings).toEqual(given)
        expect(status).toBe(String(entry.status ?? '-'))
      }),
    )
  })
})

describe('the format json', () => {
  const json = lineFormat('json')

  it('is an object of all fields, in their order', () => {
    const parsed = JSON.parse(json(ENTRY))
    expect(Object.keys(parsed)).toEqual([...ENTRY_FIELDS])
    expect(parsed).toEqual({ ...ENTRY, time: '2026-11-30T03:27:26.007Z', duration: 12.346 })
  })

  it('has null for what is missing', () => {
    const { status, referer, userAgent, worker, address } = JSON.parse(json(MISSING))
    expect([status, referer, userAgent, worker, address]).toEqual([null, null, null, null, ''])
  })

  it('gives the values of any client back, on one line without control characters', () => {
    fc.assert(
      fc.property(hostileEntry, (entry) => {
        const line = json(entry)
        expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
        const { referer = null, userAgent = null, status = null } = entry
        const expected = { ...entry, time: '2026-11-30T03:27:26.007Z', duration: 12.346, referer, userAgent, status }
        expect(JSON.parse(line)).toEqual(expected)
      }),
    )
  })

  it('escapes line separators, which other sources than a client may write', () => {
    expect(json({ ...ENTRY, route: '\u2028\u2029\ud800' })).toContain('"route":"\\u2028\\u2029\\ud800"')
  })
})

describe('a template', () => {
  it('has the fields in braces, and other text as it is', () => {
    const format = lineFormat('{time} [{duration} ms] {status}/{worker}\t{aborted} {"a":{bytes}}')
    expect(format(ENTRY)).toBe('2026-11-30T03:27:26.007Z [12.346 ms] 200/4711\tfalse {"a":134}')
    expect(format(MISSING)).toContain(' -/-\t')
  })

  it('takes every field', () => {
    const line = lineFormat(ENTRY_FIELDS.map((field) => `${field}={${field}}`).join(' '))(ENTRY)
    expect(line.split(' ').map((part) => part.split('=', 1)[0])).toEqual([...ENTRY_FIELDS])
  })

  it.each([' ', '|', ']', '"', '-', '^', "'", '\t'])('is divided by %j only where the template has it', (mark) => {
    const format = lineFormat(`{target}${mark}{userAgent}${mark}{status}`)
    fc.assert(
      fc.property(hostileEntry, (entry) => {
        const line = format(entry)
        expect(line).toMatch(mark === '\t' ? /^[\t -~]+$/ : /^[ -~]+$/)
        if (mark === '-') return // a missing value is written so
        const [target, userAgent, status, ...rest] = line.split(mark)
        expect(rest).toEqual([])
        expect(status).toBe(String(entry.status ?? '-'))
        if (entry.target && entry.target !== '-') expect(unescaped(target)).toBe(entry.target)
        if (entry.userAgent && entry.userAgent !== '-') expect(unescaped(userAgent)).toBe(entry.userAgent)
      }),
    )
  })

  it('escapes characters beyond bytes by their code', () => {
    expect(lineFormat('{route}')({ ...ENTRY, route: '€\x9b' })).toBe('\\u20ac\\x9b')
  })

  it.each(['{nothing}', '{}', '{time} {Status}', '{constructor}'])('refuses the unknown field of %s', (format) => {
    expect(() => lineFormat(format, '--access-log-format')).toThrow(
      /^--access-log-format: expected fields from time, address, .*, aborted, got "\{(?:nothing||Status|constructor)\}"$/,
    )
  })

  it.each(['', 'jsno', 'Combined', '{time}\n{status}', '{time\x1b[0m}'])('refuses %j', (format) => {
    expect(() => lineFormat(format)).toThrow('accessLogFormat: expected combined, json or a template')
  })
})

it.each(['combined', 'json', '{userAgent}'])('a long value is cut in the format %s', (name) => {
  const line = lineFormat(name)({ ...ENTRY, userAgent: '\n'.repeat(65_536) })
  expect(line).toMatch(/(?:\\x0a|\\n)\.\.\.(?:"|$)/)
  expect(line.length).toBeLessThan(4 * 4096 + 500)
})

it('the second of a line is its own, whatever came before', () => {
  const format = lineFormat('{time}')
  const times = [0, 999, 1000, 61_000, 60_999, 1_795_000_000_123.5, 1_795_000_000_999.99]
  expect(times.map((time) => format({ ...ENTRY, time }))).toEqual(times.map((time) => new Date(time).toISOString()))
})

it('an observed request gives the values of its message', () => {
  const headers = JSON.stringify({
    METHOD: 'GET',
    URI: '/a?b',
    VERSION: 'HTTP/1.0',
    PATTERN: '/a',
    REMOTE_ADDR: '192.0.2.7',
    'user-agent': 'x"\n',
  })
  const request = new ObservedRequest(parseMessage(Buffer.from(`id 7 /a ${headers.length}:${headers},0:,`)), () => {})
  request.status = 404
  request.bytes = 99
  request.end()
  expect(
    lineFormat('{address} {method} {target} {version} {status} {bytes} {route} {connection} {userAgent}')(request),
  ).toBe('192.0.2.7 GET /a?b HTTP/1.0 404 99 /a 7 x\\x22\\x0a')
})
