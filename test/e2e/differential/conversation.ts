/** What a client sends, and how many responses it waits for. */
export interface Conversation {
  /** Written at once, text as Latin-1. */
  readonly send: string | Uint8Array
  /** The methods of the requests in it: one response each, and a response to HEAD has no body. */
  readonly methods: readonly string[]
}

/** What a request has beside its method and target. */
export interface Parts {
  readonly version?: '1.0' | '1.1'
  /** Fields as they are, beside Host and what the body needs. */
  readonly headers?: readonly string[]
  /** Sent with its Content-Length. */
  readonly body?: string | Uint8Array
  /** Sent as chunks. */
  readonly chunks?: readonly string[]
  /** Sent behind the empty line as it is. */
  readonly rest?: string
}

/** The bytes of a request, of which the line is given as `METHOD TARGET`. */
export function request(line: string, { version = '1.1', headers = [], body, chunks, rest = '' }: Parts = {}): Buffer {
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ['Host: localhost']
  const framing = body !== undefined ? [`Content-Length: ${body.length}`] : chunks ? ['Transfer-Encoding: chunked'] : []
  const head = [`${line} HTTP/${version}`, ...host, ...headers, ...framing, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body ?? (chunks ? renderChunks(chunks) : rest))])
}

/** A chunked body without trailers. */
export function renderChunks(chunks: readonly string[]): string {
  return [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')
}

/** The method of a line such as `GET /text`. */
export function methodOf(line: string): string {
  return line.slice(0, line.indexOf(' '))
}
