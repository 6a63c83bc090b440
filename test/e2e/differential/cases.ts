import { createHash } from 'node:crypto'
import { lacks } from '../../support/embedded.ts'
import { type Conversation, methodOf, type Parts, renderChunks, request } from './conversation.ts'
import {
  type Difference,
  detailed500,
  differ,
  type Expected,
  inResponse,
  json,
  MONGREL2_400,
  MONGREL2_404,
  MONGREL2_417,
  NO_ANSWER,
  NODE_400,
  NODE_SERVER_400,
  NODE_SERVER_500,
  notFound,
  OUR_500,
  refusal,
  text,
} from './difference.ts'

/** A conversation that the client has with both servers. */
export interface Case extends Conversation {
  readonly name: string
  /** Where what the client sees is meant to differ. Nothing else may. */
  readonly differs: Difference | undefined
}

/** One request and its response. */
function one(name: string, line: string, parts?: Parts, differs?: Difference): Case {
  return { name, send: request(line, parts), methods: [methodOf(line)], differs }
}

/** Several requests in one write, and their responses. */
function pipelined(
  name: string,
  lines: readonly (readonly [line: string, parts?: Parts])[],
  differs?: Difference,
): Case {
  return {
    name,
    send: Buffer.concat(lines.map(([line, parts]) => request(line, parts))),
    methods: lines.map(([line]) => methodOf(line)),
    differs,
  }
}

/** Bytes as they are, and one response. */
function raw(name: string, send: string | Uint8Array, differs?: Difference): Case {
  return { name, send, methods: ['GET'], differs }
}

/** Node 20.19 has llhttp 8, which takes what the 9 of all later versions refuses. The server beside ours runs on the Node of the test. */
const LLHTTP_8 = process.versions.llhttp?.startsWith('8.')

/** Behind chunks Mongrel2 would lose a large body, so the connection ends. */
const ENDS = differ('we end a connection behind chunks', { afterwards: 'closed' }, { afterwards: 'open' })

/** The app's answer to the TypeError of a name that Headers do not take. */
const INVALID_NAME: Expected = {
  ...json(/invalid header name/),
  status: 'HTTP/1.1 500 Internal Server Error',
}

const FORM = 'Content-Type: application/x-www-form-urlencoded'
const JSON_TYPE = 'Content-Type: application/json'
const MULTIPART = 'Content-Type: multipart/form-data; boundary=b'

/** A part of a multipart form, up to the next boundary. */
function part(disposition: string, content: string, type?: string): string {
  const fields = [`Content-Disposition: form-data; ${disposition}`, ...(type ? [`Content-Type: ${type}`] : [])]
  return `--b\r\n${fields.join('\r\n')}\r\n\r\n${content}\r\n`
}

const FILE = part('name="f"; filename="x.bin"', '\0\x01\xff', 'application/octet-stream')
const PARTS = Buffer.from(`${part('name="a"', '1')}${part('name="a"', 'two')}${FILE}--b--\r\n`, 'latin1')
const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => byte)
/** Mongrel2 stores it in a file. */
const LARGE = Buffer.alloc(1024 * 1024, 'a large body ')
/** As much as Mongrel2 keeps in memory. */
const MEDIUM = LARGE.subarray(0, 20 * 1024)

const KEEP_ALIVE: Parts = { version: '1.0', headers: ['Connection: keep-alive'] }
const sha1 = (content: string) => createHash('sha1').update(content).digest('hex')

const DEFAULT_TYPE = differ(
  '@hono/node-server calls every body without a type text/plain, Blobs and streams too; the Fetch standard gives them none',
  {},
  { 'content-type': 'text/plain; charset=UTF-8' },
)
const NO_LENGTH = differ(
  '@hono/node-server sends a Response without a body in chunks, none of them; we say its length, as RFC 9110 (8.6) asks for',
  { 'content-length': '0' },
  {},
)
const KNOWN_LENGTH = (length: number) =>
  differ(
    'we wait for the end of the turn to find the length of a stream that has it all at once',
    { 'content-length': String(length) },
    {},
  )

const methods: Case[] = [
  one('GET', 'GET /echo'),
  one('HEAD', 'HEAD /text'),
  one('HEAD of JSON', 'HEAD /json'),
  one('HEAD of nothing', 'HEAD /nowhere'),
  one('POST', 'POST /echo', { body: 'post' }),
  one('POST of length 0', 'POST /echo', { body: '' }),
  one('POST without a length', 'POST /echo'),
  one('PUT', 'PUT /echo', { body: 'put' }),
  one('PATCH', 'PATCH /echo', { body: 'patch' }),
  one('DELETE', 'DELETE /echo'),
  one('DELETE with a body', 'DELETE /echo', { body: 'delete' }),
  one('OPTIONS', 'OPTIONS /echo'),
  one('OPTIONS with a body', 'OPTIONS /echo', { body: 'options' }),
  one(
    'OPTIONS of the whole server',
    'OPTIONS *',
    {},
    differ('Mongrel2 has no route for a target that is no path', MONGREL2_404, NODE_SERVER_400),
  ),
  one('PROPFIND', 'PROPFIND /echo', { body: '<propfind/>' }),
  one('REPORT', 'REPORT /echo'),
  one('MKCOL', 'MKCOL /echo'),
  one('LOCK', 'LOCK /echo'),
  one('PURGE', 'PURGE /echo'),
  one('SEARCH', 'SEARCH /echo'),
  one('TRACE', 'TRACE /echo'),
  one(
    'CONNECT',
    'CONNECT localhost:80',
    {},
    differ('Mongrel2 has no route for a target that is no path; Node hangs up', MONGREL2_404, NO_ANSWER),
  ),
  one(
    'a method that Node has not heard of',
    'BREW /echo',
    {},
    differ('Mongrel2 takes every method in capital letters', json(/^{"method":"BREW"/), NODE_400),
  ),
  one(
    'a method with a hyphen',
    'M-SEARCH /echo',
    {},
    differ('Mongrel2 takes letters only', MONGREL2_400, json(/^{"method":"M-SEARCH"/)),
  ),
  one('a method in small letters', 'get /echo', {}, differ('Mongrel2 says more than Node', MONGREL2_400, NODE_400)),
  one('GET with a body', 'GET /has-body', { body: 'ignored' }),
  one('HEAD with a body', 'HEAD /has-body', { body: 'ignored' }),
  one('a method without a route', 'PUT /text', { body: 'x' }),
]

const targets: Case[] = [
  one('a query', 'GET /echo?a=1&b=2&a=3'),
  one('an empty query', 'GET /echo?'),
  one('blanks and plus signs in a query', 'GET /echo?q=%20+%2B'),
  one('queries as Hono reads them', 'GET /param/%E4%BD%A0?a=1&a=%20+&b'),
  one('a second question mark', 'GET /echo?a=b?c=d'),
  one('percent-encodings in a path', 'GET /echo/%E4%BD%A0%2F%25'),
  one('percent-encodings in small letters', 'GET /echo/%e4%bd%a0'),
  one(
    'a percent sign that encodes nothing',
    'GET /echo/%zz',
    {},
    differ('Mongrel2 takes only what RFC 3986 allows', MONGREL2_400, json(/%zz/)),
  ),
  one('parameters in a path', 'GET /echo/a;b=c;d,e=1'),
  one('two slashes in a path', 'GET /echo//a'),
  one('two slashes at the beginning', 'GET //echo'),
  one('two slashes and another host at the beginning', 'GET //evil.example/echo'),
  one('dots', 'GET /echo/./a/../b'),
  one('encoded dots', 'GET /echo/a/%2e%2e/b'),
  one('an asterisk and a query', 'GET /echo/*?x'),
  one(
    'an asterisk that is no path',
    'GET *?x',
    {},
    differ('Mongrel2 has no route for a target that is no path', MONGREL2_404, NODE_SERVER_400),
  ),
  one('everything that a path may hold', "GET /echo/-._~!$&'()*+,;=:@"),
  one(
    'everything that a query may hold',
    "GET /echo?-._~!$&'()*+,;=:@/?",
    {},
    differ(
      "the platform's URL encodes the apostrophe, which @hono/node-server leaves as it is",
      json(/&%27\(\)/),
      json(/&'\(\)/),
    ),
  ),
  one(
    'brackets in a query',
    'GET /echo?a[0]=1',
    {},
    differ('Mongrel2 takes only what RFC 3986 allows', MONGREL2_400, json(/a\[0\]=1/)),
  ),
  one(
    'braces in a query',
    'GET /echo?a={1}',
    {},
    differ('Mongrel2 takes only what RFC 3986 allows', MONGREL2_400, json(/a={1}/)),
  ),
  one(
    'quotes in a path',
    'GET /echo/"a"',
    {},
    differ('Mongrel2 takes only what RFC 3986 allows', MONGREL2_400, json(/%22a%22/)),
  ),
  one('a backslash', 'GET /echo\\a', {}, differ('Mongrel2 says more', MONGREL2_400, NODE_SERVER_400)),
  one(
    'UTF-8 as it is',
    'GET /echo/\xc3\xa9',
    {},
    differ('Mongrel2 says more than Node', MONGREL2_400, LLHTTP_8 ? json(/%C3%83%C2%A9/) : NODE_400),
  ),
  one('a blank', 'GET /echo/a b', {}, differ('Mongrel2 says more than Node', MONGREL2_400, NODE_400)),
  one(
    'a fragment',
    'GET /echo?a#fragment',
    {},
    differ('a fragment is not for servers: we drop it', json(/echo\?a"/), json(/echo\?a#fragment"/)),
  ),
  one('an absolute target', 'GET http://localhost/echo?a'),
  one(
    'an absolute target on another host',
    'GET http://other.example:81/echo',
    {},
    differ(
      'Mongrel2 leaves only `http:` out: no client can choose a host but by the Host field',
      notFound('nothing at //other.example:81/echo'),
      json(/"url":"http:\/\/other.example:81\/echo"/),
    ),
  ),
  one('a long query', `GET /echo?${'q'.repeat(1500)}`),
  one(
    'a target that is no path',
    'GET echo',
    {},
    differ('Mongrel2 has no route for a target that is no path', MONGREL2_404, NODE_400),
  ),
]

const fields: Case[] = [
  one('a field twice', 'GET /echo', { headers: ['X-A: 1', 'X-B: 2', 'X-A: 3'] }),
  one('a field five times', 'GET /echo', { headers: [1, 2, 3, 4, 5].map((n) => `X-A: ${n}`) }),
  one(
    'a field six times',
    'GET /echo',
    { headers: [1, 2, 3, 4, 5, 6].map((n) => `X-A: ${n}`) },
    differ('Mongrel2 hands over the first five', json(/"1, 2, 3, 4, 5"/), json(/"1, 2, 3, 4, 5, 6"/)),
  ),
  one('a field in different letters', 'GET /echo', { headers: ['X-A: 1', 'x-a: 2'] }),
  one('empty fields', 'GET /echo', { headers: ['X-Empty:', 'X-Blank:   '] }),
  one('a value close to the colon', 'GET /echo', { headers: ['X-Tight:value'] }),
  one('blanks around a value', 'GET /echo', { headers: ['X-Loose:  \t value \t '] }),
  one('a tab in a value', 'GET /echo', { headers: ['X-Tab: a\tb'] }),
  one('quotes and backslashes in a value', 'GET /echo', { headers: ['X-Quoted: "a\\b", \\"'] }),
  one('Latin-1 in a value', 'GET /echo', { headers: ['X-Latin1: caf\xe9 \xff'] }),
  one('UTF-8 in a value', 'GET /echo', { headers: ['X-Utf8: \xc3\xa9'] }),
  one(
    'a control character in a value',
    'GET /echo',
    { headers: ['X-Control: a\x01b'] },
    differ('Mongrel2 lets it through, and so does the Fetch standard', json(/"a\\u0001b"/), NODE_400),
  ),
  one(
    'a zero byte in a value',
    'GET /echo',
    { headers: ['X-Zero: a\0b'] },
    differ('Mongrel2 says more than Node', MONGREL2_400, NODE_400),
  ),
  one('everything that a name may hold', 'GET /echo', { headers: ["x!#$%&'*+-.^_`|~0: value"] }),
  one('names of the prototype', 'GET /echo', { headers: ['__proto__: x', 'constructor: y'] }),
  one('names that Mongrel2 has too', 'GET /echo', { headers: ['METHOD: JSON', 'PATH: @*', 'REMOTE_ADDR: 1.2.3.4'] }),
  one('a long value', 'GET /echo', { headers: [`X-Long: ${'v'.repeat(3000)}`] }),
  one('forty fields', 'GET /echo', { headers: Array.from({ length: 40 }, (_, n) => `X-${n}: ${n}`) }),
  one(
    'a folded value',
    'GET /echo',
    { headers: ['X-Folded: a', ' b'] },
    differ('Mongrel2 says more than Node', MONGREL2_400, NODE_400),
  ),
  one(
    'a blank behind a name',
    'GET /echo',
    { headers: ['X-Blank : a'] },
    differ('Mongrel2 says more than Node', MONGREL2_400, LLHTTP_8 ? INVALID_NAME : NODE_400),
  ),
  one('cookies in several fields', 'GET /cookies', { headers: ['Cookie: a=1; b=2', 'Cookie: c=%20', 'cookie: d="x"'] }),
  one('the field that they become', 'GET /echo', { headers: ['Cookie: a=1', 'Cookie: b=2'] }),
  one('several Accept', 'GET /echo', { headers: ['Accept: text/html', 'Accept: */*;q=0.1'] }),
  one('several Content-Type', 'GET /echo', { headers: ['Content-Type: text/plain', 'Content-Type: text/html'] }),
  one('several Authorization', 'GET /echo', { headers: ['Authorization: A', 'Authorization: B'] }),
  one(
    'X-Forwarded-For',
    'GET /forwarded-for',
    { headers: ['X-Forwarded-For: 1.2.3.4'] },
    differ("Mongrel2 puts the client's address in its place", text('127.0.0.1'), text('1.2.3.4')),
  ),
  one('X-Forwarded-Proto and -Host', 'GET /echo', {
    headers: ['X-Forwarded-Proto: https', 'X-Forwarded-Host: a.example'],
  }),
  one(
    "a name in Mongrel2's own style",
    'GET /mongrel2-headers',
    { headers: ['X-Mongrel2-Else: x'] },
    differ('what is not from Mongrel2 must not look like it', json('[null,null,null]'), json('[null,null,"x"]')),
  ),
  one(
    'a forged upload',
    'GET /mongrel2-headers',
    { headers: ['X-Mongrel2-Upload-Start: /etc/passwd', 'X-Mongrel2-Upload-Done: /etc/passwd'] },
    differ(
      'nobody but Mongrel2 may name a file',
      refusal('Upload headers are not for clients to send'),
      json(/passwd/),
    ),
  ),
  one(
    'a real upload',
    'POST /mongrel2-headers',
    { chunks: ['stored'] },
    lacks('stored uploads')
      ? ENDS
      : differ(
          'Mongrel2 says where it has stored the body',
          { ...json(/^\["(tmp\/mongrel2\.upload\.\w{6})","\1",null\]$/), afterwards: 'closed' },
          json('[null,null,null]'),
        ),
  ),
]

const hosts: Case[] = [
  one('a port', 'GET /echo', { headers: ['Host: a.example:8080'] }),
  one('capital letters', 'GET /echo', { headers: ['Host: A.Example'] }),
  one('the default port', 'GET /echo', { headers: ['Host: a.example:80'] }),
  one('an IPv6 address', 'GET /echo', { headers: ['Host: [::1]:8080'] }),
  one('an IPv4 address', 'GET /echo', { headers: ['Host: 127.0.0.1'] }),
  one('an underscore', 'GET /echo', { headers: ['Host: a_b.example'] }),
  raw(
    'none',
    'GET /echo HTTP/1.1\r\n\r\n',
    differ('our refusals say why', refusal('Host is missing'), { ...NODE_400, date: 'now' }),
  ),
  raw(
    'none, in HTTP/1.0',
    'GET /echo HTTP/1.0\r\n\r\n',
    differ(
      'HTTP/1.0 has no Host: our option `host` stands in',
      { ...json(/"url":"http:\/\/localhost\/echo"/), afterwards: 'closed' },
      { ...NODE_SERVER_400, afterwards: 'closed' },
    ),
  ),
  one(
    'two',
    'GET /echo',
    { headers: ['Host: a.example', 'Host: b.example'] },
    differ('RFC 9112 (3.2) asks for a 400', refusal('Host came twice'), json(/"url":"http:\/\/a.example\/echo"/)),
  ),
  ...[
    ['an empty one', 'Host:'],
    ['a blank', 'Host: a b'],
    ['a user', 'Host: user@a.example'],
    ['a path', 'Host: a.example/path?x#'],
    ['a port that is no number', 'Host: a.example:x'],
  ].map(([name = '', header = '']) =>
    one(
      name,
      'GET /echo',
      { headers: [header] },
      differ('our refusals say why, and close', refusal('Host is no host and port'), NODE_SERVER_400),
    ),
  ),
  one(
    'a port that is too large',
    'GET /echo',
    { headers: ['Host: a.example:65536'] },
    differ(
      'our refusals say why, and close',
      { ...refusal(''), body: /\n$/, 'content-length': /^\d+$/ },
      NODE_SERVER_400,
    ),
  ),
]

const requestBodies: Case[] = [
  one('text', 'POST /echo', { body: 'text', headers: ['Content-Type: text/plain'] }),
  one('JSON', 'POST /json', { body: '{"a":[1,"\\u00fc"]}', headers: [JSON_TYPE] }),
  one('JSON that is none', 'POST /json', { body: '{"a":', headers: [JSON_TYPE] }),
  one('JSON that is empty', 'POST /json', { body: '', headers: [JSON_TYPE] }),
  one('a form', 'POST /form', { body: 'a=1&a=%C3%BC+%26&b', headers: [FORM] }),
  one('an empty form', 'POST /form', { body: '', headers: [FORM] }),
  one('a multipart form', 'POST /form', { body: PARTS, headers: [MULTIPART] }),
  one('a multipart form that ends early', 'POST /form', { body: PARTS.subarray(0, 40), headers: [MULTIPART] }),
  one('a multipart form without a boundary', 'POST /form', {
    body: PARTS,
    headers: ['Content-Type: multipart/form-data'],
  }),
  one('a large multipart form', 'POST /form', {
    body: `${part('name="f"; filename="large"', 'x'.repeat(50_000))}--b--\r\n`,
    headers: [MULTIPART],
  }),
  one('every byte', 'POST /echo', { body: EVERY_BYTE }),
  one('every byte and back', 'POST /back', { body: EVERY_BYTE }, KNOWN_LENGTH(256)),
  one('nothing and back', 'POST /back', { body: '' }, KNOWN_LENGTH(0)),
  one('a Blob', 'POST /blob', { body: 'blob', headers: ['Content-Type: Text/X-Blob; Q=1'] }),
  one('as much as Mongrel2 keeps in memory', 'POST /hash', { body: MEDIUM }),
  one('a byte more', 'POST /hash', { body: LARGE.subarray(0, MEDIUM.length + 1) }),
  one('a mebibyte', 'POST /hash', { body: LARGE }),
  one('a mebibyte, echoed', 'PUT /echo', { body: LARGE }),
  one('a mebibyte and back', 'POST /back', { body: LARGE }),
  one('a mebibyte, cloned', 'POST /clone', { body: LARGE }),
  one('a mebibyte as a Blob', 'POST /blob', { body: LARGE, headers: ['Content-Type: x/y'] }),
  one('a mebibyte that nobody reads', 'POST /unread', { body: LARGE }),
  one('a mebibyte with PATCH', 'PATCH /echo', { body: LARGE }),
  one('a mebibyte for nobody', 'POST /nowhere', { body: LARGE }),
  one('a mebibyte and Connection: close', 'POST /hash', { body: LARGE, headers: ['Connection: close'] }),
  one('a mebibyte in HTTP/1.0', 'POST /hash', { body: LARGE, version: '1.0' }),
  one('chunks', 'POST /echo', { chunks: ['one', ' ', 'two'] }, ENDS),
  one('no chunks', 'POST /echo', { chunks: [] }, ENDS),
  one('large chunks', 'POST /hash', { chunks: Array(10).fill('c'.repeat(50_000)) }, ENDS),
  one('many chunks', 'POST /hash', { chunks: Array(1000).fill('chunk') }, ENDS),
  one(
    'a chunk over 100 KiB',
    'POST /hash',
    { chunks: ['c'.repeat(200_000)] },
    differ('Mongrel2 hangs up', NO_ANSWER, json(/^{"size":200000,/)),
  ),
  one('chunks with PATCH', 'PATCH /echo', { chunks: ['patch'] }, ENDS),
  one('chunks with GET', 'GET /has-body', { chunks: ['ignored'] }, ENDS),
  one('chunks and Connection: close', 'POST /echo', { chunks: ['chunk'], headers: ['Connection: close'] }),
  one('chunks in HTTP/1.0', 'POST /echo', { chunks: ['chunk'], version: '1.0' }),
  one(
    'chunks and a trailer',
    'POST /echo',
    {
      headers: ['Transfer-Encoding: chunked'],
      rest: '3\r\nabc\r\n0\r\nX-Trailer: x\r\n\r\n',
    },
    ENDS,
  ),
  one(
    'a chunk with an extension',
    'POST /echo',
    { headers: ['Transfer-Encoding: chunked'], rest: '3;name=value\r\nabc\r\n0\r\n\r\n' },
    differ('Mongrel2 hangs up', NO_ANSWER, json(/"body":"abc"/)),
  ),
  one('a body that nobody reads', 'POST /unread', { body: 'small' }),
  one('a body that is read twice', 'POST /twice', { body: 'once' }),
  one('a body that is cloned', 'POST /clone', { body: 'clone' }),
  one(
    'a request that is copied',
    'POST /copied?x',
    { body: 'copy' },
    differ(
      'ours is a Request of the platform; that of @hono/node-server is copied only by its own Request, which this one run leaves out',
      json('{"header":"yes","method":"POST","url":"http://localhost/copied?x","body":"copy"}'),
      { ...json(/^{"error":"TypeError"/), status: 'HTTP/1.1 500 Internal Server Error' },
    ),
  ),
  one('whether there is a body, of length 0', 'POST /has-body', { body: '' }),
  one(
    'whether there is a body, without a length',
    'POST /has-body',
    {},
    differ('RFC 9112 (6.3): without a length there is none', json('false'), json('true')),
  ),
  one('whether there is a body', 'POST /has-body', { body: 'x' }),
  one('whether there is a body, with GET', 'GET /has-body'),
  one('Expect: 100-continue', 'POST /echo', { body: 'expected', headers: ['Expect: 100-continue'] }),
  one('Expect: 100-continue and a mebibyte', 'POST /hash', { body: LARGE, headers: ['Expect: 100-continue'] }),
  one(
    'another Expect',
    'POST /echo',
    { body: 'x', headers: ['Expect: miracles'] },
    differ('Mongrel2 says more and closes', MONGREL2_417, {
      ...NODE_SERVER_400,
      status: 'HTTP/1.1 417 Expectation Failed',
    }),
  ),
]

const framing: Case[] = [
  one(
    'Content-Length and Transfer-Encoding',
    'POST /echo',
    { headers: ['Transfer-Encoding: chunked', 'Content-Length: 0'], rest: request('GET /text').toString() },
    differ('our refusals say why', refusal('Content-Length and Transfer-Encoding came together'), NODE_400),
  ),
  one(
    'two Content-Length that differ',
    'POST /echo',
    { headers: ['Content-Length: 5', 'Content-Length: 6'], rest: 'hello' },
    differ('our refusals say why', refusal('Content-Length differs from Content-Length'), NODE_400),
  ),
  one(
    'two Content-Length that agree',
    'POST /echo',
    { headers: ['Content-Length: 5', 'Content-Length: 5'], rest: 'hello' },
    differ('RFC 9110 (8.6) lets a server take them', json(/"body":"hello"/), NODE_400),
  ),
  ...[
    ['a negative Content-Length', '-5', ''],
    ['a Content-Length with a sign', '+5', 'hello'],
    ['a Content-Length that is no number', 'abc', ''],
    ['a Content-Length that is too large', '99999999999999999999', ''],
  ].map(([name = '', length, rest = '']) =>
    one(
      name,
      'POST /echo',
      { headers: [`Content-Length: ${length}`], rest },
      differ('our refusals say why', refusal('Content-Length is not a number from 0 to 2147483647'), NODE_400),
    ),
  ),
  one(
    'another coding',
    'POST /echo',
    { headers: ['Transfer-Encoding: gzip'] },
    differ('our refusals say why', refusal('Transfer-Encoding is not chunked'), NODE_400),
  ),
  one(
    'several codings',
    'POST /echo',
    { headers: ['Transfer-Encoding: gzip, chunked'], rest: renderChunks(['abc']) },
    differ('Mongrel2 sees no body and takes the chunk for a request', MONGREL2_400, json(/"body":"abc"/)),
  ),
  one(
    'chunks in capital letters',
    'POST /echo',
    { headers: ['Transfer-Encoding: CHUNKED'], rest: renderChunks(['abc']) },
    differ('Mongrel2 sees no body and takes the chunk for a request', MONGREL2_400, json(/"body":"abc"/)),
  ),
]

const responseBodies: Case[] = [
  one('text', 'GET /text'),
  one('HTML', 'GET /html'),
  one('JSON', 'GET /json'),
  one('every byte', 'GET /binary'),
  one('an empty text', 'GET /empty'),
  one('none', 'GET /null', {}, NO_LENGTH),
  one('an ArrayBuffer', 'GET /array-buffer', {}, DEFAULT_TYPE),
  one('a DataView', 'GET /data-view', {}, DEFAULT_TYPE),
  one('a Blob', 'GET /blob'),
  one('a Blob without a type', 'GET /untyped-blob', {}, DEFAULT_TYPE),
  one('URLSearchParams', 'GET /params'),
  one('FormData', 'GET /form'),
  one('a mebibyte', 'GET /large', {}, DEFAULT_TYPE),
  one('Response.json', 'GET /response-json'),
  one('text of a plain handler', 'GET /plain/text'),
]

const streams: Case[] = [
  one('one chunk', 'GET /stream/one-chunk', {}, DEFAULT_TYPE),
  one('several chunks', 'GET /stream/several', {}, DEFAULT_TYPE),
  one('slow chunks', 'GET /stream/slow', {}, DEFAULT_TYPE),
  one('no chunks', 'GET /stream/none', {}, DEFAULT_TYPE),
  one('empty chunks', 'GET /stream/empty-chunks', {}, DEFAULT_TYPE),
  one('large chunks', 'GET /stream/large', {}, DEFAULT_TYPE),
  one('many chunks', 'GET /stream/many', {}, DEFAULT_TYPE),
  one('a byte stream', 'GET /stream/bytes', {}, DEFAULT_TYPE),
  one('a length of its own', 'GET /stream/length', {}, DEFAULT_TYPE),
  one('streamText', 'GET /stream/text'),
  one('stream', 'GET /stream/hono', {}, DEFAULT_TYPE),
  one('server-sent events', 'GET /stream/sse', { headers: ['Accept: text/event-stream'] }),
  one('a TransformStream', 'GET /stream/transformed', {}, DEFAULT_TYPE),
  one(
    'one that fails at once',
    'GET /stream/fails-at-once',
    {},
    differ('we give no details', OUR_500, detailed500('Error: the source failed')),
  ),
  one('one that fails later', 'GET /stream/fails-later', {}, DEFAULT_TYPE),
  one('one that fails before its length is reached', 'GET /stream/fails-with-length', {}, DEFAULT_TYPE),
  one(
    'one that is locked',
    'GET /stream/locked',
    {},
    differ('we give no details', OUR_500, detailed500('Error: Invalid state: ReadableStream is locked')),
  ),
  one(
    'a body that was read',
    'GET /stream/used',
    {},
    differ('we give no details', OUR_500, detailed500('Error: Invalid state: ReadableStream is locked')),
  ),
  one('HEAD', 'HEAD /stream/slow'),
  one('HEAD of a length of its own', 'HEAD /stream/length'),
  one('HEAD of server-sent events', 'HEAD /stream/sse'),
]

const statuses: Case[] = [
  ...[200, 201, 202, 205, 206, 301, 400, 401, 404, 410, 422, 429, 500, 501, 503].map((status) =>
    one(String(status), `GET /status/${status}`, {}, NO_LENGTH),
  ),
  one('204', 'GET /status/204'),
  one('204 for HEAD', 'HEAD /status/204'),
  one('204 for POST', 'POST /status/204', { body: 'x' }),
  one('204 with a type', 'GET /no-content-with-type'),
  one('304', 'GET /status/304'),
  one('304 with a length', 'GET /not-modified'),
  one('304 with a length for HEAD', 'HEAD /not-modified'),
  one(
    'one without a name',
    'GET /unknown-status',
    {},
    differ('the reason is optional', { status: 'HTTP/1.1 599 ' }, { status: 'HTTP/1.1 599 unknown' }),
  ),
  one(
    'a reason of its own',
    'GET /status-text',
    {},
    differ('we send statusText', { status: 'HTTP/1.1 299 Very Fine' }, { status: 'HTTP/1.1 299 unknown' }),
  ),
]

const responseFields: Case[] = [
  one('of every kind', 'GET /headers'),
  one('with Latin-1', 'GET /latin1-header'),
  one('of 10,000 bytes', 'GET /long-header'),
  one('several Set-Cookie', 'GET /set-cookies'),
  one('a date of its own', 'GET /date'),
  one('HEAD with a length of its own', 'HEAD /length-of-head'),
  one('HEAD of a mebibyte', 'HEAD /large'),
  one('HEAD of no body', 'HEAD /null'),
  one('HEAD of an empty text', 'HEAD /empty'),
  one(
    'hop-by-hop fields',
    'GET /hop-by-hop',
    {},
    differ('they are ours to say', {}, { te: 'trailers', upgrade: 'h2c', 'proxy-connection': 'x' }),
  ),
  one(
    'Transfer-Encoding of its own',
    'GET /says-chunked',
    {},
    differ('it is ours to say, and the length is known', { 'content-length': '7' }, {}),
  ),
  one('Connection: close of its own', 'GET /says-close'),
  one(
    'a length that is too short',
    'GET /says-short',
    {},
    differ(
      'we close a connection that is out of step',
      { afterwards: 'closed' },
      { afterwards: 'out of step: expected a status line, got " longHTTP/1.1 200 OK"' },
    ),
  ),
  one('a length that is too long', 'GET /says-long', { headers: ['Connection: close'] }),
  one(
    'a length that is no number',
    'GET /says-nonsense',
    {},
    differ('we do not send it', OUR_500, {
      ...NO_ANSWER,
      status: 'HTTP/1.1 200 OK',
      'content-type': 'text/plain;charset=UTF-8',
      'content-length': 'x',
      ending: 'expected a length, got "x"',
      date: 'now',
    }),
  ),
  ...[301, 302, 303, 307, 308].map((status) => one(`redirect ${status}`, `GET /redirect/${status}`, {}, NO_LENGTH)),
  one('Response.redirect', 'GET /redirect-absolute', {}, NO_LENGTH),
]

const errors: Case[] = [
  one('not found', 'GET /nowhere'),
  one('thrown', 'GET /throw'),
  one('thrown for POST', 'POST /throw', { body: 'x' }),
  one('rejected', 'GET /reject'),
  one('HTTPException', 'GET /http-exception'),
  one('HTTPException with a response', 'GET /http-exception-response'),
  one(
    'Response.error()',
    'GET /response-error',
    {},
    differ('we give no details', OUR_500, detailed500('Error: Invalid status code: 0')),
  ),
  ...['throws', 'rejects', 'throws-text'].map((name) =>
    one(`a plain handler ${name}`, `GET /plain/${name}`, {}, differ('our 500 says so', OUR_500, NODE_SERVER_500)),
  ),
  one(
    'a plain handler returns a text',
    'GET /plain/returns-text',
    {},
    differ('we give no details', OUR_500, detailed500(/^Error: Cannot use 'in' operator .* no Response$/)),
  ),
  one(
    'a plain handler returns nothing',
    'GET /plain/returns-nothing',
    {},
    differ('our 500 says so', OUR_500, NODE_SERVER_500),
  ),
  one(
    'a plain handler returns Response.error()',
    'GET /plain/response-error',
    {},
    differ('we give no details', OUR_500, detailed500('Error: Invalid status code: 0')),
  ),
  raw('no request', 'nonsense\r\n\r\n', differ('Mongrel2 says more than Node', MONGREL2_400, NODE_400)),
  raw(
    'another version',
    'GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n',
    differ('Mongrel2 takes 1.0 and 1.1', MONGREL2_400, { ...json(/"method":"GET"/), afterwards: 'closed' }),
  ),
]

const middleware: Case[] = [
  one('compress', 'GET /gzip/text', { headers: ['Accept-Encoding: gzip'] }),
  one('compress, not accepted', 'GET /gzip/text'),
  one('compress for HEAD', 'HEAD /gzip/text', { headers: ['Accept-Encoding: gzip'] }),
  one('compress, too small', 'GET /gzip/small', { headers: ['Accept-Encoding: gzip'] }),
  one('compress of JSON', 'GET /gzip/json', { headers: ['Accept-Encoding: deflate, gzip'] }),
  one('compress of a stream', 'GET /gzip/stream', { headers: ['Accept-Encoding: gzip'] }),
  one('compress of an image', 'GET /gzip/image', { headers: ['Accept-Encoding: gzip'] }),
  one('etag', 'GET /etag/text'),
  one('etag that matches', 'GET /etag/text', { headers: [`If-None-Match: "${sha1('tagged')}"`] }),
  one('etag that does not match', 'GET /etag/text', { headers: ['If-None-Match: "x", W/"y"'] }),
  one('cors', 'GET /cors/text', { headers: ['Origin: http://a.example'] }),
  one('cors of another origin', 'GET /cors/text', { headers: ['Origin: http://b.example'] }),
  one('cors before a request', 'OPTIONS /cors/text', {
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
  one('Connection: close for a stream', 'GET /stream/slow', { headers: ['Connection: close'] }, DEFAULT_TYPE),
  one('an upgrade that is not taken', 'GET /text', { headers: ['Connection: Upgrade', 'Upgrade: h2c'] }),
  one(
    'a WebSocket',
    'GET /text',
    {
      headers: [
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ],
    },
    differ(
      'Mongrel2 waits for frames from then on: the connection is of no use for requests',
      { afterwards: 'closed' },
      { afterwards: 'open' },
    ),
  ),
  one('HTTP/1.0', 'GET /text', { version: '1.0' }),
  one('HTTP/1.0 for HEAD', 'HEAD /text', { version: '1.0' }),
  one('HTTP/1.0 for a stream', 'GET /stream/slow', { version: '1.0' }, DEFAULT_TYPE),
  one('HTTP/1.0 with keep-alive', 'GET /text', KEEP_ALIVE),
  one('HTTP/1.0 with Keep-Alive', 'GET /text', { version: '1.0', headers: ['Connection: Keep-Alive'] }),
  one('HTTP/1.0 with keep-alive for POST', 'POST /echo', { ...KEEP_ALIVE, body: 'x' }),
  one(
    'HTTP/1.0 with keep-alive for HEAD',
    'HEAD /text',
    KEEP_ALIVE,
    differ('a response to HEAD ends with its head', { afterwards: 'open' }, { afterwards: 'closed' }),
  ),
  one(
    'HTTP/1.0 with keep-alive for 204',
    'GET /status/204',
    KEEP_ALIVE,
    differ('a 204 ends with its head', { afterwards: 'open' }, { afterwards: 'closed' }),
  ),
  one('HTTP/1.0 with keep-alive for a stream', 'GET /stream/slow', KEEP_ALIVE, DEFAULT_TYPE),
  one('HTTP/1.0 with keep-alive for a stream with a length', 'GET /stream/length', KEEP_ALIVE, DEFAULT_TYPE),
  pipelined('two requests', [['GET /text'], ['GET /json']]),
  pipelined(
    'requests of which the first is slow',
    [['GET /slow'], ['GET /text'], ['GET /stream/slow'], ['GET /text']],
    inResponse(3, DEFAULT_TYPE),
  ),
  pipelined('requests with bodies', [
    ['POST /echo', { body: 'one' }],
    ['PUT /echo', { body: 'two' }],
    ['GET /text'],
    ['POST /hash', { body: MEDIUM }],
    ['HEAD /text'],
    ['GET /text'],
  ]),
  pipelined('a large body behind others', [['GET /text'], ['POST /hash', { body: LARGE }]]),
  pipelined('a body in chunks behind others', [['GET /text'], ['POST /echo', { chunks: ['th', 'ree'] }]], ENDS),
  pipelined(
    'forty requests',
    Array.from({ length: 40 }, (_, n) => [`GET /echo/${n}`]),
  ),
  pipelined('errors amid others', [['GET /text'], ['GET /throw'], ['GET /nowhere'], ['GET /text']]),
  pipelined('a request behind a body that nobody reads', [
    ['POST /unread', { body: request('GET /smuggled') }],
    ['GET /text'],
  ]),
  pipelined('a request behind GET with a body', [['GET /text', { body: request('GET /smuggled') }], ['GET /text']]),
  one('what follows a response that closes', 'GET /says-close', { rest: request('GET /text').toString() }),
  one(
    'what follows Connection: close',
    'GET /text',
    { headers: ['Connection: close'], rest: request('GET /text').toString() },
    LLHTTP_8 ? undefined : differ('we answer what came before', text('text', 'closed'), NODE_400),
  ),
  one(
    'what follows HTTP/1.0',
    'GET /text',
    { version: '1.0', rest: request('GET /text').toString() },
    LLHTTP_8 ? undefined : differ('we answer what came before', text('text', 'closed'), NODE_400),
  ),
  raw(
    'empty lines before a request',
    `\r\n\r\n${request('GET /text')}`,
    differ('Mongrel2 expects the request at once', MONGREL2_400, text('text')),
  ),
  raw(
    'lines that end without a carriage return',
    'GET /text HTTP/1.1\nHost: localhost\n\n',
    differ('Mongrel2 takes them', text('text'), NODE_400),
  ),
  one('a signal that is not aborted', 'GET /aborted'),
]

/** All of them, by what they are about. */
export const cases: Readonly<Record<string, readonly Case[]>> = {
  methods,
  targets,
  'fields of requests': fields,
  hosts,
  'bodies of requests': requestBodies,
  'framing of requests': framing,
  'bodies of responses': responseBodies,
  streams,
  statuses,
  'fields of responses': responseFields,
  errors,
  middleware,
  connections,
}
