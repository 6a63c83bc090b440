// What a client can write about uploads that only Mongrel2 may say.

export const START = 'X-Mongrel2-Upload-Start'
export const DONE = 'X-Mongrel2-Upload-Done'

/** A file as Mongrel2 makes them, that is none of its. */
export const VICTIM = 'tmp/mongrel2.upload.VICTIM'

/** Fields that name a path. */
export const FORMS: readonly [form: string, fields: (path: string) => string[]][] = [
  ['start', (path) => [`${START}: ${path}`]],
  ['done', (path) => [`${DONE}: ${path}`]],
  ['both', (path) => [`${START}: ${path}`, `${DONE}: ${path}`]],
  ['start twice', (path) => [`${START}: ${path}`, `${START}: ${path}`]],
  ['done twice', (path) => [`${DONE}: ${path}`, `${DONE}: ${path}`]],
  ['both twice', (path) => [`${START}: ${path}`, `${START}: ${path}`, `${DONE}: ${path}`, `${DONE}: ${path}`]],
  ['a start and the done of another', (path) => [`${START}: ${VICTIM}`, `${DONE}: ${path}x`]],
]

/** Requests whose bodies Mongrel2 does not store. */
export const PLAIN: readonly [what: string, framing: string[], body: string][] = [
  ['without a body', [], ''],
  ['of no bytes', ['Content-Length: 0'], ''],
  ['with a body in memory', ['Content-Length: 5'], 'hello'],
]

/** What leaves the body empty and the client's own fields alone, though it looks like a body that was stored. */
export const UNCLEAR: readonly [what: string, framing: string[]][] = [
  ['of no bytes and in chunks', ['Content-Length: 0', 'Transfer-Encoding: chunked']],
  ['with a length that is too large', ['Content-Length: 99999999999']],
  ['with a negative length', ['Content-Length: -5']],
  ['with a length that is no number', ['Content-Length: abc']],
  ['with a length behind a no-break space', ['Content-Length: \xa040000']],
  ['in chunks of another name', ['Transfer-Encoding: Chunked']],
  ['in chunks with a blank behind', ['Transfer-Encoding: chunked ']],
]

/** Over `limits.content_length`: Mongrel2 stores it. */
export const LARGE = Buffer.from(Array.from({ length: 40_000 }, (_, at) => at % 251))
export const IN_CHUNKS = Buffer.concat([
  Buffer.from(`${LARGE.length.toString(16)}\r\n`),
  LARGE,
  Buffer.from('\r\n0\r\n\r\n'),
])

/** Lengths that make Mongrel2 store `LARGE`, and that are none. */
export const STORED_LENGTHS = ['+40000', '40000x', '40000, 40000', '40000\xa0', '\x0b40000', '040000 ']
