const HOST = 'Host: localhost'
const BAD_HOST = 'Host is no host and port'
const BAD_LENGTH = 'Content-Length is not a number from 0 to 2147483647'
const BAD_CODING = 'Transfer-Encoding is not chunked'
const BOTH = 'Content-Length and Transfer-Encoding came together'
const DIFFER = 'Content-Length differs from Content-Length'

/** Fields of requests that are refused, and why; where there is a body, it is as long as Mongrel2 takes it to be. */
export const REFUSED: readonly [fields: string[], reason: string, body?: string][] = [
  [[], 'Host is missing'],
  [[HOST, HOST], 'Host came twice'],
  ...['', ' ', 'a b', 'user@h', 'h/a?b#c', 'h:x', 'h:80:80', '[::1', 'a\\b', '\xe9', 'h\xa0', '\xa0h', 'h%zz'].map(
    (host): [string[], string] => [[`Host: ${host}`], BAD_HOST],
  ),
  [[HOST, 'Content-Length: 5', 'Transfer-Encoding: chunked'], BOTH, 'hello'],
  [[HOST, 'Transfer-Encoding: chunked', 'Content-Length: 5'], BOTH, 'hello'],
  [[HOST, 'Transfer-Encoding: chunked', 'Content-Length: 0'], BOTH],
  [[HOST, 'Transfer-Encoding: identity', 'Content-Length: 0'], BOTH],
  [[HOST, 'Content-Length: 5', 'Content-Length: 6'], DIFFER, 'hello'],
  [[HOST, 'Content-Length: 0', 'Content-Length: 5'], DIFFER],
  [[HOST, 'Content-Length: 5', 'Content-Length: 05'], DIFFER, 'hello'],
  [[HOST, 'Content-Length: 5', 'Content-Length: 5', 'Content-Length: 6'], DIFFER, 'hello'],
  ...['', 'chunked ', 'chunked\t', 'Chunked', '\xa0chunked', 'chunked;q=1', 'gzip', 'gzip, chunked', 'identity'].map(
    (coding): [string[], string] => [[HOST, `Transfer-Encoding: ${coding}`], BAD_CODING],
  ),
  [
    [HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    'Transfer-Encoding came twice',
    '5\r\nhello\r\n0\r\n\r\n',
  ],
  [[HOST, 'Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'], 'Transfer-Encoding came twice'],
  ...[
    '',
    '-5',
    'abc',
    '0x5',
    '\xa05',
    '2147483648',
    '99999999999',
    '99999999999999999999',
    '-99999999999999999999',
  ].map((length): [string[], string] => [[HOST, `Content-Length: ${length}`], BAD_LENGTH]),
  ...['+5', '5.0', '5x', '5, 5', '5 5', '5\xa0', '\x0b5'].map((length): [string[], string, string] => [
    [HOST, `Content-Length: ${length}`],
    BAD_LENGTH,
    'hello',
  ]),
]
