import type { STATUS_CODES } from 'node:http'
import type { HeaderField } from './headers.ts'

const CRLF = '\r\n'

/** Marks a deferred response. It is never sent. */
export const DEFERRED_FIELD = 'x-mongrel2-deferred'

/** Fields about one connection (RFC 9110, section 7.6.1). */
export const HOP_BY_HOP: readonly string[] = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/**
 * Fields that a handler cannot set: those about one connection, those of an accepted handshake, and the mark of a deferred response.
 * Middleware such as Hono's may copy them into another response.
 */
const RESERVED = new Set([
  ...HOP_BY_HOP,
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
  DEFERRED_FIELD,
])

/** Whether a handler cannot set a field, by its name in lower case. */
export function isReserved(name: string): boolean {
  return RESERVED.has(name)
}

/** Taken from Node when the first is needed: an import of `node:http` loads everything that it exports, its implementation of fetch too. */
let reasons: typeof STATUS_CODES | undefined

/** The end of a chunked body without trailers (RFC 9112, section 7.1). */
export const LAST_CHUNK: Buffer = Buffer.from('0\r\n\r\n', 'latin1')

/** Follows a chunk's data. */
export const CHUNK_END: Buffer = Buffer.from(CRLF, 'latin1')

/** The reason phrase that goes with a status; empty for an unknown one. */
export function reasonOf(status: number): string {
  reasons ??= process.getBuiltinModule('node:http').STATUS_CODES
  return reasons[status] ?? ''
}

/** Renders a response's status line and header section (RFC 9112, sections 4 and 5), the empty line included. */
export function renderHead(status: number, reason: string, fields: readonly HeaderField[]): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}${CRLF}`
  for (const [name, value] of fields) head += `${name}: ${value}${CRLF}`
  return Buffer.from(head + CRLF, 'latin1')
}

/** Renders the line before a chunk's data: its size in hexadecimal digits. */
export function renderChunkSize(size: number): Buffer {
  return Buffer.from(size.toString(16) + CRLF, 'latin1')
}

/** Renders a whole chunk. */
export function renderChunk(data: Uint8Array): Buffer {
  return Buffer.concat([renderChunkSize(data.length), data, CHUNK_END])
}

let dateText = ''
let dateSecond = 0

/** The present time in HTTP's format (RFC 9110, section 5.6.7), made once a second. */
export function httpDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}

/** The fields of an event besides its data. */
export interface EventFields {
  /** The event's type, which a page listens for. Default: `message`. */
  readonly event?: string
  /** The `Last-Event-ID` that the page sends when it reconnects. */
  readonly id?: string
}

/** Renders an event of `text/event-stream` (HTML standard, section 9.2). Fields have no line breaks, and an id no U+0000. */
export function renderEvent(data: string, { event, id }: EventFields = {}): Buffer {
  let text = ''
  if (id !== undefined) text += `id: ${id}\n`
  if (event !== undefined) text += `event: ${event}\n`
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`
  return Buffer.from(`${text}\n`)
}

/** A token (RFC 9110, section 5.6.2), such as a method or a field's name. */
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** The items of a comma-separated list (RFC 9110, section 5.6.1), in their original case. */
export function listItemsAsWritten(value: string): string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** The items of a comma-separated list, in lower case. */
export function listItems(value: string): string[] {
  return listItemsAsWritten(value.toLowerCase())
}
