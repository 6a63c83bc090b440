/** Whether the tests run on the embedded front in Mongrel2's place: with the environment variable FRONT=embedded. */
export const embedded: boolean = process.env.FRONT === 'embedded'

/** What Mongrel2 does and the embedded front does not, as the README lists it. */
export const LACKS = {
  'stored uploads': 'It stores no bodies in files: `upload.temp_store` is `stream` there.',
  'control port': 'It has no control port.',
  'kept connections':
    'Each request is a connection of its own to its handler and ends with its answer, which the header SINGLE_REQUEST tells our handlers; the connection to the client goes on.',
  'lenient parser':
    'It parses HTTP as Node does: what Mongrel2 lets through and leaves to the handler may be a 400, and what it refuses may arrive.',
  'idle kill': 'It does not end a connection that waits for its handler; `ctl keep-alive` is taken and means nothing.',
  'message sockets': 'It knows no JSON or XML sockets, and no `@` routes.',
  'own answers': 'Its own answers (400, 404, 405, 408, 413, 417, 431, 502, 503) are others, and name another server.',
  'small packets': 'It reads a request in however many packets it comes.',
  'other settings':
    'It has the settings `upload.stream`, `download.flow_control`, `no_clobber_xff`, `limits.buffer_size` and `limits.content_length` only.',
  'crash on malformed replies':
    'It drops a malformed reply and says so; Mongrel2 waits, or crashes on an extended one.',
} as const

/** For `it.skipIf` and `describe.skipIf`: whether what runs lacks what a test is about. */
export function lacks(what: keyof typeof LACKS): boolean {
  return embedded && what in LACKS
}
