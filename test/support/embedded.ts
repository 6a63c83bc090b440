/** Whether the tests run on the embedded front in Mongrel2's place: with the environment variable FRONT=embedded. */
export const embedded: boolean = process.env.FRONT === 'embedded'

/** What Mongrel2 does and the embedded front does not, as docs/gateway.md lists it. */
export const LACKS = {
  'stored uploads': 'It stores no bodies in files: large ones arrive as with `upload.stream`.',
  'control port': 'It has no control port.',
  'kept connections':
    "Each request is a connection of its own to its handler, and ends with its answer. The client's connection goes on.",
  'lenient parser':
    'It parses HTTP as Node does. A request that Mongrel2 lets through may be a 400 here, and one that Mongrel2 refuses may arrive.',
  'idle kill':
    'It does not end a connection that waits for its handler. It accepts `ctl keep-alive`, which has no effect.',
  'message sockets': 'It has no JSON or XML sockets, and no `@` routes.',
  'own answers':
    'Its own answers (400, 404, 405, 408, 413, 417, 431, 502, 503) have other texts, and name another server.',
  'small packets':
    'A request may arrive in any number of packets; Mongrel2 refuses a head that comes in many small ones.',
  'other settings':
    'It has only the settings `upload.stream`, `download.flow_control`, `no_clobber_xff`, `limits.buffer_size` and `limits.content_length`.',
  'silent WebSocket failures':
    'It sends a close frame (1002 or 1009) to a client whose WebSocket frames are malformed. Mongrel2 ends the connection without one.',
  'blocked by a notice':
    'It serves on while no handler pulls its messages. Mongrel2 stops at a notice until a handler pulls it.',
  'crash on malformed replies':
    'It drops a malformed reply and logs it. Mongrel2 waits for the rest, or crashes on an extended one.',
} as const

/** For `it.skipIf` and `describe.skipIf`: whether what runs lacks what a test is about. */
export function lacks(what: keyof typeof LACKS): boolean {
  return embedded && what in LACKS
}
