import type { HeaderField } from './headers.ts'

const CRLF = '\r\n'

/** The end of a chunked body without trailers (RFC 9112, section 7.1). */
export const LAST_CHUNK: Buffer = Buffer.from('0\r\n\r\n', 'latin1')

/** What follows a chunk's data. */
export const CHUNK_END: Buffer = Buffer.from(CRLF, 'latin1')

/** Renders a response's status line and header section (RFC 9112, sections 4 and 5), the empty line included. */
export function renderHead(status: number, reason: string, fields: readonly HeaderField[]): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}${CRLF}`
  for (const [name, value] of fields) head += `${name}: ${value}${CRLF}`
  return Buffer.from(head + CRLF, 'latin1')
}

/** Renders what precedes a chunk's data: its size in hexadecimal digits. */
export function renderChunkSize(size: number): Buffer {
  return Buffer.from(size.toString(16) + CRLF, 'latin1')
}

/** Renders a chunk: its size, its data and what follows it. */
export function renderChunk(data: Uint8Array): Buffer {
  return Buffer.concat([renderChunkSize(data.length), data, CHUNK_END])
}

/**
 * A header of ours, which no Mongrel2 sends: the request is the only one of its connection, which the handler closes behind the answer.
 * Clients cannot write it, since their headers' names come in small letters.
 */
export const SINGLE_REQUEST = 'SINGLE_REQUEST'
