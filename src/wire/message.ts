import { MessageHeaders } from './headers.ts'
import { MalformedError, malformed } from './malformed.ts'
import { renderTnetstring, type Span, spanAt, type Tnetstring } from './tnetstring.ts'

/**
 * A message of Mongrel2: `SENDER SP CONN_ID SP PATH SP netstring(HEADERS) netstring(BODY)`. HEADERS is a tnetstring dictionary or JSON,
 * by the route's `protocol`; the message itself shows which.
 */
export type Message = Pick<ParsedMessage, keyof ParsedMessage>

/** The part of a message that tells where it comes from. */
type Envelope = Pick<Message, 'sender' | 'connectionId' | 'path'>

/**
 * `streamed` is a request whose body follows in messages of their own (`upload.stream`), `part` is one of those; `socket` is a message of a
 * JSON or XML client.
 */
type MessageKind = 'request' | 'streamed' | 'part' | 'notice' | 'handshake' | 'frame' | 'socket'

/**
 * A header of our gateway only: the request is the only one of its connection, and the handler closes the connection after the answer.
 * Clients cannot set it, since their headers have lower-case names.
 */
export const SINGLE_REQUEST = 'SINGLE_REQUEST'

/** Bytes that a link keeps of a message that is too long, which hold envelope and headers. */
export const CUT_MESSAGE: number = 128 * 1024

const NO_BODY = Buffer.alloc(0)
const SPACE = 32
const ZERO = 48
const DICTIONARY = 0x7d
const COMMA = 0x2c
/** The SENDERs that Mongrel2 can read in a reply (`UUID` in its handler_parser.rl). */
const SENDER = /^[A-Za-z0-9-]+$/
/** Mongrel2 counts connections in a C `int`. */
const CONNECTION_ID_DIGITS = 10

/** The last valid SENDER: all messages of a Handler have the same. */
let lastSender = ''

/** Parses only a message's envelope; throws MalformedError for other bytes. */
export function parseEnvelope(bytes: Buffer): Envelope {
  const senderEnd = spaceAfter(bytes, 0, 'SENDER')
  const idEnd = spaceAfter(bytes, senderEnd + 1, 'CONN_ID')
  const pathEnd = spaceAfter(bytes, idEnd + 1, 'PATH')
  const connectionId = numberAt(bytes, senderEnd + 1, idEnd)
  const text = bytes.toString('latin1', 0, pathEnd)
  return { sender: senderIn(text, senderEnd), connectionId, path: text.slice(idEnd + 1) }
}

/** Parses a message; throws MalformedError for other bytes. */
export function parseMessage(bytes: Buffer): Message {
  const senderEnd = spaceAfter(bytes, 0, 'SENDER')
  const idEnd = spaceAfter(bytes, senderEnd + 1, 'CONN_ID')
  const pathEnd = spaceAfter(bytes, idEnd + 1, 'PATH')
  const connectionId = numberAt(bytes, senderEnd + 1, idEnd)
  const headers = spanAt(bytes, pathEnd + 1, bytes.length)
  const body = bodyIn(bytes, headers.end + 1)

  // One text for all: slicing is cheap, calls of the decoder are not.
  const text = bytes.toString('latin1', 0, headers.end)
  const path = text.slice(idEnd + 1, pathEnd)
  return new ParsedMessage(senderIn(text, senderEnd), connectionId, path, headersIn(bytes, text, headers), body)
}

class ParsedMessage {
  /** The Handler's `send_ident`; goes back unchanged in each reply. */
  readonly sender: string
  /** The connection's id, unique in one epoch of that Mongrel2. */
  readonly connectionId: number
  /** The request's path as the client wrote it, `@route` or `@*`. */
  readonly path: string
  readonly headers: MessageHeaders
  readonly body: Buffer
  /** Whether the link skipped the body of a message that is too long; then it is empty. */
  readonly cut: boolean
  #kind: MessageKind | undefined

  constructor(sender: string, connectionId: number, path: string, headers: MessageHeaders, body: Buffer | undefined) {
    this.sender = sender
    this.connectionId = connectionId
    this.path = path
    this.headers = headers
    this.body = body ?? NO_BODY
    this.cut = body === undefined
  }

  get kind(): MessageKind {
    this.#kind ??= kindOf(this)
    return this.#kind
  }
}

/**
 * Derives the kind from headers that a client cannot write: a notice has no REMOTE_ADDR, a frame has FLAGS, a message socket's message
 * has no VERSION. A client can write the METHOD `JSON` or `WEBSOCKET` (`JSON /x HTTP/1.1`), and a notice's PATH to a route named `@`.
 */
function kindOf({ headers, path }: Pick<Message, 'headers' | 'path'>): MessageKind {
  if (path === '@*' && headers.own('REMOTE_ADDR') === undefined) return 'notice'
  const method = headers.own('METHOD')
  switch (method) {
    case 'WEBSOCKET_HANDSHAKE':
      return 'handshake'
    case 'WEBSOCKET':
      if (headers.own('FLAGS') !== undefined) return 'frame'
      break
    case 'JSON':
    case 'XML':
      if (headers.own('VERSION') === undefined) return 'socket'
  }
  if (headers.own('UPLOAD_STREAM') === undefined) return 'request'
  return method === undefined ? 'part' : 'streamed'
}

/** The body at `offset`, which is the rest of the message; undefined if the link has cut it. */
function bodyIn(bytes: Buffer, offset: number): Buffer | undefined {
  if (bytes.length === CUT_MESSAGE && isCut(bytes, offset)) return undefined
  const { start, end, type } = spanAt(bytes, offset, bytes.length)
  if (type !== COMMA) throw new MalformedError('the body is no netstring')
  if (end + 1 !== bytes.length) throw new MalformedError(`${bytes.length - end - 1} bytes follow the body`)
  return bytes.subarray(start, end)
}

/** Whether a body's length goes beyond the message. Up to 15 digits, since Mongrel2 sends WebSocket frames of 2 GB. */
function isCut(bytes: Buffer, offset: number): boolean {
  const [digits = ''] = /^\d{1,15}(?=:)/.exec(bytes.toString('latin1', offset, offset + 16)) ?? []
  return Number(digits) > bytes.length - offset
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
      throw malformed("a connection's number", bytes.toString('latin1', start, Math.min(end, start + 40)))
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
  if (type === COMMA) return MessageHeaders.fromJson(text, start, end)
  throw new MalformedError(
    `expected headers as a dictionary or as JSON, got type ${JSON.stringify(String.fromCharCode(type))}`,
  )
}

/** The format of headers: the values of a Handler's `protocol`. */
export type HeaderProtocol = 'json' | 'tnetstring'

/**
 * Makes a message without bytes.
 *
 * @param fields Its headers' names and values in turn, bytes as Latin-1.
 */
export function createMessage(
  { sender, connectionId, path }: Envelope,
  fields: readonly string[],
  body: Buffer,
): Message {
  return new ParsedMessage(sender, connectionId, path, MessageHeaders.of(fields), body)
}

/** A message as a link passes it on that cuts one with a longer body. */
export function cutMessage(message: Message, longest: number): Message {
  const { sender, connectionId, path, headers, body } = message
  return body.length > longest ? new ParsedMessage(sender, connectionId, path, headers, undefined) : message
}

/** A message's headers; a repeated name has a list. */
type MessageFields = ReadonlyMap<string, string | readonly string[]>

/** Renders a message as Mongrel2 1.12 does. */
export function renderMessage(
  { sender, connectionId, path, headers, body }: Message,
  protocol: HeaderProtocol,
): Buffer {
  const fields = fieldsOf(headers)
  const rendered = protocol === 'json' ? renderJson(fields) : renderDictionary(fields)
  const head = `${sender} ${connectionId} ${path} ${rendered}${body.length}:`
  const message = Buffer.allocUnsafe(head.length + body.length + 1)
  message.write(head, 0, 'latin1')
  message.set(body, head.length)
  message[message.length - 1] = COMMA
  return message
}

function fieldsOf(headers: MessageHeaders): MessageFields {
  const fields = new Map<string, string | string[]>(Object.entries(headers.ownEntries()))
  headers.forEach((name, value) => {
    const known = fields.get(name)
    fields.set(name, known === undefined ? value : [known, value].flat())
  })
  return fields
}

function renderDictionary(fields: MessageFields): string {
  const dictionary = new Map<string, Tnetstring>()
  for (const [name, value] of fields) dictionary.set(name, typeof value === 'string' ? value : [...value])
  return renderTnetstring(dictionary).toString('latin1')
}

function renderJson(fields: MessageFields): string {
  const pairs = [...fields].map(([name, value]) => {
    const rendered = typeof value === 'string' ? jsonString(value) : `[${value.map(jsonString).join(',')}]`
    return `${jsonString(name)}:${rendered}`
  })
  const json = `{${pairs.join(',')}}`
  return `${json.length}:${json},`
}

/** Like Mongrel2, escapes nothing else: a value with a tab is not valid JSON. */
function jsonString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}
