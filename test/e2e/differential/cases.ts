import type { Conversation, Observation } from './observation.ts'

/** A conversation that both servers have with the same client. */
export interface Case extends Conversation {
  readonly name: string
  /** Where what the client sees is meant to differ, and the values on both sides. Nothing else may. */
  readonly differs?: Difference
}

interface Difference {
  readonly why: string
  readonly ours: Observation
  readonly theirs: Observation
}

/** Requests of the table are written `METHOD target`, with what is not plain behind it. */
interface Parts {
  headers?: readonly string[]
  /** Sent with its Content-Length. */
  body?: string | Uint8Array
  /** Sent in these chunks. */
  chunks?: readonly string[]
  /** Sent as it is, behind the empty line. */
  sent?: string
  version?: string
}

/** The bytes of a request. */
function request(line: string, { headers = [], body, chunks, sent = '', version = '1.1' }: Parts = {}): Buffer {
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ['Host: localhost']
  const framing = body !== undefined ? [`Content-Length: ${body.length}`] : chunks ? ['Transfer-Encoding: chunked'] : []
  const head = [`${line} HTTP/${version}`, ...host, ...headers, ...framing, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body ?? (chunks ? renderChunks(chunks) : sent))])
}

function renderChunks(chunks: readonly string[]): string {
  return [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')
}

const methodOf = (line: string) => line.slice(0, line.indexOf(' '))

/** One request and its response. */
function one(name: string, line: string, parts?: Parts, differs?: Difference): Case {
  return raw(name, request(line, parts), [methodOf(line)], differs)
}

/** Several requests in one write, and their responses. */
function pipelined(
  name: string,
  lines: readonly (readonly [line: string, parts?: Parts])[],
  differs?: Difference,
): Case {
  return raw(
    name,
    Buffer.concat(lines.map(([line, parts]) => request(line, parts))),
    lines.map(([line]) => methodOf(line)),
    differs,
  )
}

/** Bytes as they are. */
function raw(
  name: string,
  send: string | Uint8Array,
  methods: readonly string[] = ['GET'],
  differs?: Difference,
): Case {
  return { name, send, methods, ...(differs === undefined ? {} : { differs }) }
}

const form = 'Content-Type: application/x-www-form-urlencoded'
const json = 'Content-Type: application/json'
const multipart = 'Content-Type: multipart/form-data; boundary=b'
const part = (disposition: string, content: string, type = '') =>
  `--b\r\nContent-Disposition: form-data; ${disposition}\r\n${type && `Content-Type: ${type}\r\n`}\r\n${content}\r\n`
const parts = `${part('name="a"', '1')}${part('name="a"', 'two')}${part('name="f"; filename="x.bin"', '\0\x01\xff', 'application/octet-stream')}--b--\r\n`
const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte)
const large = Buffer.alloc(1024 * 1024, 'a large body, stored by Mongrel2 in a file ')

const methods: Case[] = [
  one('GET', 'GET /echo'),
  one('HEAD', 'HEAD /text'),
  one('HEAD of what only GET is routed for, in JSON', 'HEAD /json'),
  one('HEAD of nothing', 'HEAD /nowhere'),
  one('POST without a body', 'POST /echo', { body: '' }),
  one('POST without a length', 'POST /echo'),
  one('PUT', 'PUT /echo', { body: 'put' }),
  one('PATCH', 'PATCH /echo', { body: 'patch' }),
  one('DELETE', 'DELETE /echo'),
  one('DELETE with a body', 'DELETE /echo', { body: 'delete' }),
  one('OPTIONS', 'OPTIONS /echo'),
  one('OPTIONS with a body', 'OPTIONS /echo', { body: 'options' }),
  one('OPTIONS of the server', 'OPTIONS *'),
  one('PROPFIND', 'PROPFIND /echo', { body: '<propfind/>' }),
  one('REPORT', 'REPORT /echo'),
  one('MKCOL', 'MKCOL /echo'),
  one('LOCK', 'LOCK /echo'),
  one('PURGE', 'PURGE /echo'),
  one('SEARCH', 'SEARCH /echo'),
  one('TRACE', 'TRACE /echo'),
  one('CONNECT', 'CONNECT localhost:80'),
  one('a method of somebody', 'BREW /echo'),
  one('a method with a hyphen', 'M-SEARCH /echo'),
  one('a method in lower case', 'get /echo'),
  one('GET with a body', 'GET /has-body', { body: 'ignored' }),
  one('HEAD with a body', 'HEAD /has-body', { body: 'ignored' }),
  one('a method that the app does not route', 'PUT /text', { body: 'x' }),
]

const targets: Case[] = [
  one('a query', 'GET /echo?a=1&b=2&a=3'),
  one('an empty query', 'GET /echo?'),
  one('blanks and plus signs in a query', 'GET /echo?q=%20+%2B'),
  one('queries as Hono reads them', 'GET /param/%E4%BD%A0?a=1&a=%20+&b'),
  one('a second question mark', 'GET /echo?a=b?c=d'),
  one('a percent-encoded path', 'GET /echo/%E4%BD%A0%2F%25'),
  one('lower-case percent-encodings', 'GET /echo/%e4%bd%a0'),
  one('a percent sign that encodes nothing', 'GET /echo/%zz'),
  one('parameters in a path', 'GET /echo/a;b=c;d,e=1'),
  one('two slashes within', 'GET /echo//a'),
  one('two slashes before', 'GET //echo'),
  one('two slashes and a host before', 'GET //evil.example/echo'),
  one('dots', 'GET /echo/./a/../b'),
  one('encoded dots', 'GET /echo/a/%2e%2e/b'),
  one('an asterisk in a path', 'GET /echo/*?x'),
  one('an asterisk and no slash', 'GET *?x'),
  one('all that a path may hold', "GET /echo/-._~!$&'()*+,;=:@"),
  one('all that a query may hold', "GET /echo?-._~!$&'()*+,;=:@/?"),
  one('brackets in a query', 'GET /echo?a[0]=1'),
  one('braces in a query', 'GET /echo?a={1}'),
  one('quotes in a path', 'GET /echo/"a"'),
  one('a backslash', 'GET /echo\\a'),
  one('UTF-8 as it is', 'GET /echo/\xc3\xa9'),
  one('a blank', 'GET /echo/a b'),
  one('a fragment', 'GET /echo?a#fragment'),
  one('an absolute target', 'GET http://localhost/echo?a'),
  one('an absolute target on another host', 'GET http://other.example:81/echo'),
  one('a long query', `GET /echo?${'q'.repeat(1500)}`),
  one('a target without a slash', 'GET echo'),
]

const headers: Case[] = [
  one('a field twice', 'GET /echo', { headers: ['X-A: 1', 'X-B: 2', 'X-A: 3'] }),
  one('a field five times', 'GET /echo', { headers: [1, 2, 3, 4, 5].map((n) => `X-A: ${n}`) }),
  one('a field six times', 'GET /echo', { headers: [1, 2, 3, 4, 5, 6].map((n) => `X-A: ${n}`) }),
  one('a field twice in different case', 'GET /echo', { headers: ['X-A: 1', 'x-a: 2'] }),
  one('an empty field', 'GET /echo', { headers: ['X-Empty:', 'X-Blank:   '] }),
  one('a field without a blank', 'GET /echo', { headers: ['X-Tight:value'] }),
  one('blanks around a value', 'GET /echo', { headers: ['X-Loose:  \t value \t '] }),
  one('a tab within a value', 'GET /echo', { headers: ['X-Tab: a\tb'] }),
  one('quotes and backslashes in a value', 'GET /echo', { headers: ['X-Quoted: "a\\b", \\"'] }),
  one('Latin-1 in a value', 'GET /echo', { headers: ['X-Latin1: caf\xe9 \xff'] }),
  one('UTF-8 in a value', 'GET /echo', { headers: ['X-Utf8: \xc3\xa9'] }),
  one('a control character in a value', 'GET /echo', { headers: ['X-Control: a\x01b'] }),
  one('a zero byte in a value', 'GET /echo', { headers: ['X-Zero: a\0b'] }),
  one('all that a name may hold', 'GET /echo', { headers: ["x!#$%&'*+-.^_`|~0: value"] }),
  one('a name of the prototype', 'GET /echo', { headers: ['__proto__: x', 'constructor: y'] }),
  one('a name that Mongrel2 has too', 'GET /echo', { headers: ['METHOD: JSON', 'PATH: @*', 'REMOTE_ADDR: 1.2.3.4'] }),
  one('a long value', 'GET /echo', { headers: [`X-Long: ${'v'.repeat(3000)}`] }),
  one('forty fields', 'GET /echo', { headers: Array.from({ length: 40 }, (_, n) => `X-${n}: ${n}`) }),
  one('a folded value', 'GET /echo', { headers: ['X-Folded: a', ' b'] }),
  one('a name with a blank behind', 'GET /echo', { headers: ['X-Blank : a'] }),
  one('several cookies', 'GET /cookies', { headers: ['Cookie: a=1; b=2', 'Cookie: c=%20', 'cookie: d="x"'] }),
  one('several cookies, as a header', 'GET /echo', { headers: ['Cookie: a=1', 'Cookie: b=2'] }),
  one('several Accept', 'GET /echo', { headers: ['Accept: text/html', 'Accept: */*;q=0.1'] }),
  one('several Content-Type', 'GET /echo', { headers: ['Content-Type: text/plain', 'Content-Type: text/html'] }),
  one('several Authorization', 'GET /echo', { headers: ['Authorization: A', 'Authorization: B'] }),
  one('X-Forwarded-For', 'GET /forwarded-for', { headers: ['X-Forwarded-For: 1.2.3.4'] }),
  one('X-Forwarded-Proto and -Host', 'GET /echo', {
    headers: ['X-Forwarded-Proto: https', 'X-Forwarded-Host: a.example'],
  }),
  one("names of Mongrel2's own", 'GET /upload-headers', { headers: ['X-Mongrel2-Else: x'] }),
  one('a forged upload', 'GET /upload-headers', {
    headers: ['X-Mongrel2-Upload-Start: /etc/passwd', 'X-Mongrel2-Upload-Done: /etc/passwd'],
  }),
]

const hosts: Case[] = [
  one('a host and a port', 'GET /echo', { headers: ['Host: a.example:8080'] }),
  one('a host in upper case', 'GET /echo', { headers: ['Host: A.Example'] }),
  one('the default port', 'GET /echo', { headers: ['Host: a.example:80'] }),
  one('an IPv6 address', 'GET /echo', { headers: ['Host: [::1]:8080'] }),
  one('an IPv4 address', 'GET /echo', { headers: ['Host: 127.0.0.1'] }),
  one('an underscore in the host', 'GET /echo', { headers: ['Host: a_b.example'] }),
  raw('no host', 'GET /echo HTTP/1.1\r\n\r\n'),
  one('an empty host', 'GET /echo', { headers: ['Host:'] }),
  one('two hosts', 'GET /echo', { headers: ['Host: a.example', 'Host: b.example'] }),
  one('a host with a blank', 'GET /echo', { headers: ['Host: a b'] }),
  one('a user in the host', 'GET /echo', { headers: ['Host: user@a.example'] }),
  one('a path in the host', 'GET /echo', { headers: ['Host: a.example/path?x#'] }),
  one('a port that is no number', 'GET /echo', { headers: ['Host: a.example:x'] }),
  one('a port that is too large', 'GET /echo', { headers: ['Host: a.example:65536'] }),
]

const requestBodies: Case[] = [
  one('text', 'POST /echo', { body: 'text', headers: ['Content-Type: text/plain'] }),
  one('JSON', 'POST /json', { body: '{"a":[1,"\\u00fc"]}', headers: [json] }),
  one('JSON that is none', 'POST /json', { body: '{"a":', headers: [json] }),
  one('JSON that is empty', 'POST /json', { body: '', headers: [json] }),
  one('a form', 'POST /form', { body: 'a=1&a=%C3%BC+%26&b', headers: [form] }),
  one('an empty form', 'POST /form', { body: '', headers: [form] }),
  one('a multipart form', 'POST /form', { body: Buffer.from(parts, 'latin1'), headers: [multipart] }),
  one('a multipart form that is broken', 'POST /form', { body: parts.slice(0, 40), headers: [multipart] }),
  one('a multipart form without a boundary', 'POST /form', {
    body: parts.slice(0, 40),
    headers: ['Content-Type: multipart/form-data'],
  }),
  one('a large multipart form', 'POST /form', {
    body: Buffer.concat([
      Buffer.from(part('name="f"; filename="large"', 'x'.repeat(50_000))),
      Buffer.from('--b--\r\n'),
    ]),
    headers: [multipart],
  }),
  one('every byte', 'POST /echo', { body: everyByte }),
  one('every byte and back', 'POST /back', { body: everyByte }),
  one('nothing and back', 'POST /back', { body: '' }),
  one('a blob', 'POST /blob', { body: 'blob', headers: ['Content-Type: Text/X-Blob; Q=1'] }),
  one('a body of 20 KiB, the most that Mongrel2 keeps in memory', 'POST /hash', { body: large.subarray(0, 20 * 1024) }),
  one('a byte more', 'POST /hash', { body: large.subarray(0, 20 * 1024 + 1) }),
  one('a mebibyte', 'POST /hash', { body: large }),
  one('a mebibyte and back', 'POST /back', { body: large }),
  one('a mebibyte as text', 'PUT /echo', { body: large.subarray(0, 100_000) }),
  one('a mebibyte that nobody reads', 'POST /unread', { body: large }),
  one('a mebibyte, cloned', 'POST /clone', { body: large.subarray(0, 30_000) }),
  one('a mebibyte with DELETE', 'DELETE /hash-of-nothing', { body: large }),
  one('chunks', 'POST /echo', { chunks: ['one', ' ', 'two'] }),
  one('chunks and none of them', 'POST /echo', { chunks: [] }),
  one('chunks that are large', 'POST /hash', { chunks: Array(10).fill('c'.repeat(50_000)) }),
  one('a chunk over 100 KiB', 'POST /hash', { chunks: ['c'.repeat(200_000)] }),
  one('chunks with PATCH', 'PATCH /echo', { chunks: ['patch'] }),
  one('chunks with GET', 'GET /has-body', { chunks: ['ignored'] }),
  raw(
    'chunks with a trailer',
    'POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: x\r\n\r\n',
    ['POST'],
  ),
  raw(
    'chunks with an extension',
    'POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3;name=value\r\nabc\r\n0\r\n\r\n',
    ['POST'],
  ),
  one('a body that nobody reads', 'POST /unread', { body: 'small' }),
  one('a body that is read twice', 'POST /twice', { body: 'once' }),
  one('a body that is cloned', 'POST /clone', { body: 'clone' }),
  one('a request that is copied', 'POST /copied?x', { body: 'copy' }),
  one('whether there is a body, with length 0', 'POST /has-body', { body: '' }),
  one('whether there is a body, without length', 'POST /has-body'),
  one('whether there is a body', 'POST /has-body', { body: 'x' }),
  one('whether there is a body, with GET', 'GET /has-body'),
  one('Expect', 'POST /echo', { body: 'expected', headers: ['Expect: 100-continue'] }),
  one('Expect, with a large body', 'POST /hash', { body: large, headers: ['Expect: 100-continue'] }),
  one('Expect of something else', 'POST /echo', { body: 'x', headers: ['Expect: miracles'] }),
]

const smuggled = request('GET /smuggled')

const framing: Case[] = [
  raw(
    'Content-Length and Transfer-Encoding',
    Buffer.concat([request('POST /echo', { headers: ['Transfer-Encoding: chunked'], body: '' }), smuggled]),
    ['POST'],
  ),
  one('two Content-Length that differ', 'POST /echo', {
    headers: ['Content-Length: 5', 'Content-Length: 6'],
    sent: 'hello',
  }),
  one('two Content-Length that agree', 'POST /echo', { headers: ['Content-Length: 5'], body: 'hello' }),
  one('a negative Content-Length', 'POST /echo', { headers: ['Content-Length: -5'] }),
  one('a Content-Length with a sign', 'POST /echo', { headers: ['Content-Length: +5'], sent: 'hello' }),
  one('a Content-Length that is none', 'POST /echo', { headers: ['Content-Length: abc'] }),
  one('a Content-Length that is too large', 'POST /echo', { headers: ['Content-Length: 99999999999999999999'] }),
  one('a Transfer-Encoding that is not chunked', 'POST /echo', { headers: ['Transfer-Encoding: gzip'] }),
  one('Transfer-Encoding in upper case', 'POST /echo', {
    headers: ['Transfer-Encoding: CHUNKED'],
    sent: renderChunks(['abc']),
  }),
  one('several codings', 'POST /echo', { headers: ['Transfer-Encoding: gzip, chunked'], sent: renderChunks(['abc']) }),
]

const responseBodies: Case[] = [
  one('text', 'GET /text'),
  one('HTML', 'GET /html'),
  one('JSON', 'GET /json'),
  one('binary', 'GET /binary'),
  one('an empty text', 'GET /empty'),
  one('no body', 'GET /null'),
  one('an ArrayBuffer', 'GET /array-buffer'),
  one('a DataView', 'GET /data-view'),
  one('a Blob', 'GET /blob'),
  one('a Blob without a type', 'GET /untyped-blob'),
  one('URLSearchParams', 'GET /params'),
  one('FormData', 'GET /form'),
  one('a mebibyte', 'GET /large'),
  one('Response.json', 'GET /response-json'),
  one('a plain handler', 'GET /plain/text'),
]

const streams: Case[] = [
  one('one chunk', 'GET /stream/one-chunk'),
  one('several chunks', 'GET /stream/several'),
  one('slow chunks', 'GET /stream/slow'),
  one('no chunks', 'GET /stream/none'),
  one('empty chunks', 'GET /stream/empty-chunks'),
  one('large chunks', 'GET /stream/large'),
  one('many chunks', 'GET /stream/many'),
  one('a byte stream', 'GET /stream/bytes'),
  one('a stream with a length', 'GET /stream/length'),
  one('streamText', 'GET /stream/text'),
  one('stream', 'GET /stream/hono'),
  one('server-sent events', 'GET /stream/sse', { headers: ['Accept: text/event-stream'] }),
  one('a transformed stream', 'GET /stream/transformed'),
  one('a stream that fails at once', 'GET /stream/fails-at-once'),
  one('a stream that fails later', 'GET /stream/fails-later'),
  one('a stream with a length that fails', 'GET /stream/fails-with-length'),
  one('a stream that is locked', 'GET /stream/locked'),
  one('a body that was read', 'GET /stream/used'),
  one('HEAD of a stream', 'HEAD /stream/slow'),
  one('HEAD of a stream with a length', 'HEAD /stream/length'),
  one('HEAD of server-sent events', 'HEAD /stream/sse'),
]

const statuses: Case[] = [
  ...[200, 201, 202, 204, 205, 206, 301, 304, 400, 401, 404, 410, 422, 429, 500, 501, 503, 599].map((status) =>
    one(`status ${status}`, `GET /status/${status}`),
  ),
  one('HEAD of status 204', 'HEAD /status/204'),
  one('POST of status 204', 'POST /status/204', { body: 'x' }),
  one('a reason of its own', 'GET /status-text'),
  one('a status without a name', 'GET /unknown-status'),
  one('204 with a type', 'GET /no-content-with-type'),
  one('304 with a length', 'GET /not-modified'),
  one('HEAD of 304 with a length', 'HEAD /not-modified'),
  one('205', 'GET /reset-content'),
  one('HEAD with a length of its own', 'HEAD /length-of-head'),
  one('HEAD of a mebibyte', 'HEAD /large'),
  one('HEAD of nothing', 'HEAD /null'),
  one('HEAD of an empty text', 'HEAD /empty'),
  one('fields of every kind', 'GET /headers'),
  one('Latin-1 in a field', 'GET /latin1-header'),
  one('a long field', 'GET /long-header'),
  one('a date of its own', 'GET /date'),
  one('hop-by-hop fields', 'GET /hop-by-hop'),
  one('Transfer-Encoding of its own', 'GET /says-chunked'),
  one('Connection: close of its own', 'GET /says-close'),
  one('a length that is too short', 'GET /says-short'),
  one('a length that is too long', 'GET /says-long', { headers: ['Connection: close'] }),
  one('a length that is none', 'GET /says-nonsense'),
  one('several Set-Cookie', 'GET /set-cookies'),
  ...[301, 302, 303, 307, 308].map((status) => one(`redirect ${status}`, `GET /redirect/${status}`)),
  one('Response.redirect', 'GET /redirect-absolute'),
]

const errors: Case[] = [
  one('not found', 'GET /nowhere'),
  one('thrown', 'GET /throw'),
  one('rejected', 'GET /reject'),
  one('HTTPException', 'GET /http-exception'),
  one('HTTPException with a response', 'GET /http-exception-response'),
  one('Response.error() from Hono', 'GET /response-error'),
  one('thrown by a plain handler', 'GET /plain/throws'),
  one('rejected by a plain handler', 'GET /plain/rejects'),
  one('text thrown by a plain handler', 'GET /plain/throws-text'),
  one('text returned by a plain handler', 'GET /plain/returns-text'),
  one('nothing returned by a plain handler', 'GET /plain/returns-nothing'),
  one('Response.error() from a plain handler', 'GET /plain/response-error'),
  one('a POST to what throws', 'POST /throw', { body: 'x' }),
  raw('no request', 'nonsense\r\n\r\n'),
  raw('another version', 'GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n'),
]

const middleware: Case[] = [
  one('compress', 'GET /gzip/text', { headers: ['Accept-Encoding: gzip'] }),
  one('compress, not accepted', 'GET /gzip/text'),
  one('compress, HEAD', 'HEAD /gzip/text', { headers: ['Accept-Encoding: gzip'] }),
  one('compress of what is small', 'GET /gzip/small', { headers: ['Accept-Encoding: gzip'] }),
  one('compress of JSON', 'GET /gzip/json', { headers: ['Accept-Encoding: deflate, gzip'] }),
  one('compress of a stream', 'GET /gzip/stream', { headers: ['Accept-Encoding: gzip'] }),
  one('compress of an image', 'GET /gzip/image', { headers: ['Accept-Encoding: gzip'] }),
  one('etag', 'GET /etag/text'),
  one('etag that matches', 'GET /etag/text', {
    headers: ['If-None-Match: "f9ab53e68d3d2f2c6c6dd0b41ed7a5e4b0dd6e82"'],
  }),
  one('etag, any', 'GET /etag/text', { headers: ['If-None-Match: *'] }),
  one('cors', 'GET /cors/text', { headers: ['Origin: http://a.example'] }),
  one('cors, another origin', 'GET /cors/text', { headers: ['Origin: http://b.example'] }),
  one('cors, preflight', 'OPTIONS /cors/text', {
    headers: [
      'Origin: http://a.example',
      'Access-Control-Request-Method: PUT',
      'Access-Control-Request-Headers: x-a,x-b',
    ],
  }),
  one('secure headers', 'GET /secure/text'),
]

const connections: Case[] = [
  one('Connection: close', 'GET /text', { headers: ['Connection: close'] }),
  one('Connection: Close', 'GET /text', { headers: ['Connection: Close'] }),
  one('Connection: keep-alive', 'GET /text', { headers: ['Connection: keep-alive'] }),
  one('Connection: keep-alive, close', 'GET /text', { headers: ['Connection: keep-alive, close'] }),
  one('Connection: close with a stream', 'GET /stream/slow', { headers: ['Connection: close'] }),
  one('an upgrade that is not taken', 'GET /text', { headers: ['Connection: Upgrade', 'Upgrade: h2c'] }),
  one('a WebSocket', 'GET /text', {
    headers: [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ],
  }),
  one('HTTP/1.0', 'GET /text', { version: '1.0' }),
  raw('HTTP/1.0 without a host', 'GET /echo HTTP/1.0\r\n\r\n'),
  one('HTTP/1.0 with keep-alive', 'GET /text', { version: '1.0', headers: ['Connection: keep-alive'] }),
  one('HTTP/1.0 with Keep-Alive', 'GET /text', { version: '1.0', headers: ['Connection: Keep-Alive'] }),
  one('HTTP/1.0 with keep-alive, POST', 'POST /echo', {
    version: '1.0',
    headers: ['Connection: keep-alive'],
    body: 'x',
  }),
  one('HTTP/1.0, HEAD', 'HEAD /text', { version: '1.0' }),
  one('HTTP/1.0, HEAD with keep-alive', 'HEAD /text', { version: '1.0', headers: ['Connection: keep-alive'] }),
  one('HTTP/1.0, a stream', 'GET /stream/slow', { version: '1.0' }),
  one('HTTP/1.0, a stream with keep-alive', 'GET /stream/slow', {
    version: '1.0',
    headers: ['Connection: keep-alive'],
  }),
  one('HTTP/1.0, a stream with a length and keep-alive', 'GET /stream/length', {
    version: '1.0',
    headers: ['Connection: keep-alive'],
  }),
  one('HTTP/1.0, 204 with keep-alive', 'GET /status/204', { version: '1.0', headers: ['Connection: keep-alive'] }),
  one('HTTP/1.0, chunks', 'POST /echo', { version: '1.0', chunks: ['chunk'] }),
  pipelined('two requests', [['GET /text'], ['GET /json']]),
  pipelined('the slow one first', [['GET /slow'], ['GET /text'], ['GET /stream/slow'], ['GET /text']]),
  pipelined('bodies', [
    ['POST /echo', { body: 'one' }],
    ['PUT /echo', { body: 'two' }],
    ['GET /text'],
    ['POST /echo', { chunks: ['th', 'ree'] }],
    ['HEAD /text'],
    ['GET /text'],
  ]),
  pipelined('a large body and then others', [
    ['POST /hash', { body: large }],
    ['GET /text'],
    ['POST /hash', { body: large }],
    ['GET /text'],
  ]),
  pipelined(
    'forty requests',
    Array.from({ length: 40 }, (_, n) => [`GET /echo/${n}`]),
  ),
  pipelined('an error amid others', [['GET /text'], ['GET /throw'], ['GET /nowhere'], ['GET /text']]),
  pipelined('a body that nobody reads, and another request', [
    ['POST /unread', { body: 'GET /smuggled HTTP/1.1\r\n\r\n' }],
    ['GET /text'],
  ]),
  pipelined('GET with a body, and another request', [
    ['GET /text', { body: 'GET /smuggled HTTP/1.1\r\n\r\n' }],
    ['GET /text'],
  ]),
  raw(
    'what follows Connection: close',
    Buffer.concat([request('GET /text', { headers: ['Connection: close'] }), request('GET /text')]),
  ),
  raw('what follows HTTP/1.0', Buffer.concat([request('GET /text', { version: '1.0' }), request('GET /text')])),
  raw('what follows a response that closes', Buffer.concat([request('GET /says-close'), request('GET /text')])),
  raw('empty lines before a request', `\r\n\r\n${request('GET /text')}`),
  raw('line feeds only', 'GET /text HTTP/1.1\nHost: localhost\n\n'),
  one('a signal', 'GET /aborted'),
]

export const groups: Record<string, readonly Case[]> = {
  methods,
  targets,
  headers,
  hosts,
  'bodies of requests': requestBodies,
  'framing of requests': framing,
  'bodies of responses': responseBodies,
  streams,
  'statuses and fields': statuses,
  errors,
  middleware,
  connections,
}
