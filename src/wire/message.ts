import { MessageHeaders } from './headers.ts'
import { MalformedError } from './malformed.ts'
import { type Span, spanAt } from './tnetstring.ts'

/**
 * What Mongrel2 sends: `SENDER SP CONN_ID SP PATH SP netstring(HEADERS) netstring(BODY)`, HEADERS being a tnetstring
 * dictionary or JSON, as the route's `protocol` says; the message itself tells which.
 */
export interface Message {
  /** The Handler's `send_ident`; goes back unchanged in each reply. */
  readonly sender: string
  /** The connection's number, unique in one life of that Mongrel2. */
  readonly connectionId: number
  /** The request's path as the client wrote it, `@route` or `@*`. */
  readonly path: string
  readonly headers: MessageHeaders
  readonly body: Buffer
}

const SPACE = 32
const ZERO = 48
const DICTIONARY = 0x7d
const STRING = 0x2c
/** What Mongrel2 can read in a reply's SENDER (`UUID` in its handler_parser.rl). */
const SENDER = /^[A-Za-z0-9-]+$/
/** Mongrel2 counts connections in a C `int`. */
const CONNECTION_ID_DIGITS = 10

/** The last SENDER that was found right: it is the same in all messages of a Handler. */
let lastSender = ''

/** What a message begins with. */
export type Envelope = Pick<Message, 'sender' | 'connectionId' | 'path'>

/**
 * Parses what a message begins with, for somebody who passes it on.
 *
 * @throws MalformedError when the bytes are no message's beginning.
 */
export function parseEnvelope(bytes: Buffer): Envelope {
  const senderEnd = spaceAfter(bytes, 0, 'SENDER')
  const idEnd = spaceAfter(bytes, senderEnd + 1, 'CONN_ID')
  const pathEnd = spaceAfter(bytes, idEnd + 1, 'PATH')
  const connectionId = numberAt(bytes, senderEnd + 1, idEnd)
  const text = bytes.toString('latin1', 0, pathEnd)
  return { sender: senderIn(text, senderEnd), connectionId, path: text.slice(idEnd + 1) }
}

/**
 * Parses a message.
 *
 * @throws MalformedError when the bytes are none.
 */
export function parseMessage(bytes: Buffer): Message {
  const senderEnd = spaceAfter(bytes, 0, 'SENDER')
  const idEnd = spaceAfter(bytes, senderEnd + 1, 'CONN_ID')
  const pathEnd = spaceAfter(bytes, idEnd + 1, 'PATH')
  const connectionId = numberAt(bytes, senderEnd + 1, idEnd)
  const headers = spanAt(bytes, pathEnd + 1, bytes.length)
  const body = spanAt(bytes, headers.end + 1, bytes.length)
  if (body.type !== STRING) throw new MalformedError('the body is no netstring')
  if (body.end + 1 !== bytes.length) throw new MalformedError(`${bytes.length - body.end - 1} bytes follow the body`)

  // One text for all: cutting it costs next to nothing, each call of the decoder does.
  const text = bytes.toString('latin1', 0, headers.end)
  return {
    sender: senderIn(text, senderEnd),
    connectionId,
    path: text.slice(idEnd + 1, pathEnd),
    headers: headersIn(bytes, text, headers),
    body: bytes.subarray(body.start, body.end),
  }
}

function spaceAfter(bytes: Buffer, offset: number, what: string): number {
  const at = bytes.indexOf(SPACE, offset)
  if (at <= offset) throw new MalformedError(`expected ${what} and a space at byte ${offset}`)
  return at
}

function numberAt(bytes: Buffer, start: number, end: number): number {
  let number = 0
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO
    if (digit < 0 || digit > 9 || end - start > CONNECTION_ID_DIGITS) {
      const text = bytes.toString('latin1', start, Math.min(end, start + 40))
      throw new MalformedError(`expected a connection's number, got ${JSON.stringify(text)}`)
    }
    number = number * 10 + digit
  }
  return number
}

function senderIn(text: string, end: number): string {
  if (end === lastSender.length && text.startsWith(lastSender)) return lastSender
  const sender = text.slice(0, end)
  if (!SENDER.test(sender)) {
    throw new MalformedError(
      `the send_ident ${JSON.stringify(sender.slice(0, 80))} has characters that Mongrel2 cannot read in a reply: ` +
        'give the Handler one of letters, digits and hyphens',
    )
  }
  lastSender = sender
  return sender
}

function headersIn(bytes: Buffer, text: string, { start, end, type }: Span): MessageHeaders {
  if (type === DICTIONARY) return MessageHeaders.fromTnetstring(bytes, text, start, end)
  if (type === STRING) return MessageHeaders.fromJson(text, start, end)
  throw new MalformedError(
    `expected headers as a dictionary or as JSON, got type ${JSON.stringify(String.fromCharCode(type))}`,
  )
}
