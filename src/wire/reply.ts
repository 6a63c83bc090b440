import { bytesOf } from './bytes.ts'
import { MalformedError } from './malformed.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from './tnetstring.ts'

/** The empty payload: Mongrel2 closes the connection after writing its queue. */
const CLOSE: Buffer = Buffer.alloc(0)

/** Bytes for clients, each of which gets them unchanged. */
export interface PayloadReply {
  readonly sender: string
  /** From one to `limits.handler_targets`: Mongrel2 drops a longer list. */
  readonly connectionIds: readonly number[]
  /** The bytes in pieces, which must not change. */
  readonly payload: readonly Uint8Array[]
}

/**
 * A reply. One with a payload is rendered where it is sent, which saves a copy. Commands are bytes, and so are replies that came by a socket or from
 * a handler thread.
 */
export type Reply = Buffer | PayloadReply

/** What stands before a payload: `SENDER SP netstring("ID ID ...") SP`. */
export function envelopeOf({ sender, connectionIds }: PayloadReply): string {
  return renderEnvelope(sender, targets(connectionIds))
}

/** A reply in one piece. */
export function renderReply(reply: Reply): Buffer {
  return Buffer.isBuffer(reply) ? reply : joined(envelopeOf(reply), reply.payload)
}

/** A reply in pieces, of which none is copied. */
export function piecesOf(reply: Reply): readonly Uint8Array[] {
  return Buffer.isBuffer(reply) ? [reply] : [Buffer.from(envelopeOf(reply), 'latin1'), ...reply.payload]
}

/** The reply that closes connections. */
export function closeReply(sender: string, connectionIds: readonly number[]): PayloadReply {
  return { sender, connectionIds, payload: [CLOSE] }
}

/** Credits in bytes with which Mongrel2 reads all that a client's socket may hold. */
const UNREAD = 64 * 1024 * 1024

/**
 * Renders the replies that close a connection during a streamed body: after its queue Mongrel2 shuts the socket down, then needs credits to
 * read to its end and close it. The system resets the connection when the client sends more. A client that has filled Mongrel2's socket
 * cannot send, and waits about a minute until the system drops the connection: see `renderReset`.
 */
export function renderCloseDuringBody(sender: string, connectionId: number): Reply[] {
  return [closeReply(sender, [connectionId]), renderControl(sender, [connectionId], { credits: UNREAD })]
}

/**
 * Renders the reply that resets a connection during a streamed body, whatever is queued for it. Safe only without TLS, which has a buffer of
 * its own, and only for a body of known length, of which Mongrel2 has used all credits and still lacks more than its buffer
 * (`limits.content_length`) holds. Otherwise:
 * - a `cancel` while Mongrel2 reads from the client closes that socket, and the read takes the first bytes of the next client with the same
 *   file descriptor;
 * - without credits its task waits forever; if its buffer holds the bytes asked for, it sends a message for a wrong connection.
 */
export function renderReset(sender: string, connectionId: number): Reply {
  return renderControl(sender, [connectionId], { credits: UNREAD, cancel: true })
}

/** A command to Mongrel2 about a connection. */
export type Control =
  /** Restarts the connection's idle time. */
  | { readonly 'keep-alive': true }
  /** Mongrel2 may send us so many more bytes of an upload; with `cancel` it ends the connection before it sends any. */
  | { readonly credits: number; readonly cancel?: true }
  /** Ends the connection at once; its queue is lost. */
  | { readonly cancel: true }

/**
 * Renders an extended reply: its target list begins with `X`, its payload is the tnetstring list `[ctl, {...}]`. Mongrel2 crashes on a
 * malformed one. Throws RangeError for credits other than an integer from 0 to 2^31 - 1.
 */
export function renderControl(sender: string, connectionIds: readonly number[], control: Control): Buffer {
  const arguments_ = renderTnetstring(['ctl', controlArguments(control)])
  return joined(renderEnvelope(sender, `X ${targets(connectionIds)}`), [arguments_])
}

function controlArguments(control: Control): Map<string, Tnetstring> {
  if ('credits' in control) {
    if (!Number.isInteger(control.credits) || control.credits < 0 || control.credits > 0x7fffffff) {
      throw new RangeError(`expected credits from 0 to 2147483647, got ${control.credits}`)
    }
    const credits = new Map<string, Tnetstring>([['credits', control.credits]])
    return control.cancel ? credits.set('cancel', true) : credits
  }
  return new Map([['keep-alive' in control ? 'keep-alive' : 'cancel', true]])
}

function targets(connectionIds: readonly number[]): string {
  if (connectionIds.length === 0) throw new RangeError('expected at least one connection, got none')
  return connectionIds.join(' ')
}

function renderEnvelope(sender: string, list: string): string {
  return `${sender} ${list.length}:${list}, `
}

function joined(envelope: string, payload: readonly Uint8Array[]): Buffer {
  const reply = Buffer.allocUnsafe(payload.reduce((sum, { length }) => sum + length, envelope.length))
  let at = reply.write(envelope, 0, 'latin1')
  for (const piece of payload) {
    reply.set(piece, at)
    at += piece.length
  }
  return reply
}

/** A reply as Mongrel2 reads it. */
export interface ParsedReply {
  readonly sender: string
  readonly connectionIds: readonly number[]
  /** Bytes for the clients, where none closes their connections; or the command of an extended reply. */
  readonly content: { readonly payload: Buffer } | { readonly control: Control }
}

const SPACE = 32
const COLON = 58
const COMMA = 44
const HYPHEN = 45
const X = 88

/** Reads a plain or extended reply; throws MalformedError for other bytes, or more than `targetsMost` (`limits.handler_targets`) ids. */
export function parseReply(reply: Reply, targetsMost: number): ParsedReply {
  const parsed = Buffer.isBuffer(reply) ? parseBytes(reply) : withOnePayload(reply)
  const { length } = parsed.connectionIds
  if (length > targetsMost) throw new MalformedError(`expected at most ${targetsMost} connections, got ${length}`)
  return parsed
}

function withOnePayload({ sender, connectionIds, payload }: PayloadReply): ParsedReply {
  const [first] = payload
  const whole = payload.length === 1 && first !== undefined ? bytesOf(first) : Buffer.concat(payload)
  return { sender, connectionIds, content: { payload: whole } }
}

function parseBytes(bytes: Buffer): ParsedReply {
  let at = 0
  while (isLetter(bytes[at]) || isDigit(bytes[at]) || bytes[at] === HYPHEN) at++
  const senderEnd = at
  let length = 0
  while (isDigit(bytes[++at])) length = length * 10 + digitAt(bytes, at)
  if (senderEnd === 0 || bytes[senderEnd] !== SPACE || at === senderEnd + 1 || bytes[at] !== COLON) {
    throw new MalformedError('expected SENDER, a space and the length of the target list')
  }
  const start = at + 1
  const end = start + length
  if (bytes[end] !== COMMA || bytes[end + 1] !== SPACE) throw new MalformedError('the target list is no netstring')
  const extended = bytes[start] === X && bytes[start + 1] === SPACE
  const connectionIds = numbersIn(bytes, extended ? start + 2 : start, end)
  const payload = bytes.subarray(end + 2)
  const sender = bytes.toString('latin1', 0, senderEnd)
  return { sender, connectionIds, content: extended ? { control: controlIn(payload) } : { payload } }
}

/** Numbers, one space between two; one may follow the last. */
function numbersIn(bytes: Buffer, start: number, end: number): number[] {
  const numbers: number[] = []
  for (let at = start; at < end || numbers.length === 0; at++) {
    if (!isDigit(bytes[at])) throw new MalformedError("expected the connections' numbers")
    let number = 0
    for (; at < end && isDigit(bytes[at]); at++) number = number * 10 + digitAt(bytes, at)
    if (at < end && bytes[at] !== SPACE) throw new MalformedError("expected the connections' numbers")
    numbers.push(number)
  }
  return numbers
}

function isDigit(byte = 0): boolean {
  return byte >= 48 && byte <= 57
}

function isLetter(byte = 0): boolean {
  return (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)
}

function digitAt(bytes: Buffer, at: number): number {
  return (bytes[at] as number) - 48
}

/** Mongrel2 accepts any value of `keep-alive` and `cancel`; it crashes on the forms refused here. */
function controlIn(payload: Buffer): Control {
  const value = parseTnetstring(payload)
  const [key, args] = Array.isArray(value) ? value : []
  if (key !== 'ctl' || !(args instanceof Map)) throw new MalformedError('expected the list [ctl, {...}]')
  const credits = args.get('credits')
  const cancel = args.has('cancel')
  if (typeof credits === 'number' && Number.isInteger(credits)) return cancel ? { credits, cancel } : { credits }
  if (cancel) return { cancel }
  if (args.has('keep-alive')) return { 'keep-alive': true }
  throw new MalformedError('expected keep-alive, credits or cancel')
}
