import type { Expected } from '../../e2e/differential/difference.ts'

/** What a front server changes by itself in cases of the differential suite. */
interface Change {
  /** Beginnings of the names of ways. */
  readonly ways: readonly string[]
  readonly why: string
  /** Patterns of the beginning of `GROUP: NAME`. */
  readonly cases: readonly string[]
  /** The status of the front server's own answer; or what the client sees in each value that is not the same. */
  readonly seen: number | Expected
}

/** A case that is refused by plain HTTP too. */
const AS_BY_US = 'refused by the front server as by us'
const NGINX_BY_VARIABLES = ['nginx uwsgi', 'nginx fastcgi', 'nginx scgi']
const ALL = ['nginx', 'Apache', 'lighttpd']

/** An answer of the app to a request that Node refuses. */
const passed = (body: RegExp): Expected => ({ status: 'HTTP/1.1 200 OK', 'content-type': 'application/json', body })
const MALFORMED_FIELDS = ['a zero byte in a value', 'a blank behind a name'].map(
  (name) => `fields of requests: ${name}`,
)

const AFTER_500: Expected = Object.fromEntries([
  ...['3: status', '3: content-type', '4: status', '4: content-type', '3: body', '4: body', '4: ending'].map((name) => [
    name,
    'nothing',
  ]),
  ['3: ending', 'the connection ended amid a response'],
])

/** The first that fits counts. */
export const CHANGES: readonly Change[] = [
  {
    ways: ['Apache'],
    why: 'Apache says its own name',
    cases: ['hosts: none, in HTTP/1.0'],
    seen: { body: /\["host","localhost:\d+"\]/ },
  },
  // Requests that a front server refuses
  {
    ways: ALL,
    why: AS_BY_US,
    cases: [
      'targets: an asterisk that is no path',
      'targets: a target that is no path',
      'errors: no request',
      'hosts: none$',
      ...MALFORMED_FIELDS,
      'hosts: two',
      'hosts: an empty one',
      'hosts: a blank',
      'hosts: a path',
      'framing of requests: two Content-Length',
      'framing of requests: a negative Content-Length',
      'framing of requests: a Content-Length',
    ],
    seen: 400,
  },
  {
    ways: ['Apache uwsgi', 'Apache scgi'],
    why: 'Apache wants a length by these protocols',
    cases: [
      'fields of requests: a real upload',
      'bodies of requests: chunks',
      'bodies of requests: no chunks',
      'bodies of requests: large chunks',
      'bodies of requests: many chunks',
      'bodies of requests: a chunk',
      'framing of requests: Content-Length and',
      'framing of requests: chunks in capital letters',
    ],
    seen: 411,
  },
  {
    ways: ALL,
    why: AS_BY_US,
    cases: ['framing of requests: Content-Length and'],
    seen: 400,
  },
  {
    ways: ['nginx', 'Apache'],
    why: AS_BY_US,
    cases: ['targets: a blank'],
    seen: 400,
  },
  {
    ways: ['Apache', 'lighttpd'],
    why: AS_BY_US,
    cases: ['hosts: a user', 'hosts: a port that is', 'fields of requests: a control character in a value'],
    seen: 400,
  },
  { ways: ['nginx'], why: AS_BY_US, cases: ['fields of requests: a folded value'], seen: 400 },
  {
    ways: ['nginx', 'lighttpd'],
    why: 'the front server does not know the coding',
    cases: ['framing of requests: another coding', 'framing of requests: several codings'],
    seen: 501,
  },
  {
    ways: ['nginx', 'lighttpd'],
    why: 'refused by the front server, which is stricter',
    cases: ['methods: CONNECT', 'bodies of requests: chunks in HTTP/1.0'],
    seen: 400,
  },
  {
    ways: ['nginx', 'Apache'],
    why: 'refused by the front server, which is stricter',
    cases: ['targets: a percent sign'],
    seen: 400,
  },
  {
    ways: ['nginx'],
    why: 'refused by nginx, which is stricter',
    cases: [
      'methods: OPTIONS of the whole',
      'fields of requests: several Authorization',
      'methods: a method in small letters',
    ],
    seen: 400,
  },
  { ways: ['nginx proxy'], why: 'nginx speaks HTTP/1.1 to us', cases: ['hosts: none, in'], seen: 400 },
  { ways: ['nginx'], why: 'nginx has no TRACE', cases: ['methods: TRACE'], seen: 405 },
  { ways: ['nginx', 'lighttpd'], why: 'it does not have the version', cases: ['errors: another version'], seen: 505 },
  {
    ways: ['Apache'],
    why: 'refused by Apache, which is stricter',
    cases: ['targets: a fragment', 'connections: lines that end without', 'framing of requests: another coding'],
    seen: 400,
  },
  { ways: ['Apache'], why: AS_BY_US, cases: ['bodies of requests: another Expect'], seen: 417 },
  {
    ways: ['Apache uwsgi', 'Apache scgi'],
    why: 'Apache does not know the coding by these protocols',
    cases: ['framing of requests: several codings'],
    seen: 501,
  },
  {
    ways: ['Apache uwsgi', 'Apache scgi'],
    why: 'Apache wants a length by these protocols',
    cases: ['connections: a body in chunks behind others'],
    seen: 411,
  },
  {
    ways: ['lighttpd'],
    why: 'refused by lighttpd, which is stricter',
    cases: [
      'methods: GET with a body',
      'methods: HEAD with a body',
      'targets: an absolute target on',
      'fields of requests: several Content-Type',
      'hosts: an underscore',
      'bodies of requests: chunks with GET',
      'connections: empty lines before',
      'connections: lines that end without',
      'connections: a request behind GET',
    ],
    seen: 400,
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd wants a length for POST',
    cases: ['methods: POST without a length', 'bodies of requests: whether there is a body, without'],
    seen: 411,
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd does not know the method',
    cases: [
      'methods: a method that',
      'methods: a method with a hyphen',
      'methods: a method in small',
      'methods: PURGE',
    ],
    seen: 501,
  },

  // Requests that it changes
  {
    ways: ['nginx'],
    why: 'nginx passes on the path, and the field Host',
    cases: ['targets: an absolute target on'],
    seen: passed(/"url":"http:\/\/localhost\/echo"/),
  },
  {
    ways: ['Apache'],
    why: 'Apache takes the host for Host',
    cases: ['targets: an absolute target on'],
    seen: passed(/"url":"http:\/\/other.example:81\/echo"/),
  },
  {
    ways: ['cgi-fcgi'],
    why: 'it is no name of a field, and left out',
    cases: ['fields of requests: everything that a name'],
    seen: { body: /"value"/ },
  },
  {
    ways: ['lighttpd', 'cgi-fcgi'],
    why: 'CGI has no other characters in names than letters, digits and _, which stands for -',
    cases: ['fields of requests: everything that a name'],
    seen: { body: /\["x-+0","value"\]/ },
  },
  {
    ways: ['lighttpd', 'cgi-fcgi'],
    why: 'in names of CGI _ stands for -',
    cases: ['fields of requests: names'],
    seen: { body: /\["--proto--","x"\]|\["remote-addr","1.2.3.4"\]/ },
  },
  {
    ways: ['nginx', 'Apache'],
    why: 'it drops a field with other characters in its name than letters, digits and -',
    cases: ['fields of requests: everything that a name', 'fields of requests: names'],
    seen: { body: /^(?!.*(?:__proto__|remote.addr|x!))/ },
  },
  {
    ways: ['nginx', 'Apache fastcgi', 'lighttpd', 'cgi-fcgi'],
    why: 'it has collected the body, and says its length',
    cases: [
      'bodies of requests: chunks(?: in| and| with PATCH|$)',
      'bodies of requests: no chunks',
      'bodies of requests: a chunk with',
    ],
    seen: { body: /\["content-length","\d+"\]/ },
  },
  {
    ways: ['nginx', 'Apache fastcgi', 'lighttpd', 'cgi-fcgi'],
    why: 'it has collected the body, and says its length',
    cases: ['connections: a body in chunks behind'],
    seen: { '2: body': /\["content-length","\d+"\]/ },
  },
  {
    ways: ['nginx', 'Apache fastcgi', 'lighttpd', 'cgi-fcgi'],
    why: 'it knows the coding also by this name',
    cases: ['framing of requests: chunks in capital', 'framing of requests: several codings'],
    seen: passed(/"body":"abc"/),
  },
  {
    ways: ['nginx proxy', 'lighttpd'],
    why: 'Expect is for the front server',
    cases: ['bodies of requests: Expect: 100-continue$'],
    seen: { body: /^(?!.*"expect")/ },
  },
  {
    ways: ['nginx', 'lighttpd'],
    why: 'it does not look at other expectations',
    cases: ['bodies of requests: another Expect'],
    seen: passed(/"body":"x"/),
  },
  {
    ways: ['nginx'],
    why: 'nginx takes them',
    cases: ['connections: lines that end without'],
    seen: { status: 'HTTP/1.1 200 OK', 'content-type': 'text/plain;charset=UTF-8', body: 'text' },
  },
  {
    ways: [...NGINX_BY_VARIABLES, 'Apache'],
    why: 'it takes other methods than Node',
    cases: ['methods: a method that', 'methods: a method in small'],
    seen: passed(/"method":"(?:BREW|get)"/),
  },
  {
    ways: [...NGINX_BY_VARIABLES, 'Apache', 'lighttpd'],
    why: 'it takes other characters than Node',
    cases: ['targets: UTF-8 as it is'],
    seen: passed(/%C3%A9/),
  },
  {
    ways: NGINX_BY_VARIABLES,
    why: 'nginx takes it, and so does the Fetch standard',
    cases: ['fields of requests: a control character'],
    seen: passed(/"a\\u0001b"/),
  },
  {
    ways: [...NGINX_BY_VARIABLES, 'cgi-fcgi'],
    why: 'the first counts',
    cases: ['fields of requests: several Content-Type'],
    seen: { body: /\["content-type","text\/plain"\]/ },
  },
  {
    ways: ['nginx scgi', 'Apache scgi'],
    why: 'SCGI has a length always',
    cases: ['methods: POST without a length'],
    seen: { body: /\["content-length","0"\]/ },
  },
  {
    ways: ['nginx scgi', 'Apache scgi'],
    why: 'SCGI has a length always',
    cases: ['bodies of requests: whether there is a body, without'],
    seen: { body: 'true' },
  },
  {
    ways: ['Apache', 'lighttpd'],
    why: 'it unfolds the value',
    cases: ['fields of requests: a folded value'],
    seen: passed(/\["x-folded","a +b"\]/),
  },
  {
    ways: ['Apache'],
    why: 'Apache joins them by commas',
    cases: ['fields of requests: cookies in several'],
    seen: { body: '{"a":"1"}' },
  },
  {
    ways: ['Apache'],
    why: 'Apache joins them by commas',
    cases: ['fields of requests: the field that they become'],
    seen: { body: /"a=1, b=2"/ },
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd encodes it',
    cases: ['targets: a blank'],
    seen: passed(/\/echo\/a%20b/),
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd drops them',
    cases: ['fields of requests: empty fields'],
    seen: { body: /^(?!.*"x-empty")/ },
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd has it in small letters and without the default port',
    cases: ['hosts: capital letters', 'hosts: the default port'],
    seen: { body: /\["host","a.example"\]/ },
  },
  // Requests that it answers itself
  {
    ways: ['Apache', 'lighttpd'],
    why: 'answered by the front server',
    cases: ['methods: OPTIONS of the whole'],
    seen: 200,
  },
  { ways: ['Apache'], why: 'a target that is no path of the app', cases: ['methods: CONNECT'], seen: 404 },
  // Answers that it changes
  {
    ways: ['nginx fastcgi', 'nginx scgi'],
    why: 'nginx sends a status line without its second blank, which the client here does not take',
    cases: ['statuses: one without a name'],
    seen: {
      status: 'nothing',
      'content-type': 'nothing',
      body: 'nothing',
      ending: 'expected a status line, got "HTTP/1.1 599"',
    },
  },
  {
    ways: ['Apache uwsgi'],
    why: 'a line that is too long for it',
    cases: ['fields of responses: of 10,000 bytes'],
    seen: 502,
  },
  {
    ways: ['Apache'],
    why: 'a line that is too long for it',
    cases: ['fields of responses: of 10,000 bytes'],
    seen: 500,
  },
  {
    ways: ['Apache'],
    why: 'Apache writes it anew',
    cases: ['middleware: cors before'],
    seen: { vary: /^Origin, ?Access/ },
  },
  {
    ways: ['Apache fastcgi', 'Apache scgi'],
    why: 'Apache drops it',
    cases: ['statuses: 204 with a type'],
    seen: { 'content-type': 'nothing' },
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd has its own reasons',
    cases: ['statuses: a reason', 'errors: HTTPException$'],
    seen: { status: /^HTTP\/1.1 (?:299|418) $/ },
  },
  {
    ways: ['lighttpd'],
    why: 'lighttpd drops an empty field',
    cases: ['fields of responses: of every kind'],
    seen: { 'x-empty': 'nothing' },
  },
  {
    ways: ['Apache uwsgi', 'lighttpd'],
    why: 'it leaves out the length of what is not sent',
    cases: ['statuses: 304 with a length'],
    seen: { 'content-length': 'nothing' },
  },
  {
    ways: ['Apache'],
    why: 'Apache closes after a 500',
    cases: ['connections: errors amid'],
    seen: AFTER_500,
  },
  // What differs is Node, which runs cgi-fcgi
  {
    ways: ['cgi-fcgi'],
    why: AS_BY_US,
    cases: [
      'methods: a method that',
      'methods: a method in small',
      'targets: UTF-8',
      'targets: a blank',
      'targets: a target that',
      'fields of requests: a control',
      'fields of requests: a folded',
      ...MALFORMED_FIELDS,
      'framing of requests: Content-Length and',
      'framing of requests: two Content-Length',
      'framing of requests: a negative Content-Length',
      'framing of requests: a Content-Length',
      'framing of requests: another coding',
      'errors: no request',
      'connections: lines that end without',
      'connections: what follows (?:Connection|HTTP/1.0)',
    ],
    seen: 400,
  },
  { ways: ['cgi-fcgi'], why: AS_BY_US, cases: ['bodies of requests: another Expect'], seen: 417 },
  {
    ways: ['cgi-fcgi'],
    why: 'variables of the environment are encoded in UTF-8',
    cases: ['fields of requests: Latin-1', 'fields of requests: UTF-8'],
    seen: { body: /Ã/ },
  },
  {
    ways: ['cgi-fcgi'],
    why: 'it does not look at Host',
    cases: ['hosts: none$', 'hosts: an empty one'],
    seen: passed(/"url":"http:\/\/localhost\/echo"/),
  },
  {
    ways: ['cgi-fcgi'],
    why: 'Node hangs up',
    cases: ['methods: CONNECT'],
    seen: {
      ...{ status: 'nothing', 'content-type': 'nothing', body: 'nothing' },
      ending: 'the connection ended amid a response',
    },
  },
  {
    ways: ['cgi-fcgi'],
    why: 'it joins the two',
    cases: ['hosts: two'],
    seen: { body: 'Host is no host and port\n' },
  },
]

/** They leave out the length of what they pass on. */
export const WITHOUT_LENGTH: readonly string[] = ['Apache fastcgi', 'Apache scgi']
