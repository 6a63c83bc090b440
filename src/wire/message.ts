import { MalformedError } from './malformed.ts'
import { parseSpan, type Span, spanAt, type Tnetstring } from './tnetstring.ts'

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
  /** What Mongrel2 says. Its names begin with a capital letter, which no name of a client's can. */
  readonly own: ReadonlyMap<string, string>
  /** What the client says, names in lower case, one entry a value; bytes as Latin-1. */
  readonly fields: readonly HeaderField[]
  readonly body: Buffer
}

/** A header field's name and value. */
export type HeaderField = readonly [name: string, value: string]

const SPACE = 32
const DICTIONARY = 0x7d
const STRING = 0x2c
/** What Mongrel2 can read in a reply's SENDER (`UUID` in its handler_parser.rl). */
const SENDER = /^[A-Za-z0-9-]+$/
/** Mongrel2 counts connections in a C `int`. */
const CONNECTION_ID = /^\d{1,10}$/

/**
 * Parses a message.
 *
 * @throws MalformedError when the bytes are none.
 */
export function parseMessage(bytes: Buffer): Message {
  const senderEnd = spaceAfter(bytes, 0, 'SENDER')
  const idEnd = spaceAfter(bytes, senderEnd + 1, 'CONN_ID')
  const pathEnd = spaceAfter(bytes, idEnd + 1, 'PATH')
  const sender = bytes.toString('latin1', 0, senderEnd)
  if (!SENDER.test(sender)) {
    throw new MalformedError(
      `the send_ident ${JSON.stringify(sender.slice(0, 80))} has characters that Mongrel2 cannot read in a reply: ` +
        'give the Handler one of letters, digits and hyphens',
    )
  }
  const id = bytes.toString('latin1', senderEnd + 1, idEnd)
  if (!CONNECTION_ID.test(id))
    throw new MalformedError(`expected a connection's number, got ${JSON.stringify(id.slice(0, 40))}`)

  const headers = spanAt(bytes, pathEnd + 1, bytes.length)
  const body = spanAt(bytes, headers.end + 1, bytes.length)
  if (body.type !== STRING) throw new MalformedError('the body is no netstring')
  if (body.end + 1 !== bytes.length) throw new MalformedError(`${bytes.length - body.end - 1} bytes follow the body`)

  const own = new Map<string, string>()
  const fields: HeaderField[] = []
  for (const [name, value] of headerEntries(bytes, headers)) {
    if (isOwn(name)) own.set(name, oneString(name, value))
    else if (Array.isArray(value)) for (const item of value) fields.push([name, oneString(name, item)])
    else fields.push([name, oneString(name, value)])
  }
  return {
    sender,
    connectionId: Number(id),
    path: bytes.toString('latin1', idEnd + 1, pathEnd),
    own,
    fields,
    body: bytes.subarray(body.start, body.end),
  }
}

/** Mongrel2 lower-cases the names that clients send, so a capital letter is its own hand. */
function isOwn(name: string): boolean {
  const first = name.charCodeAt(0)
  return first >= 65 && first <= 90
}

function spaceAfter(bytes: Buffer, offset: number, what: string): number {
  const at = bytes.indexOf(SPACE, offset)
  if (at <= offset) throw new MalformedError(`expected ${what} and a space at byte ${offset}`)
  return at
}

function headerEntries(bytes: Buffer, span: Span): Iterable<[string, unknown]> {
  if (span.type === DICTIONARY) return parseSpan(bytes, span) as Map<string, Tnetstring>
  if (span.type === STRING) return Object.entries(jsonObject(bytes.toString('latin1', span.start, span.end)))
  throw new MalformedError(
    `expected headers as a dictionary or as JSON, got type ${JSON.stringify(String.fromCharCode(span.type))}`,
  )
}

/** Mongrel2 escapes only `"` and `\` in its JSON: a tab in a header's value comes raw, which JSON forbids. */
function jsonObject(text: string): Record<string, unknown> {
  const value = parseJson(text) ?? parseJson(text.replace(/[\0-\x1f]/g, escapeControl))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('expected headers as a JSON object')
  }
  return value as Record<string, unknown>
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function escapeControl(character: string): string {
  return `\\u00${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}

function oneString(name: string, value: unknown): string {
  if (typeof value !== 'string')
    throw new MalformedError(`the header ${JSON.stringify(name.slice(0, 80))} has a value that is no string`)
  return value
}
